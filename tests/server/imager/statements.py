"""Every way the imager database is spoken to, done on a small database that has something for each; and what was sent."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.oracle import cx_oracle, oracledb

from xtalgrid_server.config import from_string, vendor
from xtalgrid_server.domain.images import ImageRow, Moment
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.imager.crystaltrak import samples
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.imager.crystaltrak.writer import NewScore, ScoreWriter

DAY = datetime(2012, 11, 21, 14, 0)
EARLIER, LATER = Moment(DAY - timedelta(days=9), 0), Moment(DAY + timedelta(days=9), 99)
ROWS = [
    ImageRow(0, "CI022987", 3, DAY, Well(1, col, 1), f"x_{kind}_99_{col}.jpg")
    for col in (1, 2)
    for kind in ("HF", "UV")
]


def _writes(work: Callable[[ScoreWriter], object]) -> Callable[[ImagerDatabase], object]:
    return lambda database: database.write(work)


TALK: dict[str, Callable[[ImagerDatabase], object]] = {
    "ImagerDatabase.newest_first": lambda d: [
        list(d.newest_first(*bounds)) for bounds in ((EARLIER, LATER), (EARLIER, None), (None, LATER), (None, None))
    ],
    "ImagerDatabase.newest_inspection": lambda d: d.newest_inspection(),
    "ImagerDatabase.entered_after": lambda d: list(d.entered_after(0)),
    "ImagerDatabase.of_inspections": lambda d: list(d.of_inspections([1, 2])),
    "ImagerDatabase.find_incomplete": lambda d: d.find_incomplete(),
    "ImagerDatabase.count_unusable": lambda d: d.count_unusable([1, 2]),
    "ImagerDatabase.highest_ids": lambda d: d.highest_ids(21),
    "ImagerDatabase.sample_tables": lambda d: d.sample_tables(),
    "ImagerDatabase.count_images": lambda d: d.count_images(LATER),
    "ImagerDatabase.of_plate": lambda d: list(d.of_plate("CI022987")),
    "ImagerDatabase.scores_of_drops": lambda d: d.scores_of_drops([1, 2]),
    "ImagerDatabase.scored_by_people": lambda d: list(d.scored_by_people(["*_UV_*"])),
    "ImagerDatabase.gone": lambda d: d.gone(
        [ImageRow(n, "CI022987", 3, DAY, Well(1, 7, 1), f"x_HF_99_{n}.jpg") for n in (1, 2)]
    ),
    "ImagerDatabase.register": lambda d: d.register([*ROWS, ImageRow(0, "P1", 1, DAY, Well(1, 1, 1), "x_HF_99_n.jpg")]),
    "ImagerDatabase.mates": lambda d: d.mates(1),
    "ImagerDatabase.barcodes": lambda d: d.barcodes(),
    "ImagerDatabase.entered": lambda d: d.entered("CI022987"),
    "ScoreWriter.scores_of_drops": _writes(lambda w: w.scores_of_drops([1, 2])),
    "ScoreWriter.insert": _writes(lambda w: w.insert(1, "23", DAY, "ARTscore", "x_HF_99_1.jpg")),
    "ScoreWriter.insert_many": _writes(
        lambda w: w.insert_many([NewScore(n, "01", DAY, "x.jpg") for n in (1, 2)], "ARTscore")
    ),
    "ScoreWriter.replace": _writes(lambda w: w.replace(1, "ARTscore", "22", DAY, None)),
    "ScoreWriter.remove": _writes(lambda w: w.remove(1, "ARTscore")),
    "ScoreWriter.add_images": _writes(lambda w: w.add_images({1: "x_HF_99_1_ART.jpg", 2: "x_HF_99_2_ART.jpg"})),
    "ScoreWriter.remove_image": _writes(lambda w: w.remove_image(1, "x_HF_99_1_ART.jpg")),
    "ScoreWriter.autoscores": _writes(lambda w: w.autoscores([1, 2])),
    "ScoreWriter.set_autoscores": _writes(lambda w: w.set_autoscores({1: (0.5, 0.25, 0), 2: (0.1, 0.2, 1)})),
    "samples.score_page": lambda d: samples.score_page(d, 0),
    "samples.plate_contents": lambda d: samples.plate_contents(d, d.tables, ["CI022987"]),
}
"""A call of each method and function that talks to the imager database."""

_CHECKS = ("check", "check_writing", "dictionary", "plans")
"""Parts of ``check-imager``; what they send is tried on the databases themselves."""

TALKERS = {
    f"crystaltrak.{name}"
    for name in ("connection", "database", "samples", "tables", "writer", "column_types", *_CHECKS)
} | {"folder.seen", "folder.plates", "folder.formats", "folder.inspections"}
"""Modules of the imager package that know SQLAlchemy; those of `folder` are for the embedded database alone.

Those of `ispyb` talk to another database, MariaDB, on which their own tests run.
"""

_SILENT = {"is_ours", "writing", "write", "writer", "refresh", "path", "latest_date"}


def talking() -> set[str]:
    """The public methods and functions that may send statements, as the code has them now."""
    found = set()
    for kind in (ImagerDatabase, ScoreWriter):
        methods = {name for name, item in vars(kind).items() if inspect.isfunction(item)}
        found |= {
            f"{kind.__name__}.{name}"
            for name in methods
            if not name.startswith(("_", "select_")) and name not in _SILENT
        }
    functions = {
        name for name, item in vars(samples).items() if inspect.isfunction(item) and item.__module__ == samples.__name__
    }
    return found | {f"samples.{name}" for name in functions if not name.startswith(("_", "select_"))}


@contextmanager
def imager(folder: Path, *, other_names: bool = False) -> Iterator[ImagerDatabase]:
    """A vendor's database, in schema CRYSTAL as at many labs, or with every name another one."""
    toml = f"""
        [imager]
        url = "sqlite:///{folder}/connected.db"
        owner = "CRYSTAL"
        patterns = ["*_HF_99_*", "*_UV_99_*"]
        exclude = ["*_ART.*"]
        automatic = ["AutoRank"]
    """
    if other_names:
        toml += 'sequence = "LAB_SEQUENCE"\n[imager.tables]\n'
        toml += "".join(f'{table} = "LAB_{table}"\n' for table in vendor.TABLES)
        for table in vendor.TABLES:
            toml += f"[imager.columns.{table}]\n" + "".join(
                f'{key} = "LAB_{key[::-1]}"\n' for key in vendor.columns(table)
            )
    database = ImagerDatabase(from_string(toml, home=folder))

    @sa.event.listens_for(database._engine, "connect")
    def attach(connection: Any, _record: object) -> None:
        connection.execute(f"ATTACH '{folder}/crystal.db' AS crystal")

    tables = database.tables
    tables.metadata.create_all(database._engine)
    with database.transaction() as connection:
        connection.execute(tables.projects.insert().values(project_id=1, name="enzymes"))
        connection.execute(tables.plates.insert().values(plate_id=1, barcode="CI022987", project_id=1))
        connection.execute(tables.samples.insert().values(sample_id=1, sample_name="lysozyme"))
        connection.execute(tables.plate_drops.insert().values(fk_plate_id=1, fk_sample_id=1))
    database.register(ROWS)
    with database.writing() as writer:
        writer.insert(1, "13", DAY, "ARTscore", "x_HF_99_1.jpg")
        writer.insert(1, "23", DAY + timedelta(days=1), "jdoe", "")
        writer.set_autoscores({1: (0.5, 0.25, 0)})
    try:
        yield database
    finally:
        database.close()


@contextmanager
def sent_to(engine: sa.Engine) -> Iterator[list[str]]:
    """What is executed on an engine meanwhile, in Oracle's words, each statement once."""
    statements: list[str] = []

    def note(_connection: object, clause: Any, many: Any, one: Any, _options: object) -> None:
        words = in_oracle(clause, list((many or [one])[0]) or None, len(many) > 1)
        statements.extend([words] if words not in statements else [])

    sa.event.listen(engine, "before_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_execute", note)


def in_oracle(clause: sa.ClauseElement, keys: list[str] | None, executemany: bool) -> str:
    """A statement as Oracle is sent it, and once more where Oracle 11 is sent another one."""
    drivers = (oracledb.dialect(), cx_oracle.dialect())
    new = {_compiled(clause, driver, keys, executemany) for driver in drivers}
    for driver in drivers:
        driver._supports_offset_fetch = False  # as SQLAlchemy sets it for servers before 12
    old = {_compiled(clause, driver, keys, executemany) for driver in drivers}
    assert len(new) == len(old) == 1, "the two drivers differ"
    return new.pop() if new == old else f"{new.pop()}\n-- before Oracle 12:\n{old.pop()}"


def _compiled(clause: sa.ClauseElement, dialect: sa.Dialect, keys: list[str] | None, executemany: bool) -> str:
    arguments: dict[str, Any] = {"column_keys": keys} if keys else {}
    compiled = clause.compile(
        dialect=dialect, for_executemany=executemany, compile_kwargs={"render_postcompile": True}, **arguments
    )
    return re.sub(r"[ \t]+\n", "\n", str(compiled)).strip()
