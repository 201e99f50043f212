"""The drops of a plate as pages show them: which image represents a drop, the order of review, and where to stop."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from xtalgrid_core.decision import priority
from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import Group

from ...domain.drop_state import DropState, PersonScore, outcome_of
from ...domain.novelty import new_since
from ...domain.wells import Well
from ...ledger.drop_notes import DropNote
from ...ledger.shapes import DropImage
from ...steps.score_rules import rank
from ..query_parameters import (
    DISPUTED,
    HIDDEN,
    NO_PERSON,
    PlateView,
    Show,
    heat_kind,
    kind_of,
    kind_of_state,
    letter_of,
    name_of,
)

LINES = (1, 2, 5, 10, 20, 50)
"""Chances of a crystal, in percent, between which people choose: below it, a review may stop."""

LINE = 5
"""The line of those who have not chosen one."""


@dataclass(frozen=True, slots=True)
class DropCard:
    """One drop at one inspection, as pages show it.

    Attributes
    ----------
    images
        Its images (usually one), the one with the highest-ranking outcome first.
    state
        What it is held to be, from the ARTscore of the first image and all people's scores.
    is_hidden
        Whether its ARTscore was left out, because the person wants to score the drop first.
    notes
        Notes on it and people's favourites, oldest first, whatever the inspection.
    """

    well: Well
    images: tuple[DropImage, ...]
    state: DropState
    is_hidden: bool = False
    notes: tuple[DropNote, ...] = ()

    @property
    def favourite_of(self) -> str:
        """Names of the people whose favourite it is."""
        return ", ".join(note.who for note in self.notes if note.kind == "favourite")

    @property
    def remarks(self) -> list[DropNote]:
        """The notes on it."""
        return [note for note in self.notes if note.kind == "note"]

    @property
    def image(self) -> DropImage:
        """The image that represents the drop."""
        return self.images[0]

    @property
    def kind(self) -> str:
        """The kind of its ARTscore."""
        return HIDDEN if self.is_hidden else kind_of(self.image.outcome)

    @property
    def held_kind(self) -> str:
        """The kind of what it is held to be."""
        return HIDDEN if self.is_hidden and not self.state.said else kind_of_state(self.state)

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
        if show in ("held", "ever"):
            return self.held_kind
        return heat_kind(self.p_crystal) if show == "heat" and self.p_crystal is not None else self.kind

    def style_in(self, show: Show) -> str:
        """Return the kind that its frame is styled by: that of the ARTscore if scores are compared."""
        return self.kind if show == "disagreement" else self.kind_in(show)

    def is_dim(self, view: PlateView) -> bool:
        """Whether the plate shows it dimmed: it is filtered out, or scores are compared and do not differ."""
        if view.show == "disagreement" and not view.only:
            return self.state.comparison != "differ" or not self.is_in(view)
        return not self.is_in(view)

    def is_in(self, view: PlateView) -> bool:
        """Whether a view's filters let it pass."""
        return view.includes(self.kind_in(view.show)) and bool(self.favourite_of or not view.favourites)

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
        is_crystal = self.image.outcome is not None and self.image.outcome.group is Group.CRYSTAL
        if self.p_crystal is not None and not (is_crystal and percent(self.p_crystal) == self.probability):
            parts.append(f"crystal {percent(self.p_crystal)}")
        if new := new_since(self.image.p_new, self.image.since):
            parts.append(new)
        parts += [f"{score.who}: {score.name}" for score in self.state.people]
        if self.state.disputed:
            parts.append(name_of(DISPUTED))
        if self.image.failure:
            parts.append(self.image.failure[0])
        if len(self.images) > 1:
            parts.append(f"{len(self.images)} images")
        if self.favourite_of:
            parts.append(f"favourite of {self.favourite_of}")
        parts += [f"{note.who}: {textwrap.shorten(note.text, 80, placeholder='…')}" for note in self.remarks]
        return " · ".join(parts)


def drop_cards(
    images: Iterable[DropImage],
    person_scores: Mapping[int, Sequence[PersonScore]] | None = None,
    notes: Mapping[tuple[str, Well], Sequence[DropNote]] | None = None,
) -> list[DropCard]:
    """Group the images of one inspection by drop, in the order of the images.

    Parameters
    ----------
    person_scores
        People's scores by inspect id, oldest first.
    notes
        Notes and favourites by drop, oldest first.
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
        of_drop = tuple((notes or {}).get(group[0].drop, ()))
        cards.append(DropCard(well, ranked, DropState.of(ranked[0].outcome, p_crystal, scores), notes=of_drop))
    return cards


def without_artscore(drop: DropCard) -> DropCard:
    """Return a drop with nothing that tells its ARTscore, not even by the order of its images; failures stay."""
    images = tuple(
        replace(
            image,
            score_id=None,
            outcome=None,
            probability=0.0,
            p_crystal=0.0,
            at=None,
            classifier="",
            p_new=None,
            since=None,
            uv=None,
        )
        if image.is_scored
        else image
        for image in sorted(drop.images, key=lambda image: image.image_name)
    )
    is_hidden = images != drop.images
    return DropCard(drop.well, images, replace(drop.state, artscore=None, p_crystal=None), is_hidden, drop.notes)


def best_ever(inspections: Iterable[Iterable[DropCard]]) -> list[DropCard]:
    """Return each drop at the inspection with its best score.

    That is the likeliest crystal, or else the outcome of the highest priority; of two that are equal, the newer one.
    """
    best: dict[Well, DropCard] = {}
    for card in sorted(itertools.chain(*inspections), key=lambda card: card.image.inspection, reverse=True):
        if card.well not in best or _best_score(card) < _best_score(best[card.well]):
            best[card.well] = card
    return [best[well] for well in sorted(best)]


def _best_score(drop: DropCard) -> tuple[bool, int, float]:
    waits, order = rank(drop.image)[:2]
    if drop.state.said:
        waits, order = False, min(priority(outcome_of(each)) for each in drop.state.outcomes)
    if drop.state.group is Group.CRYSTAL:
        order = -1  # of crystals, the likeliest counts, not the kind
    return waits, order, -(drop.chance or 0.0)


def by_inspection(images: Iterable[DropImage]) -> dict[int, list[DropImage]]:
    """Group images by the number of their inspection, in the order of the images."""
    groups: dict[int, list[DropImage]] = {}
    for image in images:
        groups.setdefault(image.inspection, []).append(image)
    return groups


def select_drops(drops: Sequence[DropCard], view: PlateView) -> list[DropCard]:
    """Return the drops that a view includes, in its order: by the plate's rows, or the likeliest crystals first."""
    included = [drop for drop in drops if drop.is_in(view)]
    if view.order == "best":
        return sorted(included, key=_best_first)
    return sorted(included, key=lambda drop: drop.well)


def _best_first(drop: DropCard) -> tuple[bool, float, float, Well]:
    """Sort by what people or the ARTscore say; of the same chance, by p_crystal."""
    return drop.chance is None, -(drop.chance or 0.0), -(drop.p_crystal or 0.0), drop.well


@dataclass(frozen=True, slots=True)
class ReviewStop:
    """Where a review may stop that goes from the likeliest crystal down, and how far it has come.

    Calibrated probabilities add up to the number of crystals there are on average.

    Attributes
    ----------
    line
        The chance of a crystal below which it may stop, in percent.
    above, below
        Numbers of drops whose chance reaches the line, and of those whose chance does not.
    expected, left
        The sums of the chances of all drops and of those below: p_crystal, or what people said of a drop.
    likely, scored
        Number of drops whose p_crystal reaches the line, and of those of them that a person has scored.
    unscored
        The first drop that nobody has scored; None: there is none.
    """

    line: int
    above: int
    below: int
    expected: float
    left: float
    likely: int
    scored: int
    unscored: DropCard | None

    @property
    def words(self) -> str:
        """What may be missed by stopping at the line; empty if nothing is below it."""
        if not self.below:
            return ""
        where = f"in the {self.below} drops below" if self.below > 1 else "in the drop below"
        if self.left < 0.05:
            return f"Hardly any crystal is expected {where}"
        often = f": one in every {round(self.below / self.left)} drops" if self.below > 1.5 * self.left else ""
        return f"{self.left:.1f} crystals are expected {where}{often}"


def find_stop(drops: Sequence[DropCard], line: int = LINE) -> ReviewStop:
    """Find where a review of drops in its order may stop: where the next one's chance is below `line` percent."""
    chances = [drop.chance for drop in drops if drop.chance is not None]
    below = [chance for chance in chances if chance < line / 100]
    likely = [drop for drop in drops if is_likely(drop, line)]
    return ReviewStop(
        line=line,
        above=len(chances) - len(below),
        below=len(below),
        expected=sum(chances),
        left=sum(below),
        likely=len(likely),
        scored=sum(bool(drop.state.people) for drop in likely),
        unscored=next((drop for drop in drops if not drop.state.people), None),
    )


def is_likely(drop: DropCard, line: int) -> bool:
    """Whether a drop's p_crystal reaches the line, whatever people said of it since."""
    return drop.p_crystal is not None and drop.p_crystal >= line / 100
