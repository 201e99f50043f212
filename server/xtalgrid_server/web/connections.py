"""The viewer's connections: how many there are, how long they may wait for their client, and who gives way.

A connection waits for its client while a request has not come whole, or while an answer is not taken. That costs a
client nothing, so there are limits to it. An honest client is waited for a few milliseconds: where there are too many
connections, the one that has waited longest gives way to a new one. How many an address holds says less: behind one may
be a whole lab.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, cast

import h11
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..config.sections import Viewer
from ..domain.log import log
from .proxies import Network, is_among, networks, one_computer

MOST = 500
"""Connections at once."""
MOST_FROM_ADDRESS = 200
"""Connections, and requests worked on, of one address or IPv6 network of 2⁶⁴; trusted web servers have no limit."""
_MOST_WORKED_ON = 300
"""Requests worked on at once, if their sender has more than `_FEW` of them."""
_FEW = 6
"""A browser's connections to one server."""
MOST_UNREAD_BYTES = 48_000_000
"""Bytes of answers in memory above which those that have been sent for `_SLOW_SECONDS` are broken off."""

REQUEST = "its request did not come whole"
ANSWER = "it did not take its answer"
_SECONDS = {REQUEST: 15.0, ANSWER: 15.0}
"""How long a client is waited for: for all of a request, and to take each further part of an answer."""
_MOST_DROPPED_BYTES = 4_000_000
_PATIENT_SECONDS = 0.5
"""How long a client is waited for even where there are too many."""
_KEEP_ALIVE_SECONDS = 5
_SLOW_SECONDS = 10.0
_SWEEP_SECONDS = 1.0
_PART = 64 * 1024
_SEND_BUFFER = 256 * 1024
"""Bytes that the operating system keeps of an answer: with more, a slow client would seem to take nothing for long."""
_HEADER_BYTES = 32 * 1024
_BODY_BYTES = 128 * 1024
"""More than any form of ours: `auth.forms` refuses those above 64 kB, with a page."""
_QUEUE = 2048
"""New connections that the operating system keeps until they are accepted."""
_MOST_ACCEPTED = 64
"""How many are accepted at once, before the first of them can give way."""
_MOST_FILES = 65_536

_LATER = {"Retry-After": "2", "Connection": "close"}
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def viewer_server(app: ASGIApp, viewer: Viewer, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Server:
    """Make the server of a viewer; run it on this address, or with sockets of your own."""
    files = _raise_file_limit()
    connections = Connections(networks(viewer.trusted_proxies), min(MOST, files // 2))
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=cast(type[asyncio.Protocol], partial(Connection, connections=connections)),
            ws="none",
            log_config=None,  # that of `set_up_logging`
            log_level="warning",
            proxy_headers=False,  # the viewer itself decides who sends a request
            server_header=False,
            backlog=min(_MOST_ACCEPTED, files // 16),
            h11_max_incomplete_event_size=_HEADER_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,  # seconds; pages never take long, but a browser may be slow to take one
        )
    )


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen. asyncio has one number for how many wait and how many are accepted at once; we have two."""
        await super().startup(sockets)
        if sys.platform != "win32":
            for listening in (each for server in self.servers for each in server.sockets):
                with socket.socket(fileno=os.dup(listening.fileno())) as same:
                    same.listen(_QUEUE)


def _raise_file_limit() -> int:
    """Allow as many open files as this account may have, and return the limit."""
    if sys.platform == "win32":
        return _MOST_FILES
    import resource

    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(most, _MOST_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
        return wanted
    return _MOST_FILES if now == resource.RLIM_INFINITY else now


class Connections:
    """All connections of one viewer.

    Parameters
    ----------
    trusted
        Networks of the web servers in front of the viewer.
    most
        Connections at once, at most.
    """

    def __init__(self, trusted: Iterable[Network], most: int = MOST) -> None:
        self._trusted, self._most = tuple(trusted), most
        self._all: dict[Connection, None] = {}
        self._waiting: dict[Connection, None] = {}  # those that wait for their client, the longest first
        self._by_holder: dict[str, dict[Connection, None]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def enter(self, new: Connection) -> None:
        """Take in a connection; another one that waits for its client gives way if there are too many."""
        own = self._by_holder.setdefault(new.holder, {})
        own[new] = self._all[new] = self._waiting[new] = None
        if len(own) > MOST_FROM_ADDRESS:
            self._give_way(own, new.since)
        elif len(self._all) > self._most:
            self._give_way(self._waiting, new.since)
        if len(self._all) > self._most * 3 // 2:
            new.cut("too many are open")
        if self._sweep is None:
            self._sweep = new.loop.call_later(_SWEEP_SECONDS, self._cut_slow, new.loop)

    def note(self, connection: Connection) -> None:
        """Note that a connection begins to wait for its client, or does so no longer."""
        self._waiting.pop(connection, None)
        if connection.waits_for and connection in self._all:
            self._waiting[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._all.pop(connection, None)
        self._waiting.pop(connection, None)
        own = self._by_holder.get(connection.holder, {})
        own.pop(connection, None)
        if not own:
            self._by_holder.pop(connection.holder, None)

    def holder(self, address: str, port: int) -> str:
        """Return who holds a connection: its address or network; one of a trusted web server stands for itself."""
        if not address or is_among(address, self._trusted):  # without an address, it is a Unix socket
            return f"{address} {port}"
        return one_computer(address)

    def is_too_much(self, asking: Connection) -> bool:
        """Tell whether so many requests are worked on that one more of this sender has to come later."""
        own = sum(not connection.waits_for for connection in self._by_holder.get(asking.holder, {}))
        return own > MOST_FROM_ADDRESS or (own > _FEW and len(self._all) - len(self._waiting) > _MOST_WORKED_ON)

    def _give_way(self, among: dict[Connection, None], now: float) -> None:
        """Cut the one that has waited longest; if all are worked on, `is_too_much` limits what they ask for."""
        waiting = (connection for connection in among if connection.waits_for)
        oldest = next(waiting, None) if among is self._waiting else min(waiting, key=_since, default=None)
        is_many = len(self._waiting) > self._most // 2
        if oldest is not None and (is_many or now - oldest.since > _PATIENT_SECONDS):
            oldest.cut("others needed its place")

    def _cut_slow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut those that were waited for too long, and the oldest answers if they take too much memory."""
        now = loop.time()
        for connection in tuple(self._waiting):
            if now - connection.since > _SECONDS[connection.waits_for]:
                connection.cut(connection.waits_for)
        for own in tuple(self._by_holder.values()):
            for _ in range(len(own) - MOST_FROM_ADDRESS):
                self._give_way(own, now)
        answering = [connection for connection in self._all if connection.unread]
        unread = sum(connection.unread for connection in answering)
        for connection in sorted(answering, key=lambda each: each.answering_since):
            if unread > MOST_UNREAD_BYTES and now - connection.answering_since > _SLOW_SECONDS:
                unread -= connection.unread
                connection.cut(ANSWER)
        self._sweep = loop.call_later(_SWEEP_SECONDS, self._cut_slow, loop) if self._all else None


def _since(connection: Connection) -> float:
    return connection.since


class Connection(H11Protocol):
    """One connection.

    Attributes
    ----------
    holder
        Who holds it; see `Connections.holder`.
    waits_for
        What it waits for from its client: `REQUEST`, `ANSWER`, or nothing.
    since
        When it began to wait, by the loop's clock; parts of a request change nothing.
    answering_since, unread
        When the answer under way began, and its bytes in memory.
    """

    def __init__(self, *, connections: Connections, **settings: Any) -> None:
        super().__init__(**settings)
        self._connections = connections
        self._inner = cast(Callable[[Scope, Receive, Send], Awaitable[None]], self.app)
        self.app = cast(Any, self._answer)
        self.holder, self.waits_for = "", REQUEST
        self.since = self.answering_since = self.loop.time()
        self.unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if self.client:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.holder = self._connections.holder(*(self.client or ("", id(self))))
        self._connections.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free its place."""
        self._connections.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._note()

    def pause_writing(self) -> None:
        """Note that the client does not take its answer."""
        super().pause_writing()
        self._note()

    def resume_writing(self) -> None:
        """Note that the client took a part of its answer."""
        super().resume_writing()
        self._note()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._note()

    def cut(self, why: str) -> None:
        """End the connection, without waiting for its client."""
        self._connections.leave(self)
        if has_begun := self.conn.their_state is not h11.IDLE or bool(self.conn.trailing_data[0]):
            log.warning("viewer: a connection from %s was cut: %s", (self.client or ["this machine"])[0], why)
        is_being_answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.transport.get_write_buffer_size() or is_being_answered:
            self.transport.abort()  # closing would wait for the client
        elif not self.transport.is_closing():
            if has_begun:  # browsers also open connections in advance, and never use them
                self.transport.write(_TOO_SLOW)
            self.transport.close()
        self.waits_for = ""

    def _note(self) -> None:
        """Note what the connection waits for now, and since when."""
        is_answered = self.cycle is None or self.cycle.response_complete
        if self.flow.write_paused:
            waits_for = ANSWER
        elif is_answered or self.conn.their_state is h11.SEND_BODY:
            waits_for = REQUEST
        else:
            waits_for = ""
        if waits_for != self.waits_for:
            self.waits_for, self.since = waits_for, self.loop.time()
            self._connections.note(self)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request once all of it is there; a large answer goes out in parts, without a second copy of it."""
        body = await _whole_body(receive)
        if body is None:
            return
        if len(body) > _BODY_BYTES:
            await PlainTextResponse("This form is too large.", 413, {"Connection": "close"})(scope, receive, send)
            return
        if self._connections.is_too_much(self) and not scope["path"].endswith("/healthz"):
            await PlainTextResponse("Too many requests at once; try again in a moment.", 503, _LATER)(
                scope, receive, send
            )
            return
        self.answering_since = self.loop.time()
        unread = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def whole() -> Message:
            return next(unread, None) or await receive()

        async def in_parts(message: Message) -> None:
            body = message.get("body", b"")
            if len(body) <= _PART:
                await send(message)
                return
            self.unread = len(body)
            for start in range(0, len(body), _PART):
                is_last = start + _PART >= len(body)
                more = not is_last or message.get("more_body", False)
                await send({**message, "body": body[start : start + _PART], "more_body": more})
            self.unread = 0

        try:
            await self._inner(scope, whole, in_parts)
        finally:
            self.unread = 0


async def _whole_body(receive: Receive) -> bytes | None:
    """Read a request's body, and drop what is beyond `_BODY_BYTES`; None if the client is gone."""
    body, dropped = b"", 0
    while dropped < _MOST_DROPPED_BYTES:  # who is not read to the end would not read why it was refused
        message = await receive()
        if message["type"] != "http.request":
            return None
        part = message.get("body", b"")
        if len(body) <= _BODY_BYTES:
            body += part
        else:
            dropped += len(part)
        if not message.get("more_body", False):
            break
    return body
