"""Explain a published decision: where in the drop each group was seen, and which pixels the answer depends on."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from skimage.transform import AffineTransform, warp
from torch import nn

from xtalgrid_core.chops import CELLS, STRIDE, Box, cut, dense_length
from xtalgrid_core.decision import Decision
from xtalgrid_core.dense import class_map
from xtalgrid_core.images import network_input
from xtalgrid_core.options import Options
from xtalgrid_scoring.classmap import NEAR, group_maps, group_probabilities, square_means
from xtalgrid_scoring.drop import WellDrop, never_stop
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.score import decision_of
from xtalgrid_scoring.windows import classify

from ..sets.crops import drop_in_view
from .saliency import answer_of, smooth_grad

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation of one drop; all maps have the size of its view, ``well.view``, ``(H, W, 3)``.

    Attributes
    ----------
    drop
        ``(H, W)``: True inside the drop's outline.
    decision, chops
        The published decision, and all chops it was made from; `decision.best` indexes them.
    groups
        ``(4, H, W)``: the probability of each of `SCORED_GROUPS` in the chop centred on a pixel (near the crop's
        edge: in the nearest chop), from the class map. The score is made from the same map, unless `options.mode` is
        exact.
    near
        ``(4, H, W)``: see `xtalgrid_scoring.classmap.group_maps`.
    saliency
        ``(H, W)``, 0..1: see `saliency.smooth_grad`.
    depends_on
        The probability that `saliency` explains, in words; see `saliency.Answer`.
    """

    well: WellDrop
    options: Options
    drop: npt.NDArray[np.bool_]
    decision: Decision
    chops: tuple[Box, ...]
    groups: Float
    near: Float
    saliency: Float
    depends_on: str


def explain(
    well: WellDrop, networks: Networks, net: nn.Module, options: Options, samples: int = 12, seed: int = 0
) -> Explained:
    """Explain the published decision on a drop.

    Parameters
    ----------
    networks
        The networks that decide; they must be dense.
    net
        The classifier for gradients: with a `class_map`, in evaluation mode.
    options
        The options that the drop is scored with.
    samples
        Number of noisy copies that SmoothGrad averages over; with 0, `saliency` is 0 everywhere.
    """
    height, width = well.view.shape[:2]
    windows = classify(well, options, networks)
    decision = decision_of(windows, options, networks.calibration, networks.pooling)
    cells = class_map(well.view, networks.class_map, never_stop)
    edge = NEAR // 2
    whole = network_input(cut(well.view, [Box(0, 0, dense_length(height), dense_length(width))]))
    named = decision  # always has a best chop, even if none is shown
    if not decision.best:
        one = msgspec.structs.replace(options, n_boxes=1)
        named = decision_of(windows, one, networks.calibration, networks.pooling)
    answer = answer_of(named, windows, options, networks.pooling)
    saliency = smooth_grad(net, torch.from_numpy(whole), windows.chops, answer.log_p, samples, seed)
    return Explained(
        well=well,
        options=options,
        drop=drop_in_view(well),
        decision=decision,
        chops=windows.chops,
        groups=_spread(group_probabilities(square_means(cells, CELLS)), CELLS, height, width),
        near=_spread(group_maps(cells)[:, edge:-edge, edge:-edge], NEAR, height, width),
        saliency=saliency[:height, :width],
        depends_on=answer.of,
    )


def _spread(values: Float, cells: int, height: int, width: int) -> Float:
    """Interpolate the values of overlapping squares, ``(4, r, c)``, to the pixels of the view, ``(4, height, width)``.

    A square is `cells` wide, and its value belongs to its middle.
    """
    middle = STRIDE * (cells + 1) // 2  # of the first square, in pixels
    square_at = AffineTransform(scale=1 / STRIDE, translation=(-middle / STRIDE, -middle / STRIDE))
    return np.stack([warp(of, square_at, output_shape=(height, width), mode="edge") for of in values])
