"""Decide which crystals a person can see: compare the drop with the same drop without its crystals.

A crystal is seen if it changes the picture, in grey levels, by more than what lies around it varies. One without
contrast, in the dark, on the wall, outside the picture or under a strong skin changes too little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xtalgrid_core.outcomes import PRIORITY, Group, Outcome

from .field import Field
from .scene import UNSURE, Scene, WellObject

LEVELS = 12
"""Grey levels of 255 by which the strongest tenth of a crystal's pixels must differ from the drop without it."""

SHORTEST = 4
"""Pixels that the longer side of a crystal's box must have."""

SHOWER = 20
"""Crystals of a shower that must be seen; of other crystals one."""

_LAST = 1 + max(rank for outcome, rank in PRIORITY.items() if outcome.group is Group.CRYSTAL)
"""Crystals have the values 1 to this one in the content map."""


def forget_unseen(scene: Scene, ground: Field, bare: Field) -> None:
    """Strike the crystals that can't be seen off the scene's objects, and mark their pixels as `UNSURE`.

    Parameters
    ----------
    scene
        Finished: its light is what the drop does to the ground.
    ground
        ``(H, W)`` grey values of the empty well.
    bare
        ``(H, W)``: the light of the same drop without its crystals.
    """
    without = np.clip(ground * bare, 0, 255)
    change = np.abs(np.clip(ground * scene.light, 0, 255) - without)
    crystal = (scene.content > 0) & (scene.content <= _LAST)
    hidden = np.zeros_like(crystal)
    shown = np.zeros_like(crystal)
    kept: list[WellObject] = []
    for item in scene.objects:
        is_crystal = item.outcome.group is Group.CRYSTAL
        box = item.box
        part = np.s_[box.row : box.row + box.height, box.col : box.col + box.width]
        if is_crystal and not _seen(change[part], without, crystal[part], item):
            hidden[part] = True
            continue
        kept.append(item)
        if is_crystal:
            shown[part] = True
    scene.objects = kept
    scene.content[hidden & ~shown & crystal] = UNSURE


def shows(objects: Sequence[WellObject], outcome: Outcome) -> bool:
    """Return whether enough crystals can be seen for a well to be scored as this outcome, one of the crystals'."""
    count = sum(item.outcome is outcome for item in objects)
    return count >= (SHOWER if outcome is Outcome.OVERNUCLEATED else 1)


def _seen(change: Field, without: Field, crystal: Field, item: WellObject) -> bool:
    box = item.box
    if max(box.height, box.width) < SHORTEST or not crystal.any():
        return False
    margin = max(box.height, box.width) // 2
    top, left = max(box.row - margin, 0), max(box.col - margin, 0)
    around = without[top : box.row + box.height + margin, left : box.col + box.width + margin]
    return float(np.percentile(change[crystal], 90)) >= max(LEVELS, float(around.std()))
