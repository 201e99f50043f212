"""The drops of a plate as pages show them: which image stands for a drop, in what order they are reviewed, and when to stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import Outcome

from ...domain.wells import Well
from ...ledger.people import Said
from ...ledger.plates import DropImage
from ...steps.score_rules import rank
from ..query_parameters import UNSAID, Choice, Show, heat, kind, letter_of, name_of

STOP_AT = 0.95
"""Part of the expected crystals that the review strip's line promises above it."""


@dataclass(frozen=True, slots=True)
class Drop:
    """One drop at one inspection: its images (usually one), the one with the highest-ranking outcome first, and a person's score."""

    well: Well
    images: tuple[DropImage, ...]
    said: Said | None = None

    @property
    def first(self) -> DropImage:
        """The image that stands for the drop."""
        return self.images[0]

    @property
    def kind(self) -> str:
        """Its ARTscore's word."""
        return kind(self.first.outcome)

    @property
    def said_kind(self) -> str:
        """The word of what a person said; `UNSAID` when nobody did, or in a code that the lab's map does not know."""
        return kind(self.said.outcome) if self.said and self.said.outcome else UNSAID

    @property
    def compared(self) -> str:
        """Whether the ARTscore and the person's score are of one group: ``agree``, ``differ``, or ``alone``."""
        if not (self.first.is_scored and self.first.outcome and self.said and self.said.outcome):
            return "alone"
        return "agree" if self.first.outcome.group is self.said.outcome.group else "differ"

    def word(self, show: Show) -> str:
        """What its frame says."""
        if show == "people":
            return self.said_kind
        if show == "disagreement":
            return self.compared
        return heat(self.p_crystal) if show == "heat" and self.p_crystal is not None else self.kind

    def look(self, show: Show) -> str:
        """The style of its frame: its word, but where scores are compared that of the ARTscore."""
        return self.kind if show == "disagreement" else self.word(show)

    def is_dim(self, choice: Choice) -> bool:
        """Whether it stands back on the plate: filtered out, or nothing differs where differences are looked for."""
        if choice.show == "disagreement" and not choice.only:
            return self.compared != "differ"
        return not choice.shows(self.word(choice.show))

    @property
    def letter(self) -> str:
        """Its ARTscore's letter."""
        return letter_of(self.kind)

    @property
    def probability(self) -> str:
        """Probability of the ARTscore; empty without one."""
        return percent(self.first.probability) if self.first.is_scored else ""

    @property
    def p_crystal(self) -> float | None:
        """The largest p_crystal of its images."""
        return max((image.p_crystal for image in self.images if image.is_scored), default=None)

    @property
    def label(self) -> str:
        """One line for tooltips and for those who don't see the picture."""
        parts = [str(self.well), f"{name_of(self.kind)} {self.probability}".strip()]
        if self.p_crystal is not None:
            parts.append(f"crystal {percent(self.p_crystal)}")
        if self.said:
            parts.append(f"{self.said.who}: {self.said.outcome or self.said.code}")
        if self.first.failure:
            parts.append(self.first.failure[0])
        if len(self.images) > 1:
            parts.append(f"{len(self.images)} images")
        return " · ".join(parts)


def drops_of(images: Iterable[DropImage], said: Mapping[int, Sequence[Said]] | None = None) -> list[Drop]:
    """The drops of some images of one inspection, in the order of the images; `said`: people's scores by inspect id, oldest first."""
    groups: dict[Well, list[DropImage]] = {}
    for image in images:
        groups.setdefault(image.well, []).append(image)
    found = []
    for well, group in groups.items():
        newest = [scores[-1] for image in group if (scores := (said or {}).get(image.inspect_id))]
        found.append(Drop(well, tuple(sorted(group, key=_rank)), max(newest, key=lambda one: one.at, default=None)))
    return found


def by_inspection(images: Iterable[DropImage]) -> dict[int, list[DropImage]]:
    """Images by the number of their inspection, in the order of the images."""
    groups: dict[int, list[DropImage]] = {}
    for image in images:
        groups.setdefault(image.inspection, []).append(image)
    return groups


def in_order(drops: Sequence[Drop], choice: Choice) -> list[Drop]:
    """The chosen drops in the chosen order: by the plate's rows, or the likeliest crystals first."""
    shown = [drop for drop in drops if choice.shows(drop.word(choice.show))]
    if choice.order == "best":
        return sorted(shown, key=lambda drop: (drop.p_crystal is None, -(drop.p_crystal or 0.0), drop.well))
    return sorted(shown, key=lambda drop: drop.well)


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a review may end: `above` drops hold `STOP_AT` of the crystals to be expected.

    `expected` is the sum of p_crystal over the plate, and `left` that below the line: calibrated probabilities add up to the
    number of crystals there are on average.
    """

    above: int
    expected: float
    left: float


def stop_of(drops: Iterable[Drop]) -> Stop:
    """The stop rule for drops reviewed from the highest p_crystal down."""
    chances = sorted((drop.p_crystal for drop in drops if drop.p_crystal is not None), reverse=True)
    expected, total = sum(chances), 0.0
    for above, chance in enumerate(chances, 1):
        total += chance
        if total >= STOP_AT * expected - 1e-9:
            return Stop(above, expected, max(expected - total, 0.0))
    return Stop(0, 0.0, 0.0)


def _rank(image: DropImage) -> tuple[bool, tuple[int, float, str]]:
    """As the finalizer's, by which one is published; what waits for its score comes last."""
    return image.outcome is None, rank(image.outcome or Outcome.FAILED, image.probability, image.image_name)
