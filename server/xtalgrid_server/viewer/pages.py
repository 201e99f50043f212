"""What the pages show: from the ledger's rows to what a template prints. No database, no files, no HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote, urlencode

from xtalgrid_core import wire
from xtalgrid_core.decision import priority
from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import CLASSES, Group, Outcome

from ..ledger.records import SeenImage
from ..wells import Well, row_letters

Order = Literal["plate", "best"]
WAITING = "waiting"
"""Filter and style of the images that have neither a score nor a failure yet."""

_KINDS: dict[str, Outcome] = {outcome.name.lower().replace("_", "-"): outcome for outcome in Outcome}
"""Outcomes by the word that stands for them in addresses and style sheets, such as ``bad-form``."""

_GROUP_NAMES = {
    Group.CRYSTAL: "Crystals",
    Group.PRECIPITATE: "Precipitate",
    Group.OTHER: "Other",
    Group.CLEAR: "Clear",
    Group.UNKNOWN: "For a person",
}

_SCREEN = (1360, 720)
"""Points of a usual window that a plate should fit in."""

_WIDEST_TILE = 260
RATIOS = ((4, 3), (6, 5), (1, 1), (3, 2), (16, 9))
"""Shapes of pictures: the Minstrel's, the Rock Imager's, and others."""

_SCALE_BARS_UM = (1000, 500, 200, 100, 50, 20)


def kind(outcome: Outcome | None) -> str:
    """The word that stands for an outcome in addresses and style sheets."""
    return WAITING if outcome is None else outcome.name.lower().replace("_", "-")


def name_of_kind(word: str) -> str:
    """An outcome's name for people, from its word."""
    return str(_KINDS.get(word, "not scored yet"))


def letter_of_kind(word: str) -> str:
    """An outcome's letter, from its word."""
    return _KINDS[word].look.letter if word in _KINDS else "…"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose to see of a plate: the address's query."""

    order: Order = "plate"
    only: frozenset[str] = frozenset()
    large: bool = False

    @classmethod
    def of(cls, order: str, only: Iterable[str], size: str) -> Choice:
        """From an address; words that mean nothing are passed over."""
        known = {word for word in only if word in _KINDS or word == WAITING}
        return cls("best" if order == "best" else "plate", frozenset(known), size == "large")

    @property
    def query(self) -> str:
        """The query with its question mark; empty for the usual choice."""
        parts = [("order", "best")] if self.order == "best" else []
        parts += [("size", "large")] if self.large else []
        parts += [("only", word) for word in sorted(self.only)]
        return f"?{urlencode(parts)}" if parts else ""

    def ordered(self, order: Order) -> Choice:
        """The same in another order."""
        return replace(self, order=order)

    def sized(self, large: bool) -> Choice:
        """The same in another size."""
        return replace(self, large=large)

    def toggled(self, words: Sequence[str]) -> Choice:
        """With these outcomes chosen, or no more chosen when all of them were."""
        chosen = frozenset(words)
        return replace(self, only=self.only - chosen if chosen <= self.only else self.only | chosen)

    def shows(self, word: str) -> bool:
        """Whether an outcome is among the chosen ones."""
        return not self.only or word in self.only


def plate_address(barcode: str, inspection: int, choice: Choice | None = None) -> str:
    """Address of a plate's page."""
    return f"/plate/{quote(barcode, safe='')}/{inspection}{choice.query if choice else ''}"


def well_address(barcode: str, inspection: int, well: Well, choice: Choice | None = None) -> str:
    """Address of a well's page."""
    return f"/well/{quote(barcode, safe='')}/{inspection}/{quote(str(well), safe='')}{choice.query if choice else ''}"


@dataclass(frozen=True, slots=True)
class WellView:
    """One drop of a plate: its images (usually one), the one with the highest-ranking outcome first."""

    well: Well
    images: tuple[SeenImage, ...]

    @property
    def first(self) -> SeenImage:
        """The image that stands for the well."""
        return self.images[0]

    @property
    def kind(self) -> str:
        """Its outcome's word."""
        return kind(self.first.outcome)

    @property
    def outcome(self) -> str:
        """Its outcome for people."""
        return name_of_kind(self.kind)

    @property
    def letter(self) -> str:
        """Its outcome's letter."""
        return letter_of_kind(self.kind)

    @property
    def probability(self) -> str:
        """Probability of the outcome; empty without one."""
        scored = self.scored
        return percent(scored.probability) if scored else ""

    @property
    def p_crystal(self) -> float | None:
        """The largest p_crystal of its images."""
        values = [image.score.p_crystal for image in self.images if image.score and _scored(image)]
        return max(values, default=None)

    @property
    def scored(self) -> wire.Scored | None:
        """What the worker said of the first image, if it was scored."""
        return _scored(self.first)

    @property
    def failure(self) -> tuple[str, str] | None:
        """(reason, detail) of why there is no score."""
        return failure_of(self.first)

    @property
    def label(self) -> str:
        """One line for tooltips and for those who don't see the picture."""
        parts = [str(self.well), f"{self.outcome} {self.probability}".strip()]
        if self.p_crystal is not None:
            parts.append(f"crystal {percent(self.p_crystal)}")
        if self.failure:
            parts.append(self.failure[0])
        if len(self.images) > 1:
            parts.append(f"{len(self.images)} images")
        return " · ".join(parts)


def failure_of(image: SeenImage) -> tuple[str, str] | None:
    """(reason, detail) of why an image has no score; None when it has one or waits."""
    if image.score is None:
        return image.failure
    answer = image.score.answer
    return (str(answer.reason), answer.detail) if isinstance(answer, wire.Failed) else None


def wells_of(images: Iterable[SeenImage]) -> list[WellView]:
    """The drops of some images, in the order of the images."""
    groups: dict[Well, list[SeenImage]] = {}
    for image in images:
        groups.setdefault(image.image.well, []).append(image)
    return [WellView(well, tuple(sorted(group, key=_rank))) for well, group in groups.items()]


def wells_of_inspections(images: Iterable[SeenImage]) -> list[WellView]:
    """One drop at each of its inspections, in the order of the images."""
    groups: dict[int, list[SeenImage]] = {}
    for image in images:
        groups.setdefault(image.image.inspection, []).append(image)
    return [wells_of(group)[0] for group in groups.values()]


def in_order(wells: Sequence[WellView], choice: Choice) -> list[WellView]:
    """The chosen wells in the chosen order: by the plate's rows, or the likeliest crystals first."""
    shown = [view for view in wells if choice.shows(view.kind)]
    if choice.order == "best":
        return sorted(shown, key=lambda view: (view.p_crystal is None, -(view.p_crystal or 0.0), view.well))
    return sorted(shown, key=lambda view: view.well)


@dataclass(frozen=True, slots=True)
class OfKind:
    """What is shown of an outcome, by its kind (see `kind`)."""

    kind: str

    @property
    def name(self) -> str:
        """For people."""
        return name_of_kind(self.kind)

    @property
    def letter(self) -> str:
        """Its letter."""
        return letter_of_kind(self.kind)


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


def legend(wells: Sequence[WellView], choice: Choice) -> list[LegendGroup]:
    """The legend of a plate: groups and outcomes that occur, in order of priority, with their counts."""
    counts: dict[str, int] = {}
    for view in wells:
        counts[view.kind] = counts.get(view.kind, 0) + 1
    groups = []
    for group, name in _GROUP_NAMES.items():
        words = [word for word, outcome in _KINDS.items() if outcome.group is group]
        words += [WAITING] if group is Group.UNKNOWN else []
        words = [word for word in words if word in counts]
        if words:
            items = tuple(LegendItem(word, counts[word], word in choice.only, choice.toggled([word])) for word in words)
            chosen = set(words) <= choice.only
            groups.append(LegendGroup(name, sum(i.number for i in items), chosen, choice.toggled(words), items))
    return groups


@dataclass(frozen=True, slots=True)
class PlateGrid:
    """A plate's geometry: the rows and columns in use, and how the drops of a well stand in its cell.

    `cells` are by (row, column), each with a place for every drop that the plate has, None where a drop has no image.
    """

    rows: tuple[int, ...]
    cols: tuple[int, ...]
    abreast: int
    cells: dict[tuple[int, int], tuple[WellView | None, ...]]

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


def plate_grid(wells: Sequence[WellView]) -> PlateGrid:
    """Lay a plate out so that it fills a window: drops of a well side by side or one below the other."""
    by_well = {view.well: view for view in wells}
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


def ratio(wells: Iterable[WellView]) -> str:
    """The style for the shape that most images of some wells have, so that tiles of one plate stand in line."""
    sizes = [(view.scored.width, view.scored.height) for view in wells if view.scored and view.scored.height]
    width, height = max(set(sizes), key=sizes.count) if sizes else RATIOS[0]
    across, down = min(RATIOS, key=lambda shape: abs(shape[0] / shape[1] - width / height))
    return f"ratio-{across}-{down}"


def _rank(image: SeenImage) -> tuple[int, float]:
    if image.outcome is None:
        return len(CLASSES) + 2, 0.0
    return priority(image.outcome) + (image.outcome is Outcome.FAILED), -(image.score.p_crystal if image.score else 0.0)


def _scored(image: SeenImage) -> wire.Scored | None:
    answer = image.score.answer if image.score else None
    return answer if isinstance(answer, wire.Scored) else None


def _from_to(numbers: Sequence[int]) -> tuple[int, ...]:
    """All numbers from the first to the last; only those there are where the gaps would be most of it (a bad row or column)."""
    if not numbers:
        return ()
    whole = range(numbers[0], numbers[-1] + 1)
    return tuple(whole) if len(whole) <= max(48, 4 * len(numbers)) else tuple(numbers)


def _tile_width(across: int, down: int) -> float:
    width, height = _SCREEN
    return min(width / across, height / down * 4 / 3, _WIDEST_TILE)
