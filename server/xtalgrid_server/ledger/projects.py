"""Which projects each plate belongs to, kept in memory: who may see it goes by that.

The table of drops only grows, so each question reads only the plates that have had new rows since the last one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import sqlalchemy as sa

from ..domain.letters import composed
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase

_LOOK_SECONDS = 1.0
_REREAD_SECONDS = 5.0
_SETTLED_SECONDS = 60.0
"""So long after the last new row, no transaction that began before it is still open."""
_LOOK_BACK = 10_000
"""Ids read again until then: a transaction with lower ids may commit after one with higher ids."""

NO_PROJECT: frozenset[str] = frozenset()


class PlateProjects:
    """The part of the ledger that tells which projects a plate's drops are of."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database
        self._lock = threading.Lock()
        self._highest = 0
        self._looked_at = self._read_at = self._changed_at = float("-inf")
        self._projects: dict[str, frozenset[str]] = {}

    def of(self, barcode: str) -> frozenset[str]:
        """Return the projects of a plate's drops; none if nobody recorded any, or there is no such plate."""
        return self.all().get(barcode, NO_PROJECT)

    def all(self) -> dict[str, frozenset[str]]:
        """Return the projects of every plate that has one, at most a second old."""
        with self._lock:
            at = time.monotonic()
            if at - self._looked_at >= _LOOK_SECONDS:
                self._update(at)
                self._looked_at = at
            return self._projects

    def _update(self, at: float) -> None:
        highest = int(self._db.scalar(sa.select(sa.func.max(t.drops.c.id))) or 0)
        if highest != self._highest:
            self._changed_at = at
        elif at - self._changed_at > _SETTLED_SECONDS or at - self._read_at < _REREAD_SECONDS:
            return
        self._read_at = at
        kept = dict[str, frozenset[str]]()
        if self._highest:
            later = sa.select(t.drops.c.barcode).where(t.drops.c.id > self._highest - _LOOK_BACK).distinct()
            changed = {row.barcode for row in self._db.rows(later)}
            found = [row for part in chunks(sorted(changed)) for row in self._read(part)]
            kept = {barcode: names for barcode, names in self._projects.items() if barcode not in changed}
        else:
            found = self._read()
        projects: dict[str, set[str]] = {}
        for barcode, project in found:
            projects.setdefault(barcode, set()).add(project)
        self._projects = kept | {barcode: frozenset(names) for barcode, names in projects.items()}
        self._highest = highest

    def _read(self, barcodes: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """Return (barcode, project) from the newest row of each place of these plates; None: of all plates."""
        drops = t.drops.c
        newest = sa.select(sa.func.max(drops.id)).where(drops.source == self._db.source)
        newest = newest.group_by(drops.barcode, drops.row, drops.col, drops.subwell)
        if barcodes is not None:
            newest = newest.where(drops.barcode.in_(barcodes))
        statement = sa.select(drops.barcode, drops.project).where(drops.id.in_(newest)).distinct()
        rows = ((row.barcode, composed(row.project.strip())) for row in self._db.rows(statement))
        return [(barcode, project) for barcode, project in rows if project]
