"""Decide which crystals a person can see: compare the drop with the same drop without its crystals.

A crystal is seen if it changes the picture, in grey levels, by more than what lies around it varies. One without
contrast, in the dark, on the wall, outside the picture or under a strong skin changes too little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xtalgrid_core.outcomes import PRIORITY, Group, Outcome

from .field import Field, blur
from .scene import UNSURE, Scene, WellObject

LEVELS = 12
"""Grey levels of 255 by which the strongest tenth of a crystal's pixels must differ from the drop without it."""

TEXTURE = 2.0
"""The same as a multiple of the standard deviation of the texture around the crystal."""

SHORTEST = 0.008
"""Longer side of a crystal's box, as a share of the picture's; a smaller one is a speck."""

RECOGNISED = 0.028
"""The same of the largest crystal of a well, unless it is a shower: in one of twenty of MARCO's images on which people
drew boxes around single crystals the largest is smaller."""

SHOWER = 20
"""Crystals of a shower that must be seen, half of them at least half as long again as `SHORTEST`."""

_LAST = 1 + max(rank for outcome, rank in PRIORITY.items() if outcome.group is Group.CRYSTAL)
"""Crystals have the values 1 to this one in the content map."""


def forget_unseen(scene: Scene, ground: Field, bare: Field, view: int) -> None:
    """Strike the crystals that can't be seen off the scene's objects, and mark their pixels as `UNSURE`.

    Parameters
    ----------
    scene
        Finished: its light is what the drop does to the ground.
    ground
        ``(H, W)`` grey values of the empty well.
    bare
        ``(H, W)``: the light of the same drop without its crystals.
    view
        The longer side of the picture, in pixels.
    """
    without = np.clip(ground * bare, 0, 255)
    change = np.abs(np.clip(ground * scene.light, 0, 255) - without)
    without -= blur(without, 0.01 * view)  # what remains is texture; a gradient hides nothing
    crystal = (scene.content > 0) & (scene.content <= _LAST)
    hidden = np.zeros_like(crystal)
    shown = np.zeros_like(crystal)
    kept: list[WellObject] = []
    for item in scene.objects:
        is_crystal = item.outcome.group is Group.CRYSTAL
        box = item.box
        part = np.s_[box.row : box.row + box.height, box.col : box.col + box.width]
        small = max(box.height, box.width) < SHORTEST * view
        if is_crystal and (small or not _seen(change[part], without, crystal[part], item)):
            hidden[part] = True
            continue
        kept.append(item)
        if is_crystal:
            shown[part] = True
    scene.objects = kept
    scene.content[hidden & ~shown & crystal] = UNSURE


def shows(objects: Sequence[WellObject], outcome: Outcome, view: int) -> bool:
    """Return whether enough crystals can be seen for a well to be scored as this outcome, one of the crystals'."""
    sides = [max(item.box.height, item.box.width) for item in objects if item.outcome is outcome]
    if outcome is Outcome.OVERNUCLEATED:
        return len(sides) >= SHOWER and sum(side >= 1.5 * SHORTEST * view for side in sides) >= SHOWER / 2
    return max(sides, default=0) >= RECOGNISED * view


def _seen(change: Field, without: Field, crystal: Field, item: WellObject) -> bool:
    box = item.box
    if not crystal.any():
        return False
    margin = max(box.height, box.width) // 2
    top, left = max(box.row - margin, 0), max(box.col - margin, 0)
    around = without[top : box.row + box.height + margin, left : box.col + box.width + margin]
    return float(np.percentile(change[crystal], 90)) >= max(LEVELS, TEXTURE * float(around.std()))
