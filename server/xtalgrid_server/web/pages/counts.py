"""How many drops of an inspection are held to be what, for the list of plates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xtalgrid_core.outcomes import Group, Outcome

from ...ledger.plates import Inspection
from ...ledger.store import Ledger
from .drops import by_inspection, drop_cards


@dataclass(frozen=True, slots=True)
class PlateCounts:
    """Images of an inspection.

    `crystals` and `undecided` count what drops are held to be, by people where they scored; a drop that people disagree
    about is undecided. `failed` and `waiting` count files without a score, whatever people said.
    """

    images: int
    crystals: int
    undecided: int
    failed: int
    waiting: int


def plate_counts(
    ledger: Ledger, inspections: Sequence[Inspection], programs: Sequence[str]
) -> dict[Inspection, PlateCounts]:
    """Count the images of these inspections.

    Parameters
    ----------
    programs
        SCOREDBY names of programs, whose scores are not people's.
    """
    counts = {}
    changes = _people_changed(ledger, inspections, programs)
    for inspection, automatic in ledger.plates.counts(inspections).items():
        groups = Counter[Group]()
        for outcome, number in automatic.outcomes.items():
            if outcome is not Outcome.FAILED:
                groups[outcome.group] += number
        groups.update(changes.get(inspection, {}))
        failed = automatic.outcomes.get(Outcome.FAILED, 0)
        counts[inspection] = PlateCounts(
            automatic.images, groups[Group.CRYSTAL], groups[Group.UNKNOWN], failed, automatic.waiting
        )
    return counts


def _people_changed(
    ledger: Ledger, inspections: Sequence[Inspection], programs: Sequence[str]
) -> dict[Inspection, Counter[Group]]:
    """Return how many more or fewer images are in each group, because people scored them."""
    scored = ledger.images.with_people(inspections, programs)
    person_scores = ledger.person_scores.of(scored)
    changes: dict[Inspection, Counter[Group]] = {}
    for barcode in {image.barcode for image in scored}:
        for number, images in by_inspection(image for image in scored if image.barcode == barcode).items():
            change = changes.setdefault((barcode, number), Counter())
            for card in drop_cards(images, person_scores):
                if not card.state.said:
                    continue
                for image in card.images:
                    if image.is_scored and image.outcome is not None:
                        change[image.outcome.group] -= 1
                change[card.state.group or Group.UNKNOWN] += len(card.images)
    return changes
