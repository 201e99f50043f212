"""How a page lays out what it shows: legend, plate grid, bars, scale bar. No database, no files, no HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.wells import row_letters

from ...domain.wells import Well
from ..query_parameters import Choice, all_words, group_of, kind, letter_of, name_of
from .drops import Drop

_SCREEN = (1360, 720)
"""Points of a usual window that a plate should fit in."""

_WIDEST_TILE = 260
RATIOS = ((4, 3), (6, 5), (1, 1), (3, 2), (16, 9))
"""Shapes of pictures: the Minstrel's, the Rock Imager's, and others."""

_SCALE_BARS_UM = (1000, 500, 200, 100, 50, 20)


@dataclass(frozen=True, slots=True)
class OfKind:
    """What is shown of an outcome, by its kind (see `kind`)."""

    kind: str

    @property
    def name(self) -> str:
        """For people."""
        return name_of(self.kind)

    @property
    def letter(self) -> str:
        """Its letter."""
        return letter_of(self.kind)


@dataclass(frozen=True, slots=True)
class LegendItem(OfKind):
    """An outcome of the legend, and the choice that a click on it makes."""

    number: int
    chosen: bool
    then: Choice


@dataclass(frozen=True, slots=True)
class LegendGroup:
    """A group of the legend with the outcomes that the plate has."""

    name: str
    number: int
    chosen: bool
    then: Choice
    items: tuple[LegendItem, ...]


def legend(drops: Sequence[Drop], choice: Choice) -> list[LegendGroup]:
    """The legend of a plate: what its frames say, in order of priority, with how often."""
    counts: dict[str, int] = {}
    for drop in drops:
        word = drop.word(choice.show)
        counts[word] = counts.get(word, 0) + 1
    named: dict[str, list[str]] = {}
    for word in all_words():
        if word in counts and not word.startswith("heat-"):
            named.setdefault(group_of(word), []).append(word)
    groups = []
    for name, words in named.items():
        items = tuple(LegendItem(word, counts[word], word in choice.only, choice.toggled([word])) for word in words)
        number = sum(item.number for item in items)
        groups.append(LegendGroup(name, number, set(words) <= choice.only, choice.toggled(words), items))
    return groups


@dataclass(frozen=True, slots=True)
class PlateGrid:
    """A plate's geometry: the rows and columns in use, and how the drops of a well stand in its cell.

    `cells` are by (row, column), each with a place for every drop that the plate has, None where a drop has no image.
    """

    rows: tuple[int, ...]
    cols: tuple[int, ...]
    abreast: int
    cells: dict[tuple[int, int], tuple[Drop | None, ...]]

    @property
    def across(self) -> int:
        """Tiles side by side."""
        return min(len(self.cols) * self.abreast, 60)

    @property
    def down(self) -> int:
        """Tiles one below the other."""
        return len(self.rows) * math.ceil(len(next(iter(self.cells.values()), ())) / self.abreast)

    @staticmethod
    def row_name(row: int) -> str:
        """A row's letter."""
        return row_letters(row)


def plate_grid(drops: Sequence[Drop]) -> PlateGrid:
    """Lay a plate out so that it fills a window: drops of a well side by side or one below the other."""
    by_well = {drop.well: drop for drop in drops}
    rows = _from_to(sorted({well.row for well in by_well}))
    cols = _from_to(sorted({well.col for well in by_well}))
    subwells = sorted({well.subwell for well in by_well})
    abreast = max(
        range(1, len(subwells) + 1),
        key=lambda n: _tile_width(len(cols) * n, len(rows) * math.ceil(len(subwells) / n)),
        default=1,
    )
    cells = {
        (row, col): tuple(by_well.get(Well(row, col, subwell)) for subwell in subwells) for row in rows for col in cols
    }
    return PlateGrid(rows, cols, abreast, cells)


@dataclass(frozen=True, slots=True)
class Bar(OfKind):
    """The largest probability of a class over all chops."""

    probability: float


def bars(answer: wire.Scored) -> list[Bar]:
    """The 13 maximal probabilities in order of priority; none for a null experiment, which has no chops."""
    if len(answer.probabilities) != len(CLASSES):
        return []
    return [Bar(kind(outcome), p) for outcome, p in zip(CLASSES, answer.probabilities, strict=True)]


@dataclass(frozen=True, slots=True)
class ScaleBar:
    """A bar of a round length in the picture's corner; all in pixels of the original but `um`."""

    um: int
    x: float
    y: float
    length: float
    thickness: float
    guessed: bool


def scale_bar(answer: wire.Scored) -> ScaleBar | None:
    """The longest round bar that takes at most a fifth of the picture's width; None where the scale makes no sense."""
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
    """The style for a picture's shape, (height, width), so that tiles of one plate stand in line; None: the usual one."""
    height, width = size if size and min(size) > 0 else RATIOS[0][::-1]
    across, down = min(RATIOS, key=lambda shape: abs(shape[0] / shape[1] - width / height))
    return f"ratio-{across}-{down}"


def _from_to(numbers: Sequence[int]) -> tuple[int, ...]:
    """All numbers from the first to the last; only those there are where the gaps would be most of it (a bad row or column)."""
    if not numbers:
        return ()
    whole = range(numbers[0], numbers[-1] + 1)
    return tuple(whole) if len(whole) <= max(48, 4 * len(numbers)) else tuple(numbers)


def _tile_width(across: int, down: int) -> float:
    width, height = _SCREEN
    return min(width / across, height / down * 4 / 3, _WIDEST_TILE)
