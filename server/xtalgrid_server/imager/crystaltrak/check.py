"""``check-imager``: check that the configured tables, columns, sequence and image files exist.

A database reports only "table or view does not exist"; this names the table or column and its configuration key.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from xtalgrid_core.errors import ImageError, ImagerError

from ...config import Config
from ...domain.light import LightsSeen
from .database import ImagerDatabase

_NEWEST = 200
"""Number of inspections of drops whose images' light is looked at."""

NEEDED = ("inspections", "images", "scores")
OPTIONAL = ("plates", "plate_drops", "samples", "projects")


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check; `is_good` if there is nothing to do about it."""

    is_good: bool
    text: str


def check_imager(config: Config, database: ImagerDatabase) -> Iterator[Finding]:
    """Check everything that create_work, finalizer and set_autoscore need.

    Raises
    ------
    ImagerError
        If the database cannot be reached at all.
    """
    version = database.read(lambda connection: connection.dialect.server_version_info) or ()
    yield Finding(True, f"connected: {database.dialect_name} {'.'.join(map(str, version))} ({database.place})")
    tables = {key: _table(database, key, key in NEEDED) for key in (*NEEDED, *OPTIONAL)}
    yield from tables.values()
    if config.publish.autoscores:
        yield _table(database, "autoscores", True)
    yield from _sequence(config, database)
    if tables["inspections"].is_good and tables["images"].is_good:
        yield from _dates(config, database)
        yield _newest_image(config, database)
        yield from _lights(config, database)


def _table(database: ImagerDatabase, key: str, is_needed: bool) -> Finding:
    table: sa.Table = getattr(database.tables, key)
    name = table.fullname.upper()
    if _can_be_read(database, sa.select(*table.c)):
        return Finding(True, f"{name}: found")
    missing = [column.name.upper() for column in table.c if not _can_be_read(database, sa.select(column))]
    if len(missing) == len(table.c):
        if not is_needed:
            return Finding(True, f"{name}: not found; samples and projects come from `xtalgrid layout`")
        return Finding(
            False, f"{name}: not found, or not readable by this account; see imager.owner and imager.tables.{key}"
        )
    return Finding(not is_needed, f"{name}: has no {', '.join(missing)}; see imager.columns.{key}")


def _can_be_read(database: ImagerDatabase, statement: sa.Select[tuple[object, ...]]) -> bool:
    try:
        database.read(lambda connection: connection.execute(statement.where(sa.literal(0) == 1)).all())
    except ImagerError:
        return False
    return True


def _sequence(config: Config, database: ImagerDatabase) -> Iterator[Finding]:
    """Check the sequence with the account that writes, if the database has sequences."""
    sequence = database.tables.score_ids
    with database.transaction() as connection:
        if not connection.dialect.supports_sequences:
            return
        is_there = sa.inspect(connection).has_sequence(sequence.name, schema=sequence.schema)
    name = f"{sequence.schema}.{sequence.name}".upper() if sequence.schema else sequence.name.upper()
    known = "found" if is_there else "not found, or not usable by the account of write_url; see imager.sequence"
    yield Finding(is_there, f"sequence {name}: {known}")


def _dates(config: Config, database: ImagerDatabase) -> Iterator[Finding]:
    """Compare the newest inspection's date with now."""
    newest, now = database.read_all(database.select_dates())[0].last, config.imager.local(time.time())
    if isinstance(newest, datetime) and newest > config.imager.latest_date():
        text = f"an inspection is dated {newest:%Y-%m-%d %H:%M}, and now is {now:%Y-%m-%d %H:%M} in imager.time_zone"
        yield Finding(False, f"{text} ({config.imager.time_zone}); check that key and the imager's clock")


def _newest_image(config: Config, database: ImagerDatabase) -> Finding:
    try:
        newest = next(database.newest_first(None, None), None)
        if newest is None:
            return Finding(False, f"no image matches imager.patterns {list(config.imager.patterns)}")
        file = database.path(newest[0])
    except (ImagerError, ImageError) as error:
        return Finding(False, f"newest image: {error}")
    text = f"newest image: of {newest[0].inspected:%Y-%m-%d %H:%M} ({config.imager.time_zone}), {file}"
    return Finding(file.is_file(), text if file.is_file() else f"{text}: not found; see imager.image_root")


def _lights(config: Config, database: ImagerDatabase) -> Iterator[Finding]:
    """Tell what the names of the newest images say of their light, and whether any is scored."""
    seen, scored, number = LightsSeen(), 0, 0
    try:
        for inspection in itertools.islice(database.newest_first(None, None), _NEWEST):
            scored += len(seen.add(config.light, inspection))
            number += len(inspection)
    except ImagerError:  # `_newest_image` tells
        return
    for line in seen.lines():
        is_good = scored > 0 and not (seen.untold and line == seen.untold_line)
        yield Finding(is_good, f"of the newest {number} images: {line}")
