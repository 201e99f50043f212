"""MARCO's four classes, and their probabilities as other programs hold them: four numbers that sum to 1, by name.

Bruno et al. 2018, https://github.com/tensorflow/models/tree/master/research/marco.
"""

from __future__ import annotations

from xtalgrid_core.outcomes import Group

from ..domain.groups import DIGITS, four
from ..reports.entries import Entry

CLASSES = {Group.CRYSTAL: "Crystals", Group.PRECIPITATE: "Precipitate", Group.OTHER: "Other", Group.CLEAR: "Clear"}
"""MARCO's and Polo's names of the groups."""

COLUMNS = ("image", "barcode", "inspection", "well", "prediction", "Crystals", "Other", "Precipitate", "Clear")
_ORDER = (Group.CRYSTAL, Group.OTHER, Group.PRECIPITATE, Group.CLEAR)


def marco_row(entry: Entry) -> tuple[object, ...] | None:
    """Return an image's row of MARCO's table; None without four probabilities.

    `prediction` is the group that we decided, by a threshold; it need not have the largest probability.
    """
    image, answer = entry.image, entry.answer
    if answer is None or (probabilities := four(answer)) is None:
        return None
    numbers = (f"{probabilities[group]:.{DIGITS}f}" for group in _ORDER)
    place = image.image_name, image.barcode, image.inspection, image.well
    return (*place, CLASSES[answer.outcome.group], *numbers)
