"""An imager database on PostgreSQL that goes away for a while, behind a relay that is cut and comes back."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from tests.system import postgresql
from xtalgrid_core.errors import XtalgridError
from xtalgrid_server.config import Config
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak.tables import CrystalTrak
from xtalgrid_server.steps.system import System

from .lab import config_of, content, differences


class Relay:
    """A port on this machine that forwards to another one until it is cut."""

    def __init__(self, to_port: int) -> None:
        self._to = to_port
        self._there = True
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and refuse new ones."""
        self._there = False
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        """Let connections through again."""
        self._there = True

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if not self._there:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Site:
    """A PostgreSQL server, and the wells to be entered in its imager database."""

    folder: Path
    url: sa.URL
    wells: list[Path]


@contextlib.contextmanager
def databases_with_a_relay(folder: Path, wells: Path) -> Iterator[Site | None]:
    """Start the server; None where PostgreSQL is not installed."""
    if postgresql.programs() is None:
        yield None
        return
    folder.mkdir()
    with postgresql.running() as url:
        yield Site(folder, url, sorted(wells.iterdir()))


def _lab(site: Site, weights: Path, name: str, port: int | None, unit: int) -> Config:
    """Make a home, and an imager database with all wells; return its configuration."""
    admin = sa.create_engine(site.url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    own = site.url.set(database=name)
    vendor = sa.create_engine(own)
    CrystalTrak().metadata.create_all(vendor)
    vendor.dispose()
    images = site.folder / name / "images"
    through = own.set(port=port or own.port).render_as_string(hide_password=False)
    config = config_of(
        site.folder / name / "home", weights, imager=f'[imager]\nurl = "{through}"\nimage_root = "{images}"\n'
    )
    (images / "CI022987" / "3").mkdir(parents=True)
    rows = []
    for path in site.wells:
        col, row, sub = (int(part) for part in path.name.split("_")[10:13])
        shutil.copy(path, images / "CI022987" / "3" / path.name)
        inspected = datetime.fromisoformat("2012-11-21T14:00:00")
        rows.append(ImageRow(0, "CI022987", 3, inspected, Well(row, col, sub), path.name))
    with System(config) as system:
        system.imager.register(rows)
    return config


def _chain(config: Config, wells: int, until: float, seen: list[str]) -> bool:
    """Run the steps again and again, as cron does, until all is published; False if that takes too long."""
    while time.monotonic() < until:
        try:
            with System(config) as system:
                for step in (system.create_work, system.work, system.assimilate, system.finalize, system.publish):
                    try:
                        step()
                    except XtalgridError as error:
                        seen.append(f"{getattr(step, '__name__', step)}: {error}")
        except XtalgridError as error:
            seen.append(f"open: {error}")
        try:
            if len(content(config)["i_scores"]) >= wells:
                return True
        except sa.exc.SQLAlchemyError:
            pass
        time.sleep(0.5)
    return False


def outage(
    site: Site, weights: Path, seconds: float, unit: int, rng: random.Random, wrong: list[str]
) -> tuple[str, str, str]:
    """Run the chain with the database there, then with it away for a while; return the table's line."""
    whole = _lab(site, weights, "undisturbed", None, unit)
    began = time.monotonic()
    if not _chain(whole, len(site.wells), began + 600, []):
        wrong.append("database gone: the undisturbed run did not finish")
    took = time.monotonic() - began
    expected = content(whole)
    relay = Relay(site.url.port or 5432)
    config = _lab(site, weights, "gone", relay.port, unit)
    threading.Timer(rng.uniform(0, took), relay.cut).start()
    threading.Timer(took + seconds, relay.mend).start()
    seen: list[str] = []
    relay_cut_for = took + seconds
    ended = _chain(config, len(site.wells), time.monotonic() + relay_cut_for + 600, seen)
    relay.mend()
    lines = differences(config, expected) + ([] if ended else ["it did not finish"])
    wrong += [f"database gone: {line}" for line in lines]
    wrong += [f"database gone: {line}" for line in seen if "password" in line or "Traceback" in line]
    return (
        "database gone",
        f"for {seconds:g} s or more; {len(seen)} steps reported it",
        "differs" if lines else "the same",
    )
