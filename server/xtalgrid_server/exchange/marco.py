"""MARCO's four classes, and their probabilities as other programs hold them: four numbers that sum to 1, by name.

Bruno et al. 2018, https://github.com/tensorflow/models/tree/master/research/marco.
"""

from __future__ import annotations

from collections.abc import Sequence

from xtalgrid_core import wire
from xtalgrid_core.outcomes import SCORED_GROUPS, Group

from ..reports.entries import Entry

CLASSES = {Group.CRYSTAL: "Crystals", Group.PRECIPITATE: "Precipitate", Group.OTHER: "Other", Group.CLEAR: "Clear"}
"""MARCO's and Polo's names of the groups."""

COLUMNS = ("image", "barcode", "inspection", "well", "prediction", "Crystals", "Other", "Precipitate", "Clear")
_ORDER = (Group.CRYSTAL, Group.OTHER, Group.PRECIPITATE, Group.CLEAR)
_DIGITS = 5


def four(answer: wire.Scored | None) -> dict[Group, float] | None:
    """Return the groups' probabilities of an answer, rounded so that they still sum to 1; None if it has none.

    An undecided image is given no class, so its probabilities are not given either; old workers sent none.
    """
    if answer is None or answer.groups is None or answer.outcome.group is Group.UNKNOWN:
        return None
    return dict(zip(SCORED_GROUPS, rounded(answer.groups), strict=True))


def rounded(probabilities: Sequence[float]) -> list[float]:
    """Round probabilities to five digits; what is then missing of 1 goes to the largest."""
    total = sum(probabilities)
    units = [round(p / total * 10**_DIGITS) for p in probabilities]
    units[units.index(max(units))] += 10**_DIGITS - sum(units)
    return [unit / 10**_DIGITS for unit in units]


def marco_row(entry: Entry, answer: wire.Scored | None) -> tuple[object, ...] | None:
    """Return an image's row of MARCO's table; None without four probabilities.

    `prediction` is the group that we decided, by a threshold; it need not have the largest probability.
    """
    probabilities, image = four(answer), entry.image
    if probabilities is None or answer is None:
        return None
    numbers = (f"{probabilities[group]:.{_DIGITS}f}" for group in _ORDER)
    place = image.image_name, image.barcode, image.inspection, image.well
    return (*place, CLASSES[answer.outcome.group], *numbers)
