"""Sessions of the viewer's users, one-time links, and the attempts to sign in that were not successful.

All are kept for as long as they matter: old rows are deleted when a new one is added.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from . import tables as t
from .database import LedgerDatabase, insert, now


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to sign in. `name` is a hash (`name_hash`), `origin` where it came from, `at` the time in UTC."""

    name: str
    origin: str
    at: datetime


def name_hash(name: str) -> str:
    """Hash the name of an attempt: people type their password into this field too."""
    return hashlib.sha256(name.casefold().encode()).hexdigest()


class SignIns:
    """The part of the ledger for sessions, one-time links and attempts to sign in."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def begin_session(self, name: str, password: str, token: str, oldest: datetime) -> None:
        """Begin a session of a user.

        Parameters
        ----------
        password
            Hash of the password that was checked; the session ends when the user has another or none.
        token
            Hash of what the browser keeps.
        oldest
            Sessions from before this time (UTC) are deleted.
        """
        newest = sa.select(t.users.c.id, t.users.c.password).where(t.users.c.name == name)
        with self._db.writing() as connection:
            user = connection.execute(newest.order_by(t.users.c.id.desc()).limit(1)).one()
            connection.execute(t.sessions.delete().where(t.sessions.c.began_at < oldest))
            if user.password == password:
                insert(connection, t.sessions, user_id=user.id, token=token, began_at=now())

    def end_session(self, token: str) -> str:
        """End a session, if there is one; return whose it was, or an empty string."""
        own = sa.select(t.users.c.name).where(t.users.c.id == t.sessions.c.user_id).scalar_subquery()
        with self._db.writing() as connection:
            for table, who in ((t.sessions, own), (t.links, t.links.c.who)):
                is_open = table.c.token == token, table.c.ended_at.is_(None)
                name = connection.scalar(sa.select(who).where(*is_open))
                if name:
                    connection.execute(table.update().where(*is_open).values(ended_at=now()))
                    return str(name)
        return ""

    def session_user(self, token: str, oldest: datetime) -> str:
        """Return whose session this is; empty if it ended, began before `oldest` (UTC), or the password is another."""
        newer = t.users.alias()
        has_newer = sa.exists().where(newer.c.name == t.users.c.name, newer.c.id > t.users.c.id)
        statement = (
            sa.select(t.users.c.name)
            .join(t.sessions, t.sessions.c.user_id == t.users.c.id)
            .where(t.sessions.c.token == token, t.sessions.c.ended_at.is_(None), t.sessions.c.began_at >= oldest)
            .where(t.users.c.password != "", ~has_newer)
        )
        return self._db.scalar(statement) or ""

    def add_link(self, who: str, code: str, oldest: datetime) -> None:
        """Record a one-time link; it takes the place of one that was not used.

        Parameters
        ----------
        code
            Hash of what the link ends with.
        oldest
            Sessions that began before this time (UTC) are deleted.
        """
        over = sa.or_(t.links.c.began_at.is_(None), t.links.c.began_at < oldest)
        with self._db.writing() as connection:
            connection.execute(t.links.delete().where(over))
            insert(connection, t.links, who=who, code=code, made_at=now())

    def use_link(self, code: str, token: str, oldest: datetime) -> str:
        """Begin the session of a link that was made since `oldest` (UTC).

        Returns
        -------
        Whose it is; empty if there is no such link, it is too old, or it was used before.
        """
        unused = t.links.c.code == code, t.links.c.token.is_(None), t.links.c.made_at >= oldest
        with self._db.writing() as connection:
            if not connection.execute(t.links.update().where(*unused).values(token=token, began_at=now())).rowcount:
                return ""
            return str(connection.scalar(sa.select(t.links.c.who).where(t.links.c.token == token)))

    def link_user(self, token: str, oldest: datetime) -> str:
        """Return whose session of a link this is; empty if it ended, or began before `oldest` (UTC)."""
        is_open = t.links.c.token == token, t.links.c.ended_at.is_(None), t.links.c.began_at >= oldest
        return self._db.scalar(sa.select(t.links.c.who).where(*is_open)) or ""

    def attempts(self, name: str, origin: str, since: datetime) -> list[Attempt]:
        """Return the attempts since a time (UTC) at a name or from an origin, oldest first."""
        statement = (
            sa.select(t.attempts)
            .where(sa.or_(t.attempts.c.name == name_hash(name), t.attempts.c.origin == origin))
            .where(t.attempts.c.at >= since)
            .where(t.attempts.c.at <= now())  # none from before the clock was set back
            .order_by(t.attempts.c.at)
        )
        return [Attempt(row.name, row.origin, row.at) for row in self._db.rows(statement)]

    def add_attempt(self, name: str, origin: str, oldest: datetime) -> None:
        """Record an attempt, and delete those from before `oldest` (UTC)."""
        with self._db.writing() as connection:
            at = now()
            connection.execute(t.attempts.delete().where(sa.or_(t.attempts.c.at < oldest, t.attempts.c.at > at)))
            insert(connection, t.attempts, name=name_hash(name), origin=origin, at=at)

    def forget_attempts(self, name: str, origin: str) -> None:
        """Delete the attempts at a name from an origin, because the last was successful."""
        statement = t.attempts.delete().where(t.attempts.c.name == name_hash(name), t.attempts.c.origin == origin)
        with self._db.writing() as connection:
            connection.execute(statement)
