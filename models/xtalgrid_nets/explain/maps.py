"""The two maps of an explanation: probabilities over the drop, and SmoothGrad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xtalgrid_core.chops import CELLS, STRIDE, Box, cut, dense_length, dense_window, touches_mask
from xtalgrid_core.decision import SUPPORT, Decision, decide
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import MEAN_RGB, Pixels
from xtalgrid_core.outcomes import GROUP_CLASSES, SCORED_GROUPS

from ..fit.losses import group_log_p
from ..sets.crops import Crop

Float = npt.NDArray[np.float32]

NEAR = 5
"""Cells of the class map, along a side, that say what is near a point: 80 pixels, 90 µm."""


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation of one drop; all pictures lie on its `view` ``(H, W, 3)``.

    Attributes
    ----------
    groups
        ``(4, H, W)``: the probability of each of `SCORED_GROUPS` in the chop that lies around a pixel (near the crop's edge: in the
        nearest chop), as the worker computes it when it scores densely.
    near
        ``(4, H, W)``: how much the `NEAR` × `NEAR` cells around a pixel speak for each group, times the largest probability that a
        chop with the pixel in it has: sharper than `groups`, and silent where no chop agrees. Not what is scored.
    saliency
        ``(H, W)``, 0..1: see `smooth_grad`.
    chops
        All chops the decision was made of; `decision.best` are indices of them.
    """

    view: Pixels
    drop: npt.NDArray[np.bool_]
    groups: Float
    near: Float
    saliency: Float
    decision: Decision
    chops: tuple[Box, ...]


def explain(net: nn.Module, crop: Crop, samples: int = 12, seed: int = 0) -> Explained:
    """Explain what a dense network says of a drop.

    Parameters
    ----------
    net
        A network with `class_map` (`networks.Network.dense`).
    crop
        The drop (`sets.crops`).
    samples
        Noisy copies that SmoothGrad averages over.

    Raises
    ------
    ConfigError
        When the network has no class map.
    """
    if not hasattr(net, "class_map"):
        raise ConfigError(
            "this network scores chops one by one and has no map to show; give a dense one, such as squeezenet1.1"
        )
    height, width = crop.view.shape[:2]
    padded = cut(crop.view, [Box(0, 0, dense_length(height), dense_length(width))])
    image = torch.from_numpy(padded.transpose(0, 3, 1, 2).astype(np.float32)) - torch.tensor(MEAN_RGB).view(1, 3, 1, 1)
    net.eval()
    with torch.no_grad():
        class_map = net.class_map(image)  # type: ignore[operator]
    logits = F.avg_pool2d(class_map, CELLS, 1)
    chops = dense_window(height, width)
    if crop.drop.any():
        chops = [
            c for c, held in zip(chops, touches_mask(crop.drop, chops, height, width), strict=True) if held
        ] or chops
    rows, cols = ([chop[i] // STRIDE for chop in chops] for i in (0, 1))
    decision = decide(F.softmax(logits[0][:, rows, cols].T, dim=1).numpy(), chops, support=SUPPORT)
    scored, local = _of_groups(logits[0]), _of_groups(F.avg_pool2d(class_map, NEAR, 1)[0])
    groups = _spread(scored, CELLS, height, width)
    agreed = F.max_pool2d(F.pad(scored, (CELLS - 1,) * 4), CELLS, 1)  # over the chops that a cell lies in
    edge = NEAR // 2
    near = _spread(local * agreed[:, edge:-edge, edge:-edge], NEAR, height, width)
    outcome = decision.chop_outcomes[0][0] if decision.best else None
    group = SCORED_GROUPS.index(outcome.group) if outcome is not None else 0
    places = [(rows[i], cols[i]) for i in decision.best] or [(rows[0], cols[0])]
    saliency = smooth_grad(net, image, group, places, samples, seed)[:height, :width]
    return Explained(crop.view, crop.drop, groups, near, saliency, decision, tuple(chops))


def smooth_grad(
    net: nn.Module,
    image: Tensor,
    group: int,
    places: list[tuple[int, int]],
    samples: int,
    seed: int = 0,
    noise: float = 0.1,
) -> Float:
    """What the answer hangs on: gradients of a group's log-probability in some chops, averaged over noisy copies of the image.

    Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise" (arXiv 1706.03825), as used by Bruno et al. 2018, Fig. 4. "Saliency
    methods are imperfect and do not in general weigh faithfully all the evidence" (ibid.).

    Parameters
    ----------
    image
        ``(1, 3, H, W)``, the network's input.
    group
        Index in `SCORED_GROUPS`.
    places
        First cells (row, column) of the chops.
    noise
        Standard deviation of the noise as a part of the image's range (the paper's 10-20 %).

    Returns
    -------
    ``(H, W)``, 0..1: the largest gradient of the three channels, its 99.5th percentile at 1.
    """
    random = torch.Generator().manual_seed(seed)
    spread = noise * float(image.max() - image.min())
    total = torch.zeros(image.shape[2:])
    for _ in range(max(samples, 1)):
        noisy = (image + spread * torch.randn(image.shape, generator=random)).requires_grad_()
        logits = _window_logits(net, noisy)[0]
        chosen = torch.stack([logits[:, row, col] for row, col in places])
        group_log_p(F.log_softmax(chosen, dim=1))[:, group].sum().backward()
        assert noisy.grad is not None
        total += noisy.grad[0].abs().amax(dim=0)
    top = torch.quantile(total.flatten()[:: max(1, total.numel() // 1_000_000)], 0.995).clamp(min=1e-12)
    found: Float = (total / top).clamp(0, 1).numpy()
    return found


def _window_logits(net: nn.Module, image: Tensor) -> Tensor:
    """Logits ``(N, 13, h − 14, w − 14)`` of the chop at every cell: means over 15×15 cells."""
    found: Tensor = F.avg_pool2d(net.class_map(image), CELLS, 1)  # type: ignore[operator]
    return found


def _of_groups(logits: Tensor) -> Tensor:
    """Probabilities of the four groups, ``(4, r, c)``, from logits ``(13, r, c)``."""
    probabilities = F.softmax(logits, dim=0)
    return torch.stack([probabilities[list(GROUP_CLASSES[group])].sum(dim=0) for group in SCORED_GROUPS])


def _spread(groups: Tensor, cells: int, height: int, width: int) -> Float:
    """What ``(4, r, c)`` squares of so many cells say, on the pixels they lie around: ``(4, height, width)``."""
    rows, cols = groups.shape[1:]
    size = ((rows - 1) * STRIDE + 1, (cols - 1) * STRIDE + 1)
    inner = F.interpolate(groups[None], size=size, mode="bilinear", align_corners=True)
    spread = F.pad(inner, (STRIDE * (cells + 1) // 2,) * 4, mode="replicate")[0]
    found: Float = spread[:, :height, :width].clamp(0, 1).numpy()
    return found
