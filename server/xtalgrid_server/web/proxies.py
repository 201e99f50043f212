"""The web servers in front of the viewer: the address at which people reach it, and the one a request comes from.

Their headers count only if `viewer.trusted_proxies` names the machine that sends them; `viewer.url` wins over them.
Requests under a host name that is not ours are refused: a page of another site can have its own name lead to us (DNS
rebinding), and then reads whatever a guest does.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from xtalgrid_core.lines import one_line

from ..config.sections import Viewer

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Place = tuple[str, int | None]
"""A host in lower case and its port; None: that of the scheme."""

_REACHED = "xtalgrid.reached"
_DEFAULT_PORTS = (None, 80, 443)
_PATH = re.compile(r"(/[\w.~%!$&'()*+=:@-]+)*/*", re.ASCII)
_PAIR = re.compile(r'(for|host)=("(?:[^"\\]|\\.)*"|[^;,\s]*)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reached:
    """How a request reached the viewer.

    Attributes
    ----------
    root
        Path of the viewer in the browser's addresses, without a slash at its end, such as ``/xtalgrid``; None if
        nothing says so.
    places
        Where the viewer may be, as its configuration and the headers say; the first is the likeliest.
    hosts
        Host names under which the browser asked for us, as this request says.
    is_trusted
        Whether it came through a trusted web server.
    client
        Address of the person's computer, as far as trusted web servers tell; empty if unknown.
    """

    root: str | None
    places: tuple[Place, ...]
    hosts: tuple[str, ...]
    is_trusted: bool
    client: str


class BehindProxies:
    """Finds out how each request reached the viewer, and removes the viewer's own path from the request's."""

    def __init__(self, app: ASGIApp, viewer: Viewer) -> None:
        self._app, self._url = app, urlsplit(viewer.url)
        self._trusted = networks(viewer.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. The scope itself is changed, because the error page outside of us reads it too."""
        if scope["type"] == "http":
            scope[_REACHED] = reached = self._reached(scope)
            _remove_root(scope, reached.root or "")
        await self._app(scope, receive, send)

    def _reached(self, scope: Scope) -> Reached:
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        root = self._url.path.rstrip("/") if self._url.netloc else None
        hosts = headers.getlist("host")
        if not is_among(peer, self._trusted):
            return Reached(root, tuple(_places([self._url.netloc, *hosts], [])), tuple(hosts), False, peer)
        forwarded = [pair for value in headers.getlist("forwarded") for pair in _PAIR.findall(value)]
        values = {name: [v.strip('"') for n, v in forwarded if n.lower() == name] for name in ("for", "host")}
        prefixes = _listed(headers, "x-forwarded-prefix")
        if root is None and prefixes:
            root = _path("".join(prefix.rstrip("/") for prefix in prefixes))
        hosts += [*_listed(headers, "x-forwarded-host"), *values["host"]]
        places = tuple(_places([self._url.netloc, *hosts], _listed(headers, "x-forwarded-port")))
        client = self._client(peer, _listed(headers, "x-forwarded-for") or values["for"])
        return Reached(root, places, tuple(hosts), True, client)

    def _client(self, peer: str, addresses: list[str]) -> str:
        """Return the last address that no trusted web server has: what stands before it anybody can write."""
        for address in reversed(addresses):
            if not is_among(peer, self._trusted):
                break
            host = address if address.count(":") > 1 and "[" not in address else place(address)[0]  # IPv6, or a port
            if _address(host) is None:
                break
            peer = host
        return peer


class KnownHosts:
    """Refuses requests under a host name that is not ours. Addresses are no names, so they cannot be made to lead here.

    A trusted web server has its own list of names; it is believed where neither `viewer.url` nor `viewer.hosts` is set.
    """

    def __init__(self, app: ASGIApp, viewer: Viewer) -> None:
        self._app = app
        told = [name for name in (urlsplit(viewer.url).hostname, *viewer.hosts) if name]
        self._is_told = bool(told)
        self._names = {name.lower() for name in ("localhost", socket.gethostname(), viewer.host, *told)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            found: Reached = scope[_REACHED]
            foreign = [host for host in found.hosts if not self._is_ours(host)]
            if foreign and (self._is_told or not found.is_trusted):
                await _misdirected(foreign[0], found.client)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name, _ = place(host)
        return name in self._names or name.endswith(".localhost") or _address(name) is not None


def _misdirected(host: str, client: str) -> PlainTextResponse:
    name = one_line(place(host)[0] or host)[:100]
    return PlainTextResponse(
        f"{name} is not a name of this viewer, as far as it knows. If it is, set viewer.url to the whole address, or "
        f"add the name to viewer.hosts. If {client} is a web server in front of the viewer, name that in "
        "viewer.trusted_proxies too (docs/viewer.md, Behind a web server).\n",
        421,
    )


def reached(request: Request) -> Reached:
    """Return how a request reached the viewer."""
    found: Reached = request.scope[_REACHED]
    return found


def root_of(request: Request) -> str:
    """Return what stands before the viewer's addresses in links and redirects of a page.

    Where nothing says at which path the viewer is, addresses are relative to the page's own, such as ``../../inbox``,
    so that they are right under any path. A slash in a barcode is ``%2F`` in the browser's address, but some web
    servers decode it, so slashes inside of parameters are not counted.
    """
    root = reached(request).root
    if root is not None:
        return root
    inside = sum(str(value).count("/") for value in request.scope.get("path_params", {}).values())
    return "/".join([".."] * (request.scope["path"].count("/") - 1 - inside)) or "."


def place(host: str) -> Place:
    """Split a host with or without a port, as in the headers Host and Origin; an empty name if it is invalid."""
    try:
        parts = urlsplit(host if "://" in host else f"//{host}")
        port = None if parts.port in _DEFAULT_PORTS else parts.port
        return (parts.hostname or "").rstrip("."), port
    except ValueError:
        return "", None


def is_from(request: Request, allowed: Iterable[Network]) -> bool:
    """Return whether the connection itself comes from one of these networks, whatever its headers say."""
    return is_among(request.client.host if request.client else "", allowed)


def is_forwarded(request: Request) -> bool:
    """Return whether a request's headers show that it came through a web server, and so not from this machine."""
    return any(name in ("forwarded", "via", "x-real-ip") or name.startswith("x-forwarded-") for name in request.headers)


def networks(addresses: Iterable[str]) -> list[Network]:
    """Parse networks; a single address counts as one."""
    return [ipaddress.ip_network(address, strict=False) for address in addresses]


def is_among(address: str, allowed: Iterable[Network]) -> bool:
    """Return whether an address belongs to one of these networks."""
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in allowed)


def one_computer(address: str) -> str:
    """Return an address as one computer may have it: with IPv6, the network of its 2⁶⁴ addresses."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed or address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _listed(headers: Headers, name: str) -> list[str]:
    parts = [part.strip() for value in headers.getlist(name) for part in value.split(",")]
    return [part for part in parts if part]


def _path(text: str) -> str | None:
    """Return a path that may stand in our pages; None for anything else, such as an address of another host."""
    is_path = len(text) <= 200 and _PATH.fullmatch(text) and ".." not in text.split("/")
    return text.rstrip("/") if is_path else None


def _places(hosts: Iterable[str], ports: Iterable[str]) -> Iterator[Place]:
    for host in hosts:
        name, port = place(host)
        if name:
            yield name, port
            yield from (place(f"[{name}]:{each}" if ":" in name else f"{name}:{each}") for each in ports if not port)


def _remove_root(scope: Scope, root: str) -> None:
    """Remove the viewer's path where the web server has not done so, and slashes that it doubled."""
    path, inside = scope["path"], unquote(root)
    keep = 0
    if root and (path == inside or path.startswith(f"{inside}/")):
        path, keep = path[len(inside) :], root.count("/")
    raw = (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0]
    scope["path"] = "/" + path.lstrip("/")
    scope["raw_path"] = b"/" + b"/".join(raw.split(b"/")[keep + 1 :]).lstrip(b"/")
