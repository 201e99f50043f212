"""Tokens with which programs use the viewer's JSON addresses in a person's name.

A token ends when it expires, is removed, or its person gets another password or is removed: as sessions do, it belongs
to the newest row of `users` at the time when it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import sqlalchemy as sa

from xtalgrid_core.errors import LedgerError

from . import tables as t
from .database import LedgerDatabase, insert, now

Scope = Literal["read", "score"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

MOST = 20
"""Tokens of a person at a time."""

_USED_WITHIN = timedelta(minutes=1)
"""The time of the last use is not written more often than this."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a person, without the text that the program sends. All times are UTC.

    `ended` says why it is of no use any more; it is empty while it works.
    """

    id: int
    who: str
    label: str
    scope: Scope
    made_by: str
    made_at: datetime
    expires_at: datetime
    used_at: datetime | None
    ended: str


class Tokens:
    """The part of the ledger for tokens."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def add(self, who: str, label: str, scope: Scope, token: str, made_by: str, lasts: timedelta) -> Token:
        """Record a token; `token` is its hash.

        Raises
        ------
        LedgerError
            If the person has a token of this name that works, or `MOST` of them.
        """
        at = now()
        newest = sa.select(sa.func.max(t.users.c.id)).where(t.users.c.name == who).scalar_subquery()
        values = {"who": who, "label": label, "scope": scope, "token": token, "made_by": made_by, "made_at": at}
        with self._db.writing() as connection:
            working = [one for one in map(_token, connection.execute(_tokens(t.tokens.c.who == who))) if not one.ended]
            if any(one.label == label for one in working):
                raise LedgerError(f"{who} has a token {label!r} already; remove it first, or choose another name")
            if len(working) >= MOST:
                raise LedgerError(f"{who} has {MOST} tokens already; remove one first")
            added = insert(connection, t.tokens, user_id=newest, expires_at=at + lasts, **values)
            return _token(connection.execute(_tokens(t.tokens.c.id == added)).one())

    def with_hash(self, token: str) -> Token | None:
        """Return the token with this hash, also if it has ended; None: there never was one."""
        return next(map(_token, self._db.rows(_tokens(t.tokens.c.token == token))), None)

    def working(self, who: str = "") -> list[Token]:
        """Return the tokens that work, of a person or of everybody, by person and in the order they were made."""
        of_person = [t.tokens.c.who == who] if who else []
        statement = _tokens(t.tokens.c.removed_at.is_(None), *of_person).order_by(t.tokens.c.who, t.tokens.c.id)
        return [one for one in map(_token, self._db.rows(statement)) if not one.ended]

    def remove(self, who: str, label: str | None = None) -> list[str]:
        """Remove a person's token of this name, or all of theirs; return the names of those that worked until now."""
        chosen = [one for one in self.working(who) if one.who == who and label in (None, one.label)]
        with self._db.writing() as connection:
            ids = t.tokens.c.id.in_([one.id for one in chosen])
            connection.execute(t.tokens.update().where(ids).values(removed_at=now()))
        return [one.label for one in chosen]

    def set_used(self, token: Token) -> None:
        """Record that a token was used now, unless that was recorded within the last minute."""
        at = now()
        if token.used_at is None or token.used_at < at - _USED_WITHIN:
            with self._db.writing() as connection:
                connection.execute(t.tokens.update().where(t.tokens.c.id == token.id).values(used_at=at))


def _tokens(*chosen: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select tokens, each with the newest row of its person in `users`."""
    newest = sa.select(sa.func.max(t.users.c.id)).where(t.users.c.name == t.tokens.c.who).scalar_subquery()
    return sa.select(t.tokens, newest.label("newest_user_id")).where(*chosen)


def _token(row: Any) -> Token:
    ended = ""
    if row.removed_at is not None:
        ended = "was removed"
    elif row.newest_user_id != row.user_id:
        ended = f"ended when {row.who} got another password or was removed"
    elif row.expires_at <= now():
        ended = f"expired on {row.expires_at:%Y-%m-%d}"
    about = row.made_by, row.made_at, row.expires_at, row.used_at
    return Token(row.id, row.who, row.label, row.scope, *about, ended)
