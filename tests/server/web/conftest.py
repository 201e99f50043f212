"""A viewer over a ledger of its own, visited by who runs it, and people who sign in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from msgspec.structs import replace
from starlette.testclient import TestClient

from tests.conftest import CHOP_BY_CHOP
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.auth import passwords
from xtalgrid_server.web.auth.passwords import hash_password

from ..conftest import INSPECTED, result_of

PASSWORD = "drops and salts"
PLATE = "/plate/CI022987/3"
H12 = Well(8, 12, 1)
OUTCOMES = {
    (1, 1): Outcome.CLEAR,
    (2, 1): Outcome.HARVESTABLE,
    (3, 1): Outcome.PRECIPITATE,
    (1, 2): Outcome.UNDECIDED,
    (2, 2): Outcome.NULL_EXPERIMENT,
}


class Visit(TestClient):
    """A browser: `fill` fills in a page's form."""

    def fill(self, address: str, page: str = "/", **fields: Any) -> Any:
        """Post a form with the signature that `page` carries."""
        return self.post(address, data={"form_token": token_of(self.get(page).text), **fields}, follow_redirects=False)


def token_of(page: str) -> str:
    found = re.search(r'name="form_token" value="(\w+)"', page)
    return found.group(1) if found else ""


@pytest.fixture(scope="module", autouse=True)
def real_hasher() -> Iterator[PasswordHasher]:
    """The viewer's own hasher, in whose place a cheap one hashes the hundreds of passwords of these tests."""
    own = passwords._hasher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield own


@pytest.fixture
def configured(config: Config) -> Callable[[str], Config]:
    """The configuration with keys of the section viewer."""

    def make(keys: str) -> Config:
        return from_string(f"[viewer]\n{keys}\n", home=config.home)

    return make


@pytest.fixture
def visit(config: Config, system: System) -> Iterator[Callable[..., Visit]]:
    """``visit(config, address="127.0.0.1")``: a browser at an address, at a viewer of this configuration.

    Where that takes a link (`sign_in = "local"`), one on this machine has signed in as anna. The viewer is told its own address, so that links are paths; `test_proxies` has those of viewers that are not told.
    """
    opened: list[Visit] = []

    def open_one(of: Config = config, address: str = "127.0.0.1", app: Any = None) -> Visit:
        here = replace(of, viewer=replace(of.viewer, url=of.viewer.url or "http://localhost"))
        client = Visit(app or create_app(here), client=(address, 50000), base_url="http://localhost")
        client.__enter__()
        opened.append(client)
        if client.app.state.site.config.viewer.sign_in == "local" and address == "127.0.0.1":
            assert client.get(link(client.app), follow_redirects=False).status_code == 303
        return client

    yield open_one
    for client in reversed(opened):
        client.__exit__(None, None, None)


def link(app: Any, who: str = "anna") -> str:
    """A one-time link, as `xtalgrid viewer link` makes one."""
    return f"/sign-in/link?code={app.state.site.authentication.links.make(who)}"


@pytest.fixture
def client(visit: Callable[..., Visit]) -> Visit:
    """The browser of who runs the viewer."""
    return visit()


@pytest.fixture
def with_user(system: System, configured: Callable[[str], Config]) -> Config:
    """A viewer that people sign in to; ben's password is `PASSWORD`."""
    system.ledger.users.set_password("ben", hash_password(PASSWORD), "anna")
    return configured('sign_in = "users"')


Enter = Callable[..., None]


@pytest.fixture
def enter(system: System) -> Enter:
    """``enter(rows, answers)``: images and what a worker said of them, without files."""

    def put(rows: list[ImageRow], answers: list[wire.Scored | wire.Failed], threshold: float = 0.85) -> None:
        options = wire.Options(segmenter="a" * 64, classifier="b" * 64, threshold=threshold, **CHOP_BY_CHOP)
        entries = tuple(
            wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=row.inspect_id, sha256="d" * 64)
            for n, row in enumerate(rows)
        )
        name = f"xg_{rows[0].inspect_id}_{len(rows)}_{round(threshold * 100)}"
        manifest = wire.Manifest(schema=1, unit=name, min_worker="0.1.0", options=options, images=entries)
        system.ledger.units.add(manifest, [PlannedImage(row, "d" * 64) for row in rows])
        system.ledger.scores.accept_result(
            system.ledger.units.named(name), "f" * 64, result_of(manifest, answers), manifest
        )

    return put


def row(name: str, barcode: str = "CI022987", inspect_id: int = 900, well: Well = H12) -> ImageRow:
    return ImageRow(inspect_id, barcode, 3, INSPECTED, well, name)


def address_of(page: str, kind: str) -> str:
    found = re.search(rf'src="(/{kind}/[^"]+)"', page)
    assert found, f"no {kind} in the page"
    return found.group(1)
