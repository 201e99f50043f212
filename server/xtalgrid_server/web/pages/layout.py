"""The layout of pages: legend, plate grid, bars, scale bar. No database, no files, no HTML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS
from xtalgrid_core.wells import row_letters

from ...domain.wells import Well
from ..query_parameters import HEAT_KINDS, PlateView, all_kinds, group_of, kind_of, letter_of, name_of
from .drops import DropCard

_WIDE, _TALL = (1360, 720), (780, 940)
"""Sizes of typical windows, in points, that a plate should fit in: on a desk, and on a tablet held upright."""

MOST_TILES = 150
"""Tiles side by side, or one below the other, up to which a plate is made to fit a window."""

_WIDEST_TILE = 260
_NO_CAPTION = 90
"""Width, in points, up to which tiles have no caption, as the style sheet says."""

_SMALLEST_PICTURE = 34
"""Width, in points, below which a thumbnail shows nothing: tiles are then filled with the colour of their outcome."""

RATIOS = ((4, 3), (6, 5), (1, 1), (3, 2), (16, 9))
"""Aspect ratios of pictures: the Minstrel's, the Rock Imager's, and others."""

_SCALE_BARS_UM = (1000, 500, 200, 100, 50, 20)


@dataclass(frozen=True, slots=True)
class KindLabel:
    """The name and letter of a kind."""

    kind: str

    @property
    def name(self) -> str:
        """The name for people."""
        return name_of(self.kind)

    @property
    def letter(self) -> str:
        """The letter."""
        return letter_of(self.kind)


@dataclass(frozen=True, slots=True)
class LegendItem(KindLabel):
    """One kind in the legend, with its number of drops and the view that a click on it leads to."""

    number: int
    selected: bool
    toggled: PlateView


@dataclass(frozen=True, slots=True)
class LegendGroup:
    """A group in the legend with the kinds that the plate has."""

    name: str
    number: int
    selected: bool
    toggled: PlateView
    items: tuple[LegendItem, ...]


def legend(drops: Sequence[DropCard], view: PlateView) -> list[LegendGroup]:
    """Make the legend of a plate: the kinds that its frames show, in order of priority, with the number of drops."""
    counts = Counter(drop.kind_in(view.show) for drop in drops)
    by_group: dict[str, list[str]] = {}
    for kind in all_kinds():
        if kind in counts or (view.show == "heat" and kind in HEAT_KINDS):  # a scale has all its steps
            by_group.setdefault(group_of(kind), []).append(kind)
    groups = []
    for name, kinds in by_group.items():
        items = tuple(LegendItem(kind, counts[kind], kind in view.only, view.toggled([kind])) for kind in kinds)
        number = sum(item.number for item in items)
        groups.append(LegendGroup(name, number, set(kinds) <= view.only, view.toggled(kinds), items))
    return groups


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How many drops of a well are side by side, and how many tiles a plate then has across and down."""

    abreast: int
    across: int
    down: int

    def tile_width(self, screen: tuple[int, int]) -> float:
        """Return the width of a tile that fits a screen of this width and height."""
        return min(screen[0] / self.across, screen[1] / self.down * 4 / 3, _WIDEST_TILE)


@dataclass(frozen=True, slots=True)
class PlateGrid:
    """A plate's geometry: the rows and columns in use, and how the drops of a well are arranged in its cell.

    Attributes
    ----------
    wide, tall
        The arrangements for a window that is wider than high, and for the others.
    cells
        By (row, column): a place for every drop position of the plate, None if that drop has no image.
    """

    rows: tuple[int, ...]
    cols: tuple[int, ...]
    wide: Arrangement
    tall: Arrangement
    cells: dict[tuple[int, int], tuple[DropCard | None, ...]]

    @property
    def drops(self) -> int:
        """The number of drop positions of a well."""
        return len(next(iter(self.cells.values()), ()))

    @property
    def is_tiny(self) -> bool:
        """Whether its tiles are too small for pictures when it fits a window."""
        return self.wide.tile_width(_WIDE) < _SMALLEST_PICTURE

    @property
    def has_captions(self) -> bool:
        """Whether its tiles are wide enough for captions when it fits a window."""
        return self.wide.tile_width(_WIDE) > _NO_CAPTION

    @staticmethod
    def row_name(row: int) -> str:
        """Return a row's letter."""
        return row_letters(row)


def plate_grid(drops: Sequence[DropCard]) -> PlateGrid:
    """Lay out a plate so that it fits a window, with the drops of a well side by side or one below the other."""
    by_well = {drop.well: drop for drop in drops}
    rows = _range_of(sorted({well.row for well in by_well}))
    cols = _range_of(sorted({well.col for well in by_well}))
    subwells = sorted({well.subwell for well in by_well})
    cells = {
        (row, col): tuple(by_well.get(Well(row, col, subwell)) for subwell in subwells) for row in rows for col in cols
    }
    size = len(rows), len(cols), len(subwells)
    return PlateGrid(rows, cols, _arrange(*size, _WIDE), _arrange(*size, _TALL), cells)


@dataclass(frozen=True, slots=True)
class Bar(KindLabel):
    """The largest probability of a class over all chops."""

    probability: float


def bars(answer: wire.Scored) -> list[Bar]:
    """Return the 13 largest probabilities in order of priority; none for a null experiment, which has no chops."""
    if len(answer.probabilities) != len(CLASSES):
        return []
    return [Bar(kind_of(outcome), p) for outcome, p in zip(CLASSES, answer.probabilities, strict=True)]


@dataclass(frozen=True, slots=True)
class Opinion:
    """The probability of a group by our networks, by the second opinion, and by both."""

    group: str
    own: float
    second: float
    together: float


def opinions(answer: wire.Scored) -> list[Opinion]:
    """Return both opinions on each group and the two together; none if there is no second opinion."""
    if answer.groups is None or answer.own_groups is None or answer.second_opinion is None:
        return []
    columns = SCORED_GROUPS, answer.own_groups, answer.second_opinion.groups, answer.groups
    return [Opinion(str(group), *values) for group, *values in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A bar of a round length in the picture's corner; all values but `um` are in pixels of the original."""

    um: int
    x: float
    y: float
    length: float
    thickness: float
    guessed: bool


def scale_bar(answer: wire.Scored) -> ScaleBar | None:
    """Return the longest round bar within a fifth of the picture's width; None if the scale makes no sense."""
    if not 0.01 <= answer.pixel_size_um <= 100 or answer.width < 1 or answer.height < 1:
        return None
    for um in _SCALE_BARS_UM:
        length = um / answer.pixel_size_um
        if length <= answer.width / 5:
            margin = answer.height / 28
            return ScaleBar(
                um,
                answer.width - margin - length,
                answer.height - margin,
                length,
                answer.height / 160,
                answer.pixel_size_origin == "guessed",
            )
    return None


def ratio(size: tuple[int, int] | None) -> str:
    """Return the CSS class for a picture's (height, width), so that a plate's tiles line up; None: the default."""
    height, width = size if size and min(size) > 0 else RATIOS[0][::-1]
    across, down = min(RATIOS, key=lambda shape: abs(shape[0] / shape[1] - width / height))
    return f"ratio-{across}-{down}"


def _range_of(numbers: Sequence[int]) -> tuple[int, ...]:
    """Return all numbers from the first to the last, or only the given ones if most would be gaps (a bad row)."""
    if not numbers:
        return ()
    whole = range(numbers[0], numbers[-1] + 1)
    return tuple(whole) if len(whole) <= max(48, 4 * len(numbers)) else tuple(numbers)


def _arrange(rows: int, cols: int, drops: int, screen: tuple[int, int]) -> Arrangement:
    """Arrange the drops of wells so that tiles are as large as fits a screen of this width and height."""
    ways = [
        Arrangement(n, min(max(cols * n, 1), MOST_TILES), min(max(rows * math.ceil(drops / n), 1), MOST_TILES))
        for n in range(1, max(drops, 1) + 1)
    ]
    return max(ways, key=lambda one: one.tile_width(screen))
