"""Test the labelling rules of the paper's section 2.2 on rendered wells, where the content of each chop is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xtalgrid_core.chops import Box, smallest_overlap
from xtalgrid_core.outcomes import CLASSES, Group, Outcome
from xtalgrid_core.scale import PixelSize
from xtalgrid_synth import Nature, RenderedWell, render_uv, render_well

from ..data import chop_label
from .contours import contour_map
from .crops import Bool, Crop, crop_to_drop
from .published import Rules, label_chops
from .uv import glow_map

UM, WIDTH, HEIGHT = 2.262, 1280, 960
JUDGED = tuple(o for o in CLASSES if o not in (Outcome.RIM, Outcome.NULL_EXPERIMENT))


class Tally(NamedTuple):
    """Counts of unambiguous chops: right, wrong, and left out although they show the well's outcome."""

    right: int
    wrong: int
    missed: int


def ways(contour: float) -> dict[str, Rules]:
    """Return the rules to compare, by name."""
    return {
        "edges count, as published": Rules(contour=contour, edge_counts=True, uv="ignore"),
        "inside the edge": Rules(contour=contour, uv="ignore"),
        "inside the edge, UV mate": Rules(contour=contour),
    }


def judge_rules(
    wells: int, seed: int, contour: float, on_well: Callable[[], None] = lambda: None
) -> dict[str, dict[str, Tally]]:
    """Tally the rules on rendered wells of all outcomes in turn: rules → group (``rim`` by itself) → tally.

    Crystals are protein and have UV mates. The group of a chop is compared, not its class; ambiguous chops don't count.
    """
    tallies: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in ways(contour)}
    for number in range(wells):
        outcome = JUDGED[number % len(JUDGED)]
        well = render_well(outcome, seed=seed + number, width=WIDTH, height=HEIGHT, pixel_size_um=UM)
        crop = crop_to_drop(well.image, well.drop_mask.astype(np.float32), PixelSize(UM, "rendered"))
        on_well()
        if crop is None:
            continue
        boxes = smallest_overlap(*crop.view.shape[:2])
        truths = [_truth(well, crop, box) for box in boxes]
        glow = _glow(well, crop, seed + number) if outcome.group is Group.CRYSTAL else None
        contours = contour_map(crop.view)
        for name, rules in ways(contour).items():
            labels, _ = label_chops(crop, boxes, outcome, rules, glow, contours)
            for rank, truth in zip(labels, truths, strict=True):
                if truth is not None:
                    _count(tallies[name], outcome, int(rank), truth)
    return {
        name: {group: Tally(c["right"], c["wrong"], c["missed"]) for group, c in groups.items()}
        for name, groups in tallies.items()
    }


def _count(tally: dict[str, Counter[str]], outcome: Outcome, rank: int, truth: Outcome) -> None:
    if rank >= 0:
        tally[_kind(CLASSES[rank])]["right" if _kind(CLASSES[rank]) == _kind(truth) else "wrong"] += 1
    elif _kind(truth) == _kind(outcome) or (outcome is Outcome.CLEAR and truth is Outcome.RIM):
        tally[_kind(truth)]["missed"] += 1


def _kind(outcome: Outcome) -> str:
    return "rim" if outcome is Outcome.RIM else str(outcome.group)


def _truth(well: RenderedWell, crop: Crop, box: Box) -> Outcome | None:
    return chop_label(well, box.scaled(crop.box.height / crop.view.shape[0]).moved(crop.box.row, crop.box.col))


def _glow(well: RenderedWell, crop: Crop, seed: int) -> Bool:
    mate = np.repeat(render_uv(well, seed=seed, nature=Nature.PROTEIN).image[:, :, None], 3, axis=2)
    return glow_map(mate, crop.box, crop.drop.shape, (HEIGHT, WIDTH))
