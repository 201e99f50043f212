"""An Oracle listener that misbehaves: it says nothing, refuses with an ORA code, or is too old for python-oracledb."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ACCEPT, _REFUSE = 2, 4
_VERSION_11G = 313
"""Version of the network protocol; thin mode needs 315, of 12.1."""


@contextmanager
def listening(behaviour: str, accepted: list[float] | None = None) -> Iterator[int]:
    """Listen on a port of this computer, which is returned.

    Parameters
    ----------
    behaviour
        ``silent``, ``old``, or the ORA code of a refusal, such as ``12514``.
    accepted
        Takes the time of each connection.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = threading.Event()
        threading.Thread(target=_serve, args=(server, behaviour, closed, accepted), daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            closed.set()


def _serve(server: socket.socket, behaviour: str, closed: threading.Event, accepted: list[float] | None) -> None:
    while not closed.is_set():
        try:
            client, _ = server.accept()
        except OSError:  # closed
            return
        if accepted is not None:
            accepted.append(time.time())
        threading.Thread(target=_answer, args=(client, behaviour, closed), daemon=True).start()


def _answer(client: socket.socket, behaviour: str, closed: threading.Event) -> None:
    with client, suppress(ConnectionError):
        client.recv(8192)
        if behaviour == "old":
            body = struct.pack(">HHHHHHHBB", _VERSION_11G, 0, 8192, 32767, 256, 0, 32, 0, 0) + bytes(8)
            client.sendall(_packet(_ACCEPT, body))
        else:
            if behaviour == "silent":
                closed.wait()  # then refuse, so that the driver closes its end
            code = behaviour if behaviour.isdecimal() else "12537"
            text = f"(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR={code})(ERROR_STACK=(ERROR=(CODE={code})(EMFI=4))))"
            client.sendall(_packet(_REFUSE, struct.pack(">BBH", 34, 0, len(text)) + text.encode()))
        client.recv(1)  # until the driver has read it


def _packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHBBH", 8 + len(body), 0, kind, 0, 0) + body
