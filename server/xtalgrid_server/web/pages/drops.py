"""The drops of a plate as pages show them: which image represents a drop, the order of review, and where to stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from xtalgrid_core.frames import percent

from ...domain.wells import Well
from ...ledger.person_scores import PersonScore
from ...ledger.shapes import DropImage
from ...steps.score_rules import rank
from ..query_parameters import NO_PERSON, PlateView, Show, heat_kind, kind_of, letter_of, name_of

STOP_AT = 0.95
"""Fraction of the expected crystals that lie above the line of the review strip."""


@dataclass(frozen=True, slots=True)
class DropCard:
    """One drop at one inspection, as pages show it.

    Attributes
    ----------
    images
        Its images (usually one), the one with the highest-ranking outcome first.
    person_score
        The newest score by a person; None if there is none.
    """

    well: Well
    images: tuple[DropImage, ...]
    person_score: PersonScore | None = None

    @property
    def image(self) -> DropImage:
        """The image that represents the drop."""
        return self.images[0]

    @property
    def kind(self) -> str:
        """The kind of its ARTscore."""
        return kind_of(self.image.outcome)

    @property
    def person_kind(self) -> str:
        """The kind of the person's score; `NO_PERSON` without one, or if the lab's map does not know its code."""
        return kind_of(self.person_score.outcome) if self.person_score and self.person_score.outcome else NO_PERSON

    @property
    def comparison(self) -> str:
        """Whether the ARTscore and the person's score are in one group: ``agree``, ``differ``, or ``alone``."""
        person = self.person_score.outcome if self.person_score else None
        if not (self.image.is_scored and self.image.outcome and person):
            return "alone"
        return "agree" if self.image.outcome.group is person.group else "differ"

    def kind_in(self, show: Show) -> str:
        """Return the kind that its frame shows."""
        if show == "people":
            return self.person_kind
        if show == "disagreement":
            return self.comparison
        return heat_kind(self.p_crystal) if show == "heat" and self.p_crystal is not None else self.kind

    def style_in(self, show: Show) -> str:
        """Return the kind that its frame is styled by: that of the ARTscore if scores are compared."""
        return self.kind if show == "disagreement" else self.kind_in(show)

    def is_dim(self, view: PlateView) -> bool:
        """Whether the plate shows it dimmed: it is filtered out, or scores are compared and do not differ."""
        if view.show == "disagreement" and not view.only:
            return self.comparison != "differ"
        return not view.includes(self.kind_in(view.show))

    @property
    def letter(self) -> str:
        """Its ARTscore's letter."""
        return letter_of(self.kind)

    @property
    def probability(self) -> str:
        """Probability of the ARTscore; empty without one."""
        return percent(self.image.probability) if self.image.is_scored else ""

    @property
    def p_crystal(self) -> float | None:
        """The largest p_crystal of its images."""
        return max((image.p_crystal for image in self.images if image.is_scored), default=None)

    @property
    def label(self) -> str:
        """One line for tooltips and for people who cannot see the picture."""
        parts = [str(self.well), f"{name_of(self.kind)} {self.probability}".strip()]
        if self.p_crystal is not None:
            parts.append(f"crystal {percent(self.p_crystal)}")
        if self.person_score:
            parts.append(f"{self.person_score.who}: {self.person_score.outcome or self.person_score.code}")
        if self.image.failure:
            parts.append(self.image.failure[0])
        if len(self.images) > 1:
            parts.append(f"{len(self.images)} images")
        return " · ".join(parts)


def drop_cards(
    images: Iterable[DropImage], person_scores: Mapping[int, Sequence[PersonScore]] | None = None
) -> list[DropCard]:
    """Group the images of one inspection by drop, in the order of the images.

    Parameters
    ----------
    person_scores
        People's scores by inspect id, oldest first.
    """
    by_well: dict[Well, list[DropImage]] = {}
    for image in images:
        by_well.setdefault(image.well, []).append(image)
    cards = []
    for well, group in by_well.items():
        newest = [scores[-1] for image in group if (scores := (person_scores or {}).get(image.inspect_id))]
        cards.append(
            DropCard(well, tuple(sorted(group, key=rank)), max(newest, key=lambda score: score.at, default=None))
        )
    return cards


def by_inspection(images: Iterable[DropImage]) -> dict[int, list[DropImage]]:
    """Group images by the number of their inspection, in the order of the images."""
    groups: dict[int, list[DropImage]] = {}
    for image in images:
        groups.setdefault(image.inspection, []).append(image)
    return groups


def select_drops(drops: Sequence[DropCard], view: PlateView) -> list[DropCard]:
    """Return the drops that a view includes, in its order: by the plate's rows, or the likeliest crystals first."""
    included = [drop for drop in drops if view.includes(drop.kind_in(view.show))]
    if view.order == "best":
        return sorted(included, key=lambda drop: (drop.p_crystal is None, -(drop.p_crystal or 0.0), drop.well))
    return sorted(included, key=lambda drop: drop.well)


@dataclass(frozen=True, slots=True)
class ReviewStop:
    """Where a review may end.

    Calibrated probabilities add up to the number of crystals there are on average.

    Attributes
    ----------
    above
        The number of drops from the top that hold `STOP_AT` of the expected crystals.
    expected
        The sum of p_crystal over the plate.
    left
        The sum of p_crystal below the line.
    """

    above: int
    expected: float
    left: float


def find_stop(drops: Iterable[DropCard]) -> ReviewStop:
    """Find where a review may end that goes from the highest p_crystal down."""
    chances = sorted((drop.p_crystal for drop in drops if drop.p_crystal is not None), reverse=True)
    expected, total = sum(chances), 0.0
    for above, chance in enumerate(chances, 1):
        total += chance
        if total >= STOP_AT * expected - 1e-9:
            return ReviewStop(above, expected, max(expected - total, 0.0))
    return ReviewStop(0, 0.0, 0.0)
