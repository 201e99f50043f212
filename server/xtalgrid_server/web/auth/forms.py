"""Forms that change something: sent by us to this browser, and by nobody else's page."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from fastapi import HTTPException
from starlette.requests import Request

from .authentication import Visitor
from .cookies import FORMS, Signer

MOST_BYTES = 64 * 1024
_FIELDS = 5000

REFUSED = "This form was not sent from this page, or the page is old: go back, reload it and try again."


async def read_form(request: Request) -> Mapping[str, list[str]]:
    """The fields of a small form without files.

    Raises
    ------
    HTTPException
        422 when it is none, or larger than any of ours.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, "This form is too large.")
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Only forms of this viewer are read.")
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise HTTPException(422, "This form cannot be read.") from error


def check_form(request: Request, token: str, visitor: Visitor, signer: Signer) -> None:
    """See that a form comes from one of our pages.

    Raises
    ------
    HTTPException
        403 when it does not.
    """
    site = request.headers.get("sec-fetch-site")  # sent to HTTPS and to this machine only
    origin = request.headers.get("origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    if not ours or not signer.is_form(token, request.cookies.get(FORMS, ""), visitor.name):
        raise HTTPException(403, REFUSED)


def local_address(text: str, otherwise: str = "/") -> str:
    """An address of this viewer that a form names, or another one: never one of another site."""
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and len(text) <= 2000
    return text if is_local and "\\" not in text else otherwise
