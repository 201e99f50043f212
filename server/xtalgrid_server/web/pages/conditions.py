"""The page of conditions: which gave an outcome, and a map of them by precipitant and pH."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from xtalgrid_core.errors import Busy

from ...domain.conditions import Condition, read_condition
from ...ledger.store import Ledger
from ...reports.entries import Filter
from ...reports.search import DropGroup, Key, Tally, ranked, tally
from ..cache.memory import MemoryCache
from ..query_parameters import heat_kind

LONGEST_S = 15.0
"""Seconds after which a search is given up."""

_AT_ONCE = 4
"""Searches that may wait for each other."""

_MOST_ROWS = 24
"""Precipitants in the map."""

NO_PH = -1
"""The map's column of conditions without a pH; the others are whole numbers, from which the pH is less than 1 away."""

read_cached = lru_cache(maxsize=20_000)(read_condition)


class TooLong(Exception):
    """A search that would take too long for a page."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: the groups with a drop that showed the outcome, and the drops of all conditions."""

    groups: list[DropGroup]
    conditions: Mapping[str, tuple[int, int]]


class Searches:
    """Searches of the archive, remembered until the ledger changes; only few at once, since each reads all images."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._found = MemoryCache[Found](ledger.plates)
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def find(self, chosen: Filter, group_by: tuple[Key, ...], among: frozenset[str] | None) -> Found:
        """Search as ``xtalgrid search`` does, among the plates that the visitor may see (None: all).

        Raises
        ------
        TooLong
            After `LONGEST_S`.
        Busy
            If others are searching.
        """
        if not self._turns.acquire(blocking=False):
            raise Busy("Others are searching; try again in a few seconds.")
        chosen = replace(chosen, among=among)  # part of the key: nobody is shown what others may see
        try:
            return self._found.get((chosen, group_by), lambda: self._search(chosen, group_by))
        finally:
            self._turns.release()

    def _search(self, chosen: Filter, group_by: tuple[Key, ...]) -> Found:
        deadline = time.monotonic() + LONGEST_S

        def go_on() -> None:
            if time.monotonic() > deadline:
                raise TooLong

        groups = tally(self._ledger, chosen, group_by, go_on)
        return Found(ranked(groups), _by_condition(groups, group_by))


def _by_condition(groups: Mapping[tuple[str, ...], Tally], group_by: Sequence[Key]) -> dict[str, tuple[int, int]]:
    """Return (drops that showed the outcome, all drops) of each known condition; empty if it is no key."""
    numbers: dict[str, tuple[int, int]] = {}
    at = group_by.index("condition") if "condition" in group_by else None
    for keys, group in groups.items() if at is not None else ():
        if condition := keys[at or 0]:
            matching, drops = numbers.get(condition, (0, 0))
            numbers[condition] = matching + group.matching, drops + group.drops
    return numbers


@dataclass(frozen=True, slots=True)
class MapCell:
    """Conditions with the same precipitant and about the same pH."""

    conditions: int
    matching: int
    drops: int

    @property
    def kind(self) -> str:
        """The colour: of the part of the drops that showed the outcome."""
        return heat_kind(self.matching / self.drops)


@dataclass(frozen=True, slots=True)
class OutcomeMap:
    """The map: `cells` by (precipitant, pH); `unread` are the cells of conditions whose precipitant can't be read.

    `left_out` is the number of precipitants beyond the first `_MOST_ROWS`.
    """

    precipitants: tuple[str, ...]
    ph: tuple[int, ...]
    cells: Mapping[tuple[str, int], MapCell]
    unread: MapCell | None
    left_out: int


def outcome_map(conditions: Mapping[str, tuple[int, int]]) -> OutcomeMap:
    """Make the map of conditions, the precipitants that showed the outcome most often first."""
    numbers: dict[tuple[str, int], tuple[int, int, int]] = {}
    for text, (matching, drops) in conditions.items():
        place = place_of(read_cached(text))
        before = numbers.get(place, (0, 0, 0))
        numbers[place] = before[0] + 1, before[1] + matching, before[2] + drops
    unread = [values for (name, _), values in numbers.items() if not name]
    cells = {place: MapCell(*values) for place, values in numbers.items() if place[0]}
    totals: dict[str, tuple[int, int]] = {}
    for (name, _), cell in cells.items():
        matching, drops = totals.get(name, (0, 0))
        totals[name] = matching + cell.matching, drops + cell.drops
    order = sorted(totals, key=lambda name: (-totals[name][0], -totals[name][1], name))
    shown = tuple(order[:_MOST_ROWS])
    return OutcomeMap(
        shown,
        tuple(sorted({ph for name, ph in cells if name in shown})),
        cells,
        MapCell(*(sum(column) for column in zip(*unread, strict=True))) if unread else None,
        len(order) - len(shown),
    )


def place_of(condition: Condition) -> tuple[str, int]:
    """Return a condition's place in the map: its precipitant, empty without one, and its pH rounded down."""
    precipitant = condition.precipitant
    return precipitant.name if precipitant else "", NO_PH if condition.ph is None else int(condition.ph)
