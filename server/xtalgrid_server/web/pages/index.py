"""Which plates there are, newest first, without grouping the whole table of images for each request.

The ledger only grows, so that what was read once stays true: each request reads the images that came since the one before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ...ledger.plates import Inspection, Plates

_SETTLED_SECONDS = 60.0
"""After so long without a new image no transaction is under way that was begun before the last one."""

_AGAIN_SECONDS = 5.0
"""How often the last images are read again meanwhile."""

_LOOK_BACK = 10_000
"""Ids read once more: a transaction with lower ids may be committed after one with higher ones. A work unit has at most 5,000."""


@dataclass(frozen=True, slots=True)
class PlateEntry:
    """A plate: its barcode and its inspections with their moments (imager's local time), the newest first."""

    barcode: str
    inspections: tuple[tuple[int, datetime], ...]

    @property
    def newest(self) -> Inspection:
        """Its newest inspection."""
        return self.barcode, self.inspections[0][0]

    @property
    def date(self) -> datetime:
        """When it was inspected last."""
        return self.inspections[0][1]


class PlateIndex:
    """The plates of the ledger, kept in memory: some 100 bytes for each inspection."""

    def __init__(self, plates: Plates) -> None:
        self._plates = plates
        self._lock = threading.Lock()
        self._highest = -1
        self._moved = self._read = 0.0
        self._dates: dict[str, dict[int, datetime]] = {}
        self._entries: list[PlateEntry] = []

    def all(self) -> list[PlateEntry]:
        """Every plate, the one inspected last first."""
        with self._lock:
            self._read_on()
            return self._entries

    def inspections(self, barcode: str) -> list[tuple[int, datetime]]:
        """(number, moment) of a plate's inspections, oldest first; none where there is no such plate."""
        return self.inspections_of([barcode])[barcode]

    def inspections_of(self, barcodes: Iterable[str]) -> dict[str, list[tuple[int, datetime]]]:
        """The same of several plates."""
        with self._lock:
            self._read_on()
            return {barcode: sorted(self._dates.get(barcode, {}).items()) for barcode in barcodes}

    def _read_on(self) -> None:
        highest, now = self._plates.highest_image(), time.monotonic()
        if highest != self._highest:
            self._moved = now
        elif now - self._moved > _SETTLED_SECONDS or now - self._read < _AGAIN_SECONDS:
            return
        self._read = now
        found = self._plates.inspections_since(max(self._highest - _LOOK_BACK, 0))
        changed = False
        for (barcode, number), date in found.items():
            dates = self._dates.setdefault(barcode, {})
            if number not in dates or dates[number] < date:
                dates[number] = date
                changed = True
        self._highest = highest
        if changed:
            entries = [
                PlateEntry(barcode, tuple(sorted(dates.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)))
                for barcode, dates in self._dates.items()
            ]
            self._entries = sorted(entries, key=lambda entry: (entry.date, entry.barcode), reverse=True)
