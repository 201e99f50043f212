"""Users of the viewer: their password hashes, and until when they have seen everything.

Append-only: a new password is a new row, and the newest row of a name counts.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from . import tables as t
from .database import LedgerDatabase, insert, now
from .sign_ins import name_hash


class Users:
    """The part of the ledger for the viewer's users."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def set_password(self, name: str, password: str, who: str) -> None:
        """Set a user's password; `password` is its hash, empty to remove the user.

        Their sessions end, and wrong passwords at this name are forgotten.
        """
        with self._db.writing() as connection:
            connection.execute(t.attempts.delete().where(t.attempts.c.name == name_hash(name)))
            insert(connection, t.users, name=name, password=password, who=who, at=now())

    def password(self, name: str) -> str:
        """Return the hash of a user's password, empty if there is no such user."""
        statement = sa.select(t.users.c.password).where(t.users.c.name == name).order_by(t.users.c.id.desc()).limit(1)
        return self._db.scalar(statement) or ""

    def all(self) -> list[tuple[str, str, datetime]]:
        """Return (name, who set the password, when in UTC) of those who may sign in, by name."""
        newest = sa.select(sa.func.max(t.users.c.id)).group_by(t.users.c.name)
        statement = (
            sa.select(t.users).where(t.users.c.id.in_(newest), t.users.c.password != "").order_by(t.users.c.name)
        )
        return [(row.name, row.who, row.at) for row in self._db.rows(statement)]

    def mark_seen(self, who: str, until: datetime) -> None:
        """Record that a person has seen everything that was new at a time (UTC)."""
        with self._db.writing() as connection:
            insert(connection, t.visits, who=who[:100], at=until)

    def last_seen(self, who: str) -> datetime | None:
        """Return until when (UTC) a person has seen everything, or None."""
        statement = sa.select(sa.func.max(t.visits.c.at)).where(t.visits.c.who == who[:100])
        statement = statement.where(t.visits.c.at <= now())  # none from before the clock was set back
        last: datetime | None = self._db.scalar(statement)
        return last
