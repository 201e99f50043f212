"""The part of ``check-imager`` that writes as production does, in a transaction that is rolled back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import ImagerError
from xtalgrid_core.frames import SUFFIX

from ...config import Config
from ...storage.engines import short_reason
from .database import ImagerDatabase
from .dictionary import account, admission, grant, is_refusal
from .finding import Finding
from .remedies import remedy
from .writer import NewScore, ScoreWriter

_IMAGE = f"xtalgrid_check{SUFFIX}"
_Work = Iterator[tuple[str, Callable[[], str | None]]]
"""Privileges, and what needs them; that returns a problem or None."""

_RESTARTS = (18,)
"""Oracle's version from which on a sequence can be restarted."""


def check_writing(config: Config, database: ImagerDatabase, inspect_id: int | None) -> Iterator[Finding]:
    """Insert, select, update and delete a row of our own in each table that production writes, and undo it.

    Parameters
    ----------
    inspect_id
        An inspection; None if there is none yet.
    """
    scores = database.tables.scores.fullname.upper()
    if not config.imager.write_url and config.publish.policy == "shadow":
        yield Finding(True, f"write {scores}", 'not tried: publish.policy is "shadow", and imager.write_url is not set')
        return
    if inspect_id is None:
        yield Finding(True, f"write {scores}", "not tried: there is no inspection yet")
        return
    try:
        with database.trying() as connection:
            who = account(connection) or "this account"
    except ImagerError as error:
        statements = tuple(admission(str(error), database.accounts[1]))
        yield Finding(False, "connection for writing", str(error), statements=statements)
        return
    if config.imager.write_url:
        yield Finding(True, "connection for writing", f"as {who}")
    with database.trying() as connection:
        yield from _sequence(database, connection, who)
    yield from _Trial(config, database, who, inspect_id).findings()


def _sequence(database: ImagerDatabase, connection: sa.Connection, who: str) -> Iterator[Finding]:
    """Take a number of the sequence, which stays taken, and compare it with the highest SCOREID."""
    sequence, scores = database.tables.score_ids, database.tables.scores
    if sequence is None or not connection.dialect.supports_sequences:
        return
    name = (f"{sequence.schema}." if sequence.schema else "") + sequence.name
    tried = f"sequence {name.upper()}"
    numbers: list[int] = []

    def read(statement: sa.Select[Any]) -> Callable[[], None]:
        return lambda: numbers.append(int(connection.scalar(statement) or 0))

    if reason := _attempt(connection, read(sa.select(sequence.next_value()))):
        todo = 'see imager.sequence; sequence = "" if the database fills SCOREID itself'
        statements = tuple(grant(reason, "SELECT", sequence, who, connection))
        yield Finding(False, tried, f"not found, or not usable by {who} ({reason})", todo, statements)
        return
    if _attempt(connection, read(sa.select(sa.func.max(scores.c.scoreid)))):
        return  # the trial says that the score table cannot be read
    number, highest = numbers
    if number > highest:
        yield Finding(True, tried, f"gives {number}, and the highest SCOREID is {highest}")
        return
    found = f"gives {number}, but SCOREIDs up to {highest} are taken"
    yield Finding(False, tried, found, "have it restarted", _restart(connection, name, number, highest))


def _restart(connection: sa.Connection, name: str, number: int, highest: int) -> tuple[str, ...]:
    """Return the statements that bring a sequence beyond the highest id."""
    if connection.dialect.name != "oracle":
        return (f"ALTER SEQUENCE {name} RESTART WITH {highest + 1};",)
    if (connection.dialect.server_version_info or ()) >= _RESTARTS:
        return (f"ALTER SEQUENCE {name.upper()} RESTART START WITH {highest + 1};",)
    return (
        f"ALTER SEQUENCE {name.upper()} INCREMENT BY {highest - number + 1};",
        f"SELECT {name.upper()}.NEXTVAL FROM DUAL;",  # noqa: S608  for a person to read
        f"ALTER SEQUENCE {name.upper()} INCREMENT BY 1;",
    )


@dataclass(slots=True)
class _Steps:
    """What was tried on a table: privileges that sufficed, and what failed, as (privilege, reason)."""

    verb: str
    table: sa.Table
    done: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def finding(self, database: ImagerDatabase, who: str) -> Finding:
        tried = f"{self.verb} {self.table.fullname.upper()}"
        done = ", ".join(self.done)
        if not self.failed:
            return Finding(True, tried, f"{done} of a row of our own, rolled back; nothing is left")
        reasons: dict[str, list[str]] = {}
        for privilege, reason in self.failed:
            reasons.setdefault(reason, []).append(privilege)
        found = ", ".join(f"{', '.join(privileges)} failed ({reason})" for reason, privileges in reasons.items())
        refused = [(privilege, reason) for privilege, reason in self.failed if is_refusal(reason)]
        statements: list[str] = []
        if refused:
            privileges = ", ".join(privilege for privilege, _ in refused)
            statements = database.read(partial(grant, refused[0][1], privileges, self.table, who))
        known = next(filter(None, (remedy(reason) for reason in reasons)), "see docs/imager-databases.md")
        todo = f"have this granted to {who}" if statements else known
        return Finding(False, tried, (f"{done} worked, " if done else "") + found, todo, tuple(statements))


class _Trial:
    """One trial of everything that production writes, in one transaction."""

    def __init__(self, config: Config, database: ImagerDatabase, who: str, inspect_id: int) -> None:
        self._config, self._database, self._who, self._inspect_id = config, database, who, inspect_id
        self._score_id = -1

    def findings(self) -> Iterator[Finding]:
        tables, publish = self._database.tables, self._config.publish
        trials = [(tables.inspections, self._drops), (tables.scores, self._scores)]
        trials += [(tables.images, self._images)] if publish.image_rows else []
        trials += [(tables.autoscores, self._autoscores)] if publish.autoscores else []
        tried = []
        with self._database.trying() as connection:
            writer = self._database.writer(tables, connection)
            for table, steps in trials:
                one = _Steps("read before writing" if table is tables.inspections else "write", table)
                for privilege, work in steps(writer, connection):
                    problem = _attempt(connection, work)
                    if problem is None:
                        one.done.append(privilege)
                    else:
                        one.failed.append((privilege, problem))
                tried.append(one)
        drops, *written = tried
        if drops.failed:
            yield drops.finding(self._database, self._who)
        left = self._left()
        for one in written:
            if left and one.table is tables.scores:
                name = one.table.fullname.upper()
                yield Finding(
                    False,
                    f"write {name}",
                    f"the row with SCOREID {self._score_id} stayed, although it was rolled back",
                    "find out what commits (a trigger?), and delete it",
                    (f"DELETE FROM {name} WHERE {one.table.c.scoreid.name.upper()} = {self._score_id};",),  # noqa: S608
                )
            else:
                yield one.finding(self._database, self._who)

    def _left(self) -> bool:
        """Return whether the row is still there after the transaction."""
        scores, by = self._database.tables.scores, self._config.imager.scored_by
        rows = sa.select(sa.func.count()).where(scores.c.scoreid == self._score_id, scores.c.scoredby == by)
        rows = rows.where(scores.c.imagename == _IMAGE)
        try:
            with self._database.trying() as connection:
                return bool(connection.scalar(rows))
        except ImagerError:
            return False  # it could not be read before either

    def _drops(self, writer: ScoreWriter, _: sa.Connection) -> _Work:
        yield "SELECT", lambda: _nothing(writer.scores_of_drops([self._inspect_id]))

    def _scores(self, writer: ScoreWriter, connection: sa.Connection) -> _Work:
        imager, scores = self._config.imager, self._database.tables.scores
        date = imager.local(time.time())

        def insert() -> None:
            self._score_id = writer.insert(self._inspect_id, "01", date, imager.scored_by, _IMAGE)

        def select() -> str | None:
            row = connection.execute(scores.select().where(scores.c.scoreid == self._score_id)).first()
            if row is None or self._score_id == -1:
                return None if self._score_id == -1 else "the row is not found by its SCOREID"
            read = NewScore(row.inspectid, row.score, row.scoredate, row.imagename)
            return None if read == NewScore(self._inspect_id, "01", date, _IMAGE) else f"the row reads back as {read}"

        def changed(is_there: bool) -> str | None:
            return None if is_there or self._score_id == -1 else "the row is not found by SCOREID and SCOREDBY"

        yield "INSERT", insert
        yield "SELECT", select
        yield "UPDATE", lambda: changed(writer.replace(self._score_id, imager.scored_by, "02", date, _IMAGE))
        yield "DELETE", lambda: changed(writer.remove(self._score_id, imager.scored_by))

    def _images(self, writer: ScoreWriter, _: sa.Connection) -> _Work:
        yield "SELECT, INSERT", lambda: _nothing(writer.add_images({self._inspect_id: _IMAGE}))
        yield "DELETE", lambda: writer.remove_image(self._inspect_id, _IMAGE)

    def _autoscores(self, writer: ScoreWriter, _: sa.Connection) -> _Work:
        yield "SELECT", lambda: _nothing(writer.autoscores([self._inspect_id]))
        yield "DELETE", lambda: writer.set_autoscores({self._inspect_id: None})
        yield "INSERT", lambda: writer.set_autoscores({self._inspect_id: (0.5, 0.5, 0)})


def _nothing(_: Any) -> None:
    """Return None, whatever a call returned."""


def _attempt(connection: sa.Connection, work: Callable[[], str | None]) -> str | None:
    """Do a step, and undo it if it fails; return why it failed, or None."""
    try:
        with connection.begin_nested():
            return work()
    except sa.exc.SQLAlchemyError as error:
        original = getattr(error, "orig", None)
        return str(original) if isinstance(original, ImagerError) else short_reason(error)
