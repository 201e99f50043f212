"""Forms that change something: sent by us to this browser, and by no other site's page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from fastapi import HTTPException
from starlette.requests import Request

from .authentication import Visitor
from .cookies import FORMS, Signer

MAX_BYTES = 64 * 1024
_MAX_FIELDS = 5000

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


def check_form(request: Request, token: str, visitor: Visitor, signer: Signer) -> None:
    """Check that a form comes from one of our pages.

    Raises
    ------
    HTTPException
        403 if it does not.
    """
    site = request.headers.get("sec-fetch-site")  # browsers send it over HTTPS and to this machine only
    origin = request.headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    if not is_ours or not signer.is_form_token(token, request.cookies.get(FORMS, ""), visitor.name):
        raise HTTPException(403, REFUSED)


def local_address(text: str, default: str = "/") -> str:
    """Return `text` if it is an address of this viewer, otherwise `default`: never an address of another site."""
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and len(text) <= 2000
    return text if is_local and "\\" not in text else default
