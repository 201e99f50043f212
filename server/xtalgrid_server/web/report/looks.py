"""How kinds of drops look in a report: colour and letter, as everywhere in the viewer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xtalgrid_core.outcomes import STYLES, Outcome, ink

from ...domain.drop_state import outcome_of
from ..pages.drops import DropCard
from ..pages.layout import PlateGrid, plate_grid
from ..query_parameters import GROUP_KINDS, KINDS, all_kinds, letter_of, name_of

_PALE = "#f4f4f4"


@dataclass(frozen=True, slots=True)
class Look:
    """A kind's name, letter, colour (``#rrggbb``) and the colour of letters on it."""

    name: str
    letter: str
    colour: str
    number: int = 0

    @property
    def ink(self) -> str:
        """Black or white."""
        return ink(self.colour)


def look(kind: str, number: int = 0) -> Look:
    """Return how a kind looks; `number` is for the legend."""
    if meaning := KINDS.get(kind) or GROUP_KINDS.get(kind):
        colour = outcome_of(meaning).style.colour
    else:
        colour = STYLES[Outcome.UNDECIDED].colour if kind == "disputed" else _PALE
    return Look(name_of(kind), letter_of(kind), colour, number)


def legend(drops: Sequence[DropCard]) -> list[Look]:
    """Return the looks of a plate's drops, in order of priority, with their numbers."""
    counts = Counter(drop.held_kind for drop in drops)
    return [look(kind, counts[kind]) for kind in all_kinds() if kind in counts]


@dataclass(frozen=True, slots=True)
class Map:
    """A plate's map: its grid, and how many drops of a well are abreast and one below the other."""

    grid: PlateGrid
    abreast: int
    deep: int

    def places(self, row: int, col: int) -> list[tuple[int, int, DropCard]]:
        """Return (from the left, from the top, drop) of a well's drops, counted in tiles."""
        drops = self.grid.cells[row, col]
        return [(at % self.abreast, at // self.abreast, drop) for at, drop in enumerate(drops) if drop is not None]


def plate_map(drops: Sequence[DropCard]) -> Map:
    """Lay out the map of a plate."""
    grid = plate_grid(drops)
    abreast = max(grid.wide.abreast, 1)
    return Map(grid, abreast, math.ceil(max(grid.drops, 1) / abreast))
