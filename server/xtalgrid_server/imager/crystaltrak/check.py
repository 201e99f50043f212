"""``check-imager``: try what production will do with the imager database, and say what to do about what fails.

A database reports only "table or view does not exist"; this names the table or column, its configuration key, and the
grant that is missing. What it writes is rolled back.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import FailureReason, ImageError, ImagerError

from ...config import EMBEDDED, Config, vendor
from ...config.sections import Imager
from ...domain.images import Moment, earlier
from ...domain.light import LightsSeen
from ...storage.originals import original_status
from .check_writing import check_writing
from .column_types import NEVER, ColumnType, read_columns
from .database import ImagerDatabase
from .dictionary import account, admission, find, grant
from .finding import Finding
from .plans import read_whole
from .rows import RowReader
from .tables import CrystalTrak, VendorText, named

_NEWEST = 200
"""Number of inspections of drops whose images' light is looked at."""

NEEDED = ("inspections", "images", "scores")
OPTIONAL = ("plates", "plate_drops", "samples", "projects")

ROWS = 1000
"""How many of the newest rows of each table are tried."""

_CLOCKS_DIFFER = timedelta(minutes=1)
_ZONES_DIFFER = timedelta(minutes=14)
_LARGE = 20_000
"""Highest INSPECTID from which on it matters that a page reads a whole table."""


def check_imager(config: Config, database: ImagerDatabase) -> Iterator[Finding]:
    """Try everything that create_work, sync, finalizer and set_autoscore need."""
    database.rows = RowReader(is_quiet=True)  # it says itself which rows cannot be used
    try:
        yield from _connection(database)
    except ImagerError as error:
        yield Finding(False, "connection", str(error), statements=tuple(admission(str(error), database.accounts[0])))
        return
    readable = set()
    for key in (*NEEDED, *OPTIONAL):
        finding, is_readable = _table(database, key)
        readable |= {key} if is_readable else set()
        yield finding
    yield from _types(database)
    if {"inspections", "images"} <= readable:
        yield _rows(database, "inspections")
    if "scores" in readable:
        yield _rows(database, "scores")
    yield from _clock(config, database)
    yield from _folders_before(config)
    highest = database.highest_ids(1) if "inspections" in readable else [0]
    yield from check_writing(config, database, highest[0] if highest else None)
    if {"inspections", "images"} <= readable:
        yield from _plan(config, database)
        yield from _dates(config, database)
        yield _newest_image(config, database)
        yield from _lights(config, database)


def _folders_before(config: Config) -> Iterator[Finding]:
    """Find images of folders that this home had before under the same name as the database now, as of a first trial."""
    file = config.home / EMBEDDED
    if not config.imager.url or config.imager.url.endswith(str(file)) or config.imager.source != Imager().source:
        return
    inspections = vendor.TABLES["inspections"][0]
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as embedded:
            number, highest = embedded.execute(f"SELECT COUNT(*), MAX(INSPECTID) FROM {inspections}").fetchone()  # noqa: S608
    except sqlite3.Error:  # there is none, or it holds nothing
        return
    if number:
        yield Finding(
            False,
            "imager.source",
            f"{config.home} has {number} inspections that were imported from folders, and their INSPECTIDs, up to "
            f"{highest}, mean other drops in this database",
            'use another home, or give this imager a name of its own, such as source = "imager"',
        )


def _connection(database: ImagerDatabase) -> Iterator[Finding]:
    def ask(connection: sa.Connection) -> tuple[str, str, Any, str]:
        version = ".".join(map(str, connection.dialect.server_version_info or ()))
        driver = connection.connection.dbapi_connection
        thin = getattr(driver, "thin", None)  # of python-oracledb
        mode = "" if thin is None else ", thin mode" if thin else ", thick mode"
        return version, account(connection), getattr(driver, "warning", None), mode

    version, name, warning, mode = database.read(ask)
    who = f" as {name}" if name else ""
    yield Finding(True, "connection", f"{database.dialect_name} {version} ({database.place}){who}{mode}")
    if warning:  # of Oracle, such as ORA-28002: the password will expire within 7 days
        yield Finding(True, "password", str(warning).splitlines()[0], "have it set again before then")


# ---- tables --------------------------------------------------------------------------------------------------------


def _table(database: ImagerDatabase, key: str) -> tuple[Finding, bool]:
    """Read no rows of a table, with all its columns; also return whether it can be read."""
    table: sa.Table = getattr(database.tables, key)
    name = table.fullname.upper()
    is_needed = key in NEEDED
    columns = read_columns(table)
    if (reason := _refusal(database, columns)) is None:
        known = database.read(lambda connection: find(connection, table))
        owner = (table.schema or "").upper()
        kind = next((one.words for one in known if one.words and owner in ("", one.owner.upper())), "")
        return Finding(True, name, f"found{kind}"), True
    missing = [column.name.upper() for column in columns if _refusal(database, [column]) is not None]
    if len(missing) < len(columns):
        return Finding(not is_needed, name, f"has no {', '.join(missing)}", f"see imager.columns.{key}"), False
    if not is_needed:
        return Finding(True, name, "not found; samples and projects come from `xtalgrid layout`"), False
    others = sorted({one.target for one in database.read(lambda connection: find(connection, table))})
    seen = f" (this account sees {', '.join(others)})" if others else ""
    who = database.read(account) or "the account of imager.url"
    return Finding(
        False,
        name,
        f"not found, or not readable by this account{seen}",
        f"see imager.owner and imager.tables.{key}, or have the grant given",
        tuple(database.read(partial(grant, reason, "SELECT", table, who))),
    ), False


def _refusal(database: ImagerDatabase, columns: list[sa.Column[Any]]) -> str | None:
    """Return why columns cannot be read, or None if they can."""
    try:
        database.read(lambda connection: connection.execute(sa.select(*columns).where(NEVER)).all())
    except ImagerError as error:
        return str(error)
    return None


def _types(database: ImagerDatabase) -> Iterator[Finding]:
    types = database.read_types(database.tables.by_key(*NEEDED))
    differing = [
        f"{getattr(database.tables, key).name.upper()}.{column.upper()} {_type_words(kind)}"
        for key, columns in types.items()
        for column, kind in columns.items()
        if not kind.number or isinstance(getattr(database.tables, key).c[column].type, VendorText)
    ]
    if differing:
        yield Finding(True, "types", f"converted: {', '.join(differing)}")


def _type_words(kind: ColumnType) -> str:
    if kind.padded:
        return f"is CHAR({kind.padded})"
    if kind.zone:
        return "has a time zone"
    return "has fractions of a second" if kind.timestamp else "holds numbers"


# ---- rows ----------------------------------------------------------------------------------------------------------


def _rows(database: ImagerDatabase, key: str) -> Finding:
    """Convert the newest rows of a table as production does, and count those that cannot be used."""
    tables = database.tables
    reader = RowReader(is_quiet=True)
    newest = _select_newest_inspections(tables) if key == "inspections" else _select_newest_scores(tables)
    rows = database.read_all(newest)
    used = sum(1 for _ in (reader.images(rows) if key == "inspections" else reader.scores(rows)))
    tried = f"newest rows of {getattr(tables, key).fullname.upper()}"
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in reader.unusable:
        groups.setdefault((row.column, row.value, row.expected), []).append(row.key)
    if not groups:
        return Finding(True, tried, f"all {len(rows)} can be used")
    found = ", ".join(
        f"{column} is {value} in {len(keys)} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for (column, value, _), keys in groups.items()
    )
    expected = ", ".join(dict.fromkeys(f"{column} should be {expected}" for column, _, expected in groups))
    becomes = "count as the oldest" if used == len(rows) else "are passed over"  # scores without a date
    todo = f"these rows {becomes}; have them corrected ({expected})"
    return Finding(used > 0, tried, f"{used} of {len(rows)} can be used: {found}", todo)


def _select_newest_scores(tables: CrystalTrak) -> sa.Select[Any]:
    scores = tables.scores.c
    return sa.select(*named(*scores)).order_by(scores.scoreid.desc()).limit(ROWS)


def _select_newest_inspections(tables: CrystalTrak) -> sa.Select[Any]:
    inspections, images = tables.inspections, tables.images
    return (
        sa.select(*named(*inspections.c, images.c.imagename))
        .join_from(inspections, images, inspections.c.inspectid == images.c.inspectid)
        .order_by(inspections.c.inspectid.desc())
        .limit(ROWS)
    )


# ---- clock and dates -----------------------------------------------------------------------------------------------

_CLOCK = {
    "oracle": "SELECT SYSDATE, EXTRACT(TIMEZONE_HOUR FROM SYSTIMESTAMP), EXTRACT(TIMEZONE_MINUTE FROM SYSTIMESTAMP) "
    "FROM DUAL",
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC', 0, 0",
}
"""Database → SELECT of its local time, and hours and minutes by which that is ahead of UTC."""


def _clock(config: Config, database: ImagerDatabase) -> Iterator[Finding]:
    """Compare the database's clock with this computer's, and on Oracle its zone with the imager's."""
    if database.dialect_name not in _CLOCK:
        return
    now = datetime.now(UTC).replace(tzinfo=None)
    local, hours, minutes = database.read(
        lambda connection: connection.exec_driver_sql(_CLOCK[database.dialect_name]).one()
    )
    utc = local - timedelta(hours=int(hours), minutes=int(minutes))
    difference = utc - now
    which = "ahead of" if difference > timedelta() else "behind"
    found = f"the database's is {abs(difference.total_seconds()):.0f} s {which} this computer's"
    yield Finding(True, "clock", found, "set both by NTP" if abs(difference) > _CLOCKS_DIFFER else "")
    zone = config.imager.time_zone
    if database.dialect_name == "oracle" and abs(local - difference - config.imager.local(time.time())) > _ZONES_DIFFER:
        yield Finding(
            True,
            "time zone",
            f"the database's is UTC{int(hours):+03d}:{abs(int(minutes)):02d}, and imager.time_zone is {zone}",
            "correct imager.time_zone if the imager writes its dates by the database's clock",
        )


def _dates(config: Config, database: ImagerDatabase) -> Iterator[Finding]:
    """Compare the newest inspection's date with now."""
    newest, now = database.read_all(database.select_dates())[0].last, config.imager.local(time.time())
    if isinstance(newest, datetime) and newest > config.imager.latest_date():
        zone = config.imager.time_zone
        found = f"{newest:%Y-%m-%d %H:%M} is ahead of now, which is {now:%Y-%m-%d %H:%M} in imager.time_zone ({zone})"
        yield Finding(False, "newest inspection", found, "check that key and the imager's clock")


# ---- pages of images -----------------------------------------------------------------------------------------------


def _plan(config: Config, database: ImagerDatabase) -> Iterator[Finding]:
    """Ask the database how it would read a page of the newest images."""
    tables, tried = database.tables, "plan of a page of images"
    newest = database.read_all(database.select_dates())[0].last
    if not isinstance(newest, datetime):
        return
    page = database.select_images(Moment(earlier(newest, timedelta(days=7)), -1), None).limit(1000)
    try:
        whole = database.read(lambda connection: read_whole(connection, page, (tables.inspections, tables.images)))
    except ImagerError:
        whole = None
    if whole is None:
        yield Finding(True, tried, "the database does not tell it to this account")
    elif not whole:
        yield Finding(True, tried, "by indexes")
    else:
        names = " and ".join(table.fullname.upper() for table in whole)
        if max(database.highest_ids(1), default=0) < _LARGE:
            yield Finding(True, tried, f"reads all of {names}, which is quick while it is small")
            return
        columns = [(tables.inspections, "inspectdate"), (tables.images, "inspectid")]
        wanted = [f"{table.c[column].name.upper()} of {table.fullname.upper()}" for table, column in columns]
        todo = f"ask for indexes on {' and '.join(wanted)}, with fresh statistics"
        yield Finding(True, tried, f"reads all of {names}", todo)


def _newest_image(config: Config, database: ImagerDatabase) -> Finding:
    try:
        newest = next(database.newest_first(None, None), None)
        if newest is None and not config.imager.url and not database.highest_ids(1):
            has_source = config.imager.folder or config.imager.ispyb.url
            command = "create_work" if has_source else "run FOLDER"
            return Finding(True, "newest image", "none was imported yet", f"`xtalgrid {command}` imports the first")
        if newest is None:
            found = f"no image matches imager.patterns {list(config.imager.patterns)}"
            return Finding(False, "newest image", found, "correct that key, or wait for the first image")
        file = database.path(newest[0])
    except (ImagerError, ImageError) as error:
        return Finding(False, "newest image", str(error))
    found = f"of {newest[0].inspected:%Y-%m-%d %H:%M} ({config.imager.time_zone}), {file}"
    try:
        original_status(config, file)
    except ImageError as error:
        why = "not found" if error.reason is FailureReason.MISSING_FILE else error.detail
        return Finding(False, "newest image", f"{found}: {why}", "see imager.image_root")
    return Finding(True, "newest image", found)


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
        yield Finding(is_good, f"light of the newest {number} images", line)
