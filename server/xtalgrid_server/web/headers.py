"""Headers of every response, how long responses take, and HEAD requests."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..config.sections import Viewer

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""Nothing is loaded from other hosts, shown in other sites' frames, guessed by content type, sent to other sites as
referrer, or cached. Pictures and style sheets set their own `Cache-Control`."""

_HTTPS_ONLY = {"Strict-Transport-Security": "max-age=31536000"}
"""Browsers never ask for this host by HTTP again, for a year after each answer by HTTPS."""


def headers_of(viewer: Viewer) -> dict[str, str]:
    """Return the headers of every response."""
    return _HEADERS | _HTTPS_ONLY if viewer.is_https else _HEADERS


class WithHeaders:
    """Adds headers to every response, and calls `on_response` with the path, status and seconds of each."""

    def __init__(self, app: ASGIApp, headers: dict[str, str], on_response: Callable[[str, int, float], None]) -> None:
        self._app, self._headers, self._on_response = app, headers, on_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 500
        is_head = scope["method"] == "HEAD"

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                added = ((name.lower().encode(), value.encode()) for name, value in self._headers.items())
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in present)]
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:  # a page answers HEAD as it answers GET, without the body
            await self._app({**scope, "method": "GET"} if is_head else scope, receive, with_headers)
        finally:
            self._on_response(scope["path"], status, time.monotonic() - start)
