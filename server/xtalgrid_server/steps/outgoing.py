"""HTTP requests to addresses that people gave: to the internet alone, and not to this network or machine.

A name is looked up once, every address that it has is checked, and the connection goes to one of those: a name that
leads elsewhere a moment later (DNS rebinding) changes nothing. Redirects are not followed, proxies of the environment
not used. Hosts that the operator allows may have inner addresses.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from xtalgrid_core.errors import XtalgridError

_CONNECT_SECONDS = 5.0
_SECONDS = 15.0
"""For the whole request, however slowly the other end answers."""
_MOST_ANSWER = 4096
_OF_THE_MESSAGE = (400, 413, 422)
"""Answers that say something of one message, and not of the address or the server."""
LONGEST_URL = 2000

_HOST = re.compile(r"[a-z0-9_.-]{1,253}|\[[0-9a-f:.]+\]")
_PATH = re.compile(r"[!-~]*")
_IPV6_OF_IPV4 = [ipaddress.ip_network(each) for each in ("64:ff9b::/96", "::/96", "::ffff:0:0/96")]
_NEVER = [
    ipaddress.ip_network(each)
    for each in (
        *("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24"),  # Azure's host, special uses, tunnels
        *("2001::/32", "2002::/16", "64:ff9b:1::/48", "fec0::/10"),  # tunnels, translation, old inner addresses
    )
]
"""Inner addresses that some versions of Python call global."""


class RefusedAddressError(XtalgridError):
    """An address that no request is sent to."""


class RefusedMessageError(XtalgridError):
    """The other end answers, and does not take this message."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `is_allowed`: the operator allows this host by name."""

    scheme: str
    host: str
    port: int
    path: str
    is_allowed: bool

    def __str__(self) -> str:
        """Return the host: the rest of a webhook's address is a secret."""
        return self.host


def target_of(url: str, allowed_hosts: Sequence[str]) -> Target:
    """Read an address.

    Parameters
    ----------
    allowed_hosts
        ``host``, for its usual port, or ``host:port``.

    Raises
    ------
    RefusedAddressError
        If no request may be sent there, whatever its name leads to; the message does not show it.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or any(c in url for c in " \\"):
        raise RefusedAddressError("this is no address like https://hooks.example.com/…, in ASCII and without blanks")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RefusedAddressError("this is no address like https://hooks.example.com/…") from None
    host = (parts.hostname or "").rstrip(".")
    named = f"[{host}]" if ":" in host else host
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(named) or not _PATH.fullmatch(parts.path):
        raise RefusedAddressError("this is no address like https://hooks.example.com/…")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise RefusedAddressError("an address with a user name, a password or a # is not accepted")
    usual = 443 if parts.scheme == "https" else 80
    port = usual if port is None else port
    allowed = {each.lower() for each in allowed_hosts}
    is_allowed = f"{named}:{port}" in allowed or (port == usual and named in allowed)
    if not is_allowed and parts.scheme != "https":
        raise RefusedAddressError("the address must begin with https://")
    if not is_allowed and port != 443:
        raise RefusedAddressError("the address must have no port of its own")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path, is_allowed)


def is_outer(address: str) -> bool:
    """Whether an IP address is one of the public internet: of no private network, no machine's own, no tunnel."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and any(ip in network for network in _IPV6_OF_IPV4):
        return is_outer(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    if any(ip.version == network.version and ip in network for network in _NEVER):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def look_up(target: Target) -> list[str]:
    """Return the IP addresses of a target's host, all of which may be connected to.

    Raises
    ------
    RefusedAddressError
        If one of them may not, or it has none: in the same words, which tell nobody what inner names there are.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RefusedAddressError(_no_address(target)) from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not target.is_allowed and not all(is_outer(address) for address in addresses):
        raise RefusedAddressError(_no_address(target))
    return addresses


def _no_address(target: Target) -> str:
    return f"{target} has no address on the internet; the operator can allow inner hosts (webhooks.allowed_hosts)"


def post(url: str, body: bytes, allowed_hosts: Sequence[str]) -> None:
    """Send JSON to an address.

    Raises
    ------
    RefusedAddressError
        If no request may be sent there.
    RefusedMessageError
        If this message was not taken.
    XtalgridError
        If none is taken. No error shows the address or the answer.
    """
    target = target_of(url, allowed_hosts)
    with _connected(target, look_up(target)) as plain:
        try:
            status = _request(target, plain, body)
        except ssl.SSLCertVerificationError as error:
            raise XtalgridError(f"{target} has no certificate that is trusted here") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise XtalgridError(f"{target} gave no answer within {_SECONDS:g} s, or none that is HTTP") from error
    if status in range(300, 400):
        raise XtalgridError(f"{target} answered {status}: redirects are not followed")
    if status in _OF_THE_MESSAGE:
        raise RefusedMessageError(f"{target} answered {status}")
    if status not in range(200, 300):
        raise XtalgridError(f"{target} answered {status}")


def _request(target: Target, plain: socket.socket, body: bytes) -> int:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = plain
    if target.scheme == "https":
        connection.default_port = 443
        connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
    try:
        connection.request("POST", target.path, body, {"Content-Type": "application/json", "User-Agent": "xtalgrid"})
        answer = connection.getresponse()
        answer.read(_MOST_ANSWER)
        return answer.status
    finally:
        connection.close()


@contextlib.contextmanager
def _connected(target: Target, addresses: Sequence[str]) -> Iterator[socket.socket]:
    """Connect to one of these addresses; the connection ends after `_SECONDS`, whatever is going on."""
    plain = _connect(target, addresses)
    same = plain.dup()  # TLS takes the other one over
    cut = threading.Timer(_SECONDS, _cut, (same,))
    cut.daemon = True
    cut.start()
    try:
        yield plain
    finally:
        cut.cancel()
        cut.join()
        plain.close()
        same.close()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other end was quicker
        connection.shutdown(socket.SHUT_RDWR)


def _connect(target: Target, addresses: Sequence[str]) -> socket.socket:
    for address in addresses[:4]:
        with contextlib.suppress(OSError):
            return socket.create_connection((address, target.port), _CONNECT_SECONDS)
    raise XtalgridError(f"{target} cannot be reached")
