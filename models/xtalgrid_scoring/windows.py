"""Classify every chop of a drop, by a sliding window (paper, section 3.1), perhaps of several sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xtalgrid_core.chops import CHOP, Box, cut
from xtalgrid_core.dense import Float, chop_probabilities, class_map
from xtalgrid_core.images import Pixels
from xtalgrid_core.options import Options

from .drop import WellDrop, never_stop
from .networks import BATCH, Networks


@dataclass(frozen=True, slots=True)
class Windows:
    """N chops of a drop's view, and their probabilities of the 13 classes, ``(N, 13)``; those of one size together."""

    chops: tuple[Box, ...]
    probabilities: Float


def classify(well: WellDrop, options: Options, networks: Networks, pause: Callable[[], None] = never_stop) -> Windows:
    """Classify the chops of a drop, of the sizes that the pooling is for, if the rule uses it, else of `CHOP` pixels.

    For the parameters see `classify_sizes`.
    """
    sizes = networks.pooling.chop_sizes if networks.pooling and options.is_pooled else (CHOP,)
    return classify_sizes(well, sizes, options, networks, pause)


def classify_sizes(
    well: WellDrop,
    sizes: Sequence[int],
    options: Options,
    networks: Networks,
    pause: Callable[[], None] = never_stop,
) -> Windows:
    """Classify the chops of a drop that have these sizes, one size after the other.

    Parameters
    ----------
    well
        The drop.
    sizes
        Sides in pixels of the drop's view. A chop of 512 is classified as one of 256 in a view of half the size.
    options
        Only `mode` and `step` matter; the step grows with the size. A classifier that is not dense gets the chops of
        the dense grid one by one.
    networks
        The networks named in the options.
    pause
        Called at safe points, before each chop or tile, many times a second; may block, and may raise to stop.
    """
    chops: list[Box] = []
    probabilities = []
    for size in sizes:
        of_size, view = well.chops(options.mode, options.step, size), well.view_for(size)
        in_view = [chop.scaled(CHOP / size) for chop in of_size]
        if options.mode == "dense" and networks.is_dense:
            held = 0 if view is well.view else well.view.nbytes
            cells = class_map(view, networks.class_map, pause, held=held)
            probabilities.append(chop_probabilities(cells, in_view))
        else:
            probabilities.append(_one_by_one(view, in_view, networks, pause))
        chops += of_size
    return Windows(tuple(chops), np.concatenate(probabilities))


def _one_by_one(view: Pixels, chops: Sequence[Box], networks: Networks, pause: Callable[[], None]) -> Float:
    """Return the probabilities of all chops, ``(N, 13)``, computed in batches."""
    batches = []
    for start in range(0, len(chops), BATCH):
        pause()
        batches.append(networks.probabilities(cut(view, list(chops[start : start + BATCH]))))
    return np.concatenate(batches)
