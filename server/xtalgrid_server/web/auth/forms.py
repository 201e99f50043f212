"""Forms that change something: sent by us to this browser, and by no other site's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import parse_qs

from fastapi import HTTPException
from starlette.requests import Request

from ...domain.log import log
from ..proxies import Reached, place, reached
from .authentication import Visitor
from .cookies import FORMS, Signer, read_cookie

MAX_BYTES = 64 * 1024
_MAX_FIELDS = 5000

_NO_COOKIE = (
    "Your browser did not send the cookie that it got with this page: allow cookies here, and reload the page. A web "
    "server in front of the viewer must not change the cookie's path (proxy_cookie_path)."
)
_NO_COOKIE_OVER_HTTP = (
    "This page was opened by http://, where browsers do not send the cookie that it needs: open it by https://, or "
    "correct viewer.https and viewer.url."
)
REFUSED = "This form did not come from this page, or the page is out of date: go back, reload it and try again."


async def read_form(request: Request) -> Mapping[str, list[str]]:
    """Read the fields of a small form without files.

    Raises
    ------
    HTTPException
        413 if it is larger than any of ours, 415 or 422 if it is not a form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise HTTPException(413, "This form is too large.")
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Only the viewer's own forms are accepted.")
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise HTTPException(422, "This form cannot be read.") from error


def check_form(request: Request, token: str, visitor: Visitor, signer: Signer, https: bool) -> None:
    """Check that a form comes from one of our pages.

    Parameters
    ----------
    https
        Whether our cookies are sent by HTTPS only.

    Raises
    ------
    HTTPException
        403 if it does not, with the setting to correct where a web server in front of the viewer may be the cause.
    """
    site = request.headers.get("sec-fetch-site")  # browsers send it over HTTPS and to this machine only
    origin = request.headers.get("origin")
    is_known = origin is None or place(origin) in reached(request).places
    nonce = read_cookie(request, FORMS)
    if site not in ("same-origin", "none") and (site is not None or not is_known):
        _refuse(request, _origin_problem(origin, reached(request)))
    if signer.is_form_token(token, nonce, visitor.name):
        return
    if not nonce:
        _refuse(request, _NO_COOKIE_OVER_HTTP if https and origin and origin.startswith("http:") else _NO_COOKIE)
    _refuse(request, REFUSED if is_known else _origin_problem(origin, reached(request)))


def _refuse(request: Request, why: str) -> NoReturn:
    """Log and answer that a form is refused."""
    log.warning("viewer: %s %s refused: %s", request.method, request.url.path, why)
    raise HTTPException(403, why)


def _origin_problem(origin: str | None, known: Reached) -> str:
    if origin is None:
        return "This form was sent from another site."
    if origin == "null":
        return (
            "The browser does not say where this form was sent from (Origin: null). If the web server in front of the "
            "viewer sets Referrer-Policy, it must be same-origin."
        )
    name, port = known.places[0] if known.places else ("no host", None)
    name = f"[{name}]" if ":" in name else name
    return (
        f"This form was sent from {origin}, but the viewer is at {name}{f':{port}' if port else ''}, as far as it "
        "knows. If you opened it at the former, its web server passes on another host: nginx needs "
        "`proxy_set_header Host $http_host;`, Apache `ProxyPreserveHost On`; or set viewer.url "
        "(docs/viewer.md, Behind a web server)."
    )


def local_address(text: str, default: str = "/") -> str:
    """Return `text` if it is an address of this viewer, otherwise `default`: never an address of another site."""
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and len(text) <= 2000
    return text if is_local and "\\" not in text else default
