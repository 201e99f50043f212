"""Classify every chop of a drop, by a sliding window (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xtalgrid_core.chops import Box, cut
from xtalgrid_core.dense import Float, chop_probabilities, class_map
from xtalgrid_core.images import Pixels
from xtalgrid_core.options import Options

from .drop import WellDrop, never_stop
from .networks import BATCH, Networks


@dataclass(frozen=True, slots=True)
class Windows:
    """N chops of a drop's view, and their probabilities of the 13 classes, ``(N, 13)``."""

    chops: tuple[Box, ...]
    probabilities: Float


def classify(well: WellDrop, options: Options, networks: Networks, pause: Callable[[], None] = never_stop) -> Windows:
    """Classify the chops of a drop.

    Parameters
    ----------
    well
        The drop.
    options
        Only `mode` and `step` matter. A classifier that is not dense gets the chops of the dense grid one by one.
    networks
        The networks named in the options.
    pause
        Called at safe points, before each chop or tile, many times a second; may block, and may raise to stop.
    """
    chops = well.chops(options.mode, options.step)
    if options.mode == "dense" and networks.is_dense:
        probabilities = chop_probabilities(class_map(well.view, networks.class_map, pause), chops)
    else:
        probabilities = _one_by_one(well.view, chops, networks, pause)
    return Windows(tuple(chops), probabilities)


def _one_by_one(view: Pixels, chops: Sequence[Box], networks: Networks, pause: Callable[[], None]) -> Float:
    """Return the probabilities of all chops, ``(N, 13)``, computed in batches."""
    batches = []
    for start in range(0, len(chops), BATCH):
        pause()
        batches.append(networks.probabilities(cut(view, list(chops[start : start + BATCH]))))
    return np.concatenate(batches)
