"""Promotions: which models were put into use, when, by whom and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from . import tables as t
from .database import LedgerDatabase, now


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion or a rollback. `pair` is in use from then on; None stands for the package's default pair."""

    action: Literal["promote", "rollback"]
    pair: tuple[str, str] | None
    why: str
    comparison: str
    """JSON of `xtalgrid_core.comparison.Comparison`, or empty."""
    who: str
    at: datetime


def in_use(history: Sequence[Promotion]) -> list[tuple[str, str]]:
    """Return the pairs that rollbacks lead back through, the one in use last; empty if the package's default is in use.

    Each promotion adds a pair, each rollback removes one: two rollbacks undo two promotions.
    """
    stack: list[tuple[str, str]] = []
    for change in history:
        if change.action == "promote" and change.pair is not None:
            stack.append(change.pair)
        elif stack:
            stack.pop()
    return stack


class Promotions:
    """The part of the ledger that `xtalgrid model` writes and `create_work` reads."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def history(self) -> list[Promotion]:
        """Return all promotions and rollbacks, oldest first."""
        rows = self._db.rows(sa.select(t.promotions).order_by(t.promotions.c.id))
        return [
            Promotion(r.action, (r.segmenter, r.classifier) if r.segmenter else None, r.why, r.comparison, r.who, r.at)
            for r in rows
        ]

    def add(
        self,
        action: Literal["promote", "rollback"],
        pair: tuple[str, str] | None,
        why: str,
        who: str,
        comparison: str = "",
    ) -> None:
        """Record a promotion or a rollback; once it is committed, the pair is in use."""
        segmenter, classifier = pair or ("", "")
        with self._db.writing() as connection:
            connection.execute(
                t.promotions.insert().values(
                    action=action,
                    segmenter=segmenter,
                    classifier=classifier,
                    why=why[:500],
                    comparison=comparison,
                    who=who[:100],
                    at=now(),
                )
            )
