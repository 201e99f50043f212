"""Select the chops of a scored well that show the scored outcome: the rules of the paper, section 2.2.

A well is scored as a whole, but most chops of a well with a crystal show none. So a chop takes its well's class only
if enough contours are visible in it (`contours`); a chop of a crystal must also glow in the UV mate, if there is one.
The edge of a clear drop gets the class `rim`, because networks trained without that class took edges for crystals.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from skimage.morphology import isotropic_erosion

from xtalgrid_core.chops import Box, cut, smallest_overlap
from xtalgrid_core.outcomes import PRIORITY, Group, Outcome
from xtalgrid_core.scale import REFERENCE_UM

from .contours import contour_map, counts, lengths
from .crops import Bool, Crop

Uv = Literal["required", "confirm", "ignore"]

EDGE_UM = 45.0
"""Width of the dark edge inside a drop's outline; contours there say nothing about the content of the drop."""

WHOLLY_INSIDE = 0.985
"""A chop with a smaller fraction of drop shows the drop's edge; the same value as for rendered chops."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds on contour length, in units of a chop's side, and the use of UV mates.

    Attributes
    ----------
    contour
        From this length on, a chop of a crystal, precipitate or other well, or of a clear one with features, shows it.
    rim
        From this length on, a chop at the edge of a clear drop is a `rim`.
    uv
        ``required``: the chop of a crystal needs a mate that glows, as published; ``confirm``: it must glow if there
        is a mate; ``ignore``: the mate is not used.
    edge_counts
        Whether contours of the drop's edge count for every class, as published. By default they count for `rim` only.
    most
        Largest number of chops from one well, evenly chosen; 0 for all.
    """

    contour: float = 1.0
    rim: float = 0.5
    uv: Uv = "confirm"
    edge_counts: bool = False
    most: int = 0


@dataclass(frozen=True, slots=True)
class Chopped:
    """Chops ``(n, 256, 256, 3)``, their labels ``(n,)``, and the number left out for each reason."""

    chops: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    left_out: Counter[str]


def chop_well(crop: Crop, outcome: Outcome, rules: Rules, glow: Bool | None = None) -> Chopped:
    """Cut a crop with the smallest overlap and keep the chops that show its outcome.

    Parameters
    ----------
    outcome
        The well's outcome, as scored.
    glow
        Where the UV mate glows, ``(H, W)`` like the crop's view; None without a mate.
    """
    boxes = smallest_overlap(*crop.view.shape[:2])
    labels, left_out = label_chops(crop, boxes, outcome, rules, glow, contour_map(crop.view))
    chosen = np.flatnonzero(labels >= 0)
    if rules.most and len(chosen) > rules.most:
        left_out["more chops of one well than asked for"] += len(chosen) - rules.most
        chosen = chosen[np.linspace(0, len(chosen) - 1, rules.most).round().astype(int)]
    return Chopped(cut(crop.view, [boxes[i] for i in chosen]), labels[chosen].astype(np.uint8), left_out)


def label_chops(
    crop: Crop, boxes: list[Box], outcome: Outcome, rules: Rules, glow: Bool | None, contours: Bool
) -> tuple[npt.NDArray[np.int64], Counter[str]]:
    """Return a rank for each box of a crop, −1 if it is left out, and the number left out for each reason.

    `contours`, ``(H, W)``, are those of the view (`contour_map`); the other parameters are those of `chop_well`.
    """
    inside = _inside(crop.drop)
    everything = lengths(contours, boxes)
    at_edge = _coverage(crop.drop, boxes) < WHOLLY_INSIDE
    nothing = -1
    if outcome is Outcome.CLEAR:
        labels = np.where(at_edge, np.where(everything >= rules.rim, PRIORITY[Outcome.RIM], nothing), PRIORITY[outcome])
        return labels, Counter({"edge of a clear drop without contours": int((labels < 0).sum())})
    if outcome is Outcome.RIM:
        return np.where(at_edge, PRIORITY[Outcome.RIM], nothing), Counter()
    no_drop = outcome is Outcome.NULL_EXPERIMENT
    counted = contours if rules.edge_counts or no_drop else contours & inside
    if outcome.group is Group.CRYSTAL and rules.uv != "ignore":
        if glow is None and rules.uv == "required":
            return np.full(len(boxes), nothing), Counter({"crystals without a UV mate": len(boxes)})
        seen = lengths(counted, boxes) >= rules.contour
        lit = seen if glow is None else lengths(counted & glow, boxes) >= rules.contour
        why = Counter({"contours below the threshold": int((~seen).sum()), "dark in UV": int((seen & ~lit).sum())})
        return np.where(seen & lit, PRIORITY[outcome], nothing), why
    seen = lengths(counted, boxes) >= rules.contour
    return np.where(seen, PRIORITY[outcome], nothing), Counter({"contours below the threshold": int((~seen).sum())})


def _inside(drop: Bool) -> Bool:
    """Return the drop without its edge; a drop that fills the whole picture has no edge."""
    inside: Bool = drop if drop.all() else isotropic_erosion(drop, EDGE_UM / REFERENCE_UM)
    return inside


def _coverage(drop: Bool, boxes: list[Box]) -> npt.NDArray[np.float64]:
    """Return the fraction of each chop that is drop, 0..1.

    The part of a chop beyond the image's edge is a reflection of the image and does not count.
    """
    seen = [box.clipped(*drop.shape) for box in boxes]
    return counts(drop, seen) / np.array([max(box.height * box.width, 1) for box in seen], np.float64)
