"""The drops of a plate as pages show them: which image represents a drop, the order of review, and where to stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from xtalgrid_core.frames import percent

from ...domain.drop_state import DropState, PersonScore
from ...domain.wells import Well
from ...ledger.shapes import DropImage
from ...steps.score_rules import rank
from ..query_parameters import (
    DISPUTED,
    NO_PERSON,
    PlateView,
    Show,
    heat_kind,
    kind_of,
    kind_of_state,
    letter_of,
    name_of,
)

STOP_AT = 0.95
"""Fraction of the expected crystals that lie above the line of the review strip."""


@dataclass(frozen=True, slots=True)
class DropCard:
    """One drop at one inspection, as pages show it.

    Attributes
    ----------
    images
        Its images (usually one), the one with the highest-ranking outcome first.
    state
        What it is held to be, from the ARTscore of the first image and all people's scores.
    """

    well: Well
    images: tuple[DropImage, ...]
    state: DropState

    @property
    def image(self) -> DropImage:
        """The image that represents the drop."""
        return self.images[0]

    @property
    def kind(self) -> str:
        """The kind of its ARTscore."""
        return kind_of(self.image.outcome)

    @property
    def held_kind(self) -> str:
        """The kind of what it is held to be."""
        return kind_of_state(self.state)

    @property
    def person_kinds(self) -> list[str]:
        """The kinds that people gave it, oldest first; several if they differ."""
        return [kind_of(meaning) for meaning in self.state.said]

    @property
    def person_kind(self) -> str:
        """The kind of people's scores together; `NO_PERSON` without one that the lab's map has an outcome for."""
        return self.held_kind if self.state.said else NO_PERSON

    def kind_in(self, show: Show) -> str:
        """Return the kind that its frame shows."""
        if show == "people":
            return self.person_kind
        if show == "disagreement":
            return self.state.comparison
        if show == "held":
            return self.held_kind
        return heat_kind(self.p_crystal) if show == "heat" and self.p_crystal is not None else self.kind

    def style_in(self, show: Show) -> str:
        """Return the kind that its frame is styled by: that of the ARTscore if scores are compared."""
        return self.kind if show == "disagreement" else self.kind_in(show)

    def is_dim(self, view: PlateView) -> bool:
        """Whether the plate shows it dimmed: it is filtered out, or scores are compared and do not differ."""
        if view.show == "disagreement" and not view.only:
            return self.state.comparison != "differ"
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
        return self.state.p_crystal

    @property
    def chance(self) -> float | None:
        """Its probability of a crystal, as people or, without them, the ARTscore say."""
        return self.state.chance

    @property
    def label(self) -> str:
        """One line for tooltips and for people who cannot see the picture."""
        parts = [str(self.well), f"{name_of(self.kind)} {self.probability}".strip()]
        if self.p_crystal is not None:
            parts.append(f"crystal {percent(self.p_crystal)}")
        parts += [f"{score.who}: {score.name}" for score in self.state.people]
        if self.state.disputed:
            parts.append(name_of(DISPUTED))
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
        ranked = tuple(sorted(group, key=rank))
        given = person_scores or {}
        scores = [
            score
            for inspect_id in dict.fromkeys(image.inspect_id for image in group)
            for score in given.get(inspect_id, ())
        ]
        p_crystal = max((image.p_crystal for image in group if image.is_scored), default=None)
        cards.append(DropCard(well, ranked, DropState.of(ranked[0].outcome, p_crystal, scores)))
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
        return sorted(included, key=_best_first)
    return sorted(included, key=lambda drop: drop.well)


def _best_first(drop: DropCard) -> tuple[bool, float, float, Well]:
    """Sort by what people or the ARTscore say; of the same chance, by p_crystal."""
    return drop.chance is None, -(drop.chance or 0.0), -(drop.p_crystal or 0.0), drop.well


@dataclass(frozen=True, slots=True)
class ReviewStop:
    """Where a review may end.

    Calibrated probabilities add up to the number of crystals there are on average.

    Attributes
    ----------
    above
        The number of drops from the top that hold `STOP_AT` of the expected crystals.
    expected
        The sum of the plate's chances: p_crystal, or what people said of a drop.
    left
        The same below the line.
    """

    above: int
    expected: float
    left: float


def find_stop(drops: Iterable[DropCard]) -> ReviewStop:
    """Find where a review may end that goes from the likeliest crystal down."""
    chances = sorted((drop.chance for drop in drops if drop.chance is not None), reverse=True)
    expected, total = sum(chances), 0.0
    for above, chance in enumerate(chances, 1):
        total += chance
        if total >= STOP_AT * expected - 1e-9:
            return ReviewStop(above, expected, max(expected - total, 0.0))
    return ReviewStop(0, 0.0, 0.0)
