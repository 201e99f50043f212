"""Connections that are held open without ever being finished: half-sent headers and bodies, and answers never read."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

HALF_SENT = {
    "nothing": b"",
    "a header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "a body": (
        b"POST /corrections HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 60000\r\n\r\noutcome=cle"
    ),
}
"""What a client sends before it falls silent."""


def asked(path: str) -> bytes:
    """Return a whole request, whose answer is then not read."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def open_one(port: int, sent: bytes, address: str) -> socket.socket:
    """Open a connection from an address of 127.0.0.0/8 and send this; it may be cut meanwhile."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    one.settimeout(5)
    with suppress(OSError):
        one.bind((address, 0))
        one.connect(("127.0.0.1", port))
        one.sendall(sent)
    return one


@contextmanager
def held(port: int, sent: bytes, number: int, addresses: Sequence[str]) -> Iterator[list[socket.socket]]:
    """Hold so many connections to a port of this machine from these addresses."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with ExitStack() as stack:
        yield [stack.enter_context(open_one(port, sent, addresses[n % len(addresses)])) for n in range(number)]
