"""The losses that training minimises, for 13 classes or for the paper's five."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Outcome

FIVE = (*(str(group) for group in SCORED_GROUPS), str(Outcome.RIM))
"""The five classes of Thielmann et al. (2023), section 2.1: the four groups, and the rim as a class of its own."""

WINDOW_CELLS, WINDOW_STEP = 15, 3
"""A window of a patch, in cells of the class map: 256 px at a stride of 16, every 48 px."""


def class_names(classes: int) -> tuple[str, ...]:
    """Return the names of a network's outputs: the 13 outcomes, or the paper's five classes."""
    return FIVE if classes == len(FIVE) else tuple(str(outcome) for outcome in CLASSES)


def class_of_label(classes: int) -> npt.NDArray[np.uint8]:
    """Return the network's class for each label (rank in `CLASSES`), ``(13,)``."""
    if classes == len(CLASSES):
        return np.arange(len(CLASSES), dtype=np.uint8)
    return np.array([FIVE.index(str(o if o is Outcome.RIM else o.group)) for o in CLASSES], np.uint8)


def group_of_class(classes: int) -> npt.NDArray[np.int64]:
    """Return the index in `SCORED_GROUPS` of each of the network's classes, ``(classes,)``; the rim is clear."""
    groups = np.zeros(classes, np.int64)
    for outcome, place in zip(CLASSES, class_of_label(classes), strict=True):
        groups[place] = SCORED_GROUPS.index(outcome.group)
    return groups


@cache
def _members(classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the group of each class, and ``(4, classes)`` with 0 if a class belongs to the group and −∞ if not."""
    of = torch.from_numpy(group_of_class(classes)).to(device)
    inside = of[None, :] == torch.arange(len(SCORED_GROUPS), device=device)[:, None]
    return of, torch.zeros(inside.shape, device=device).masked_fill(~inside, -torch.inf)


def group_log_p(log_p: Tensor) -> Tensor:
    """Sum log-probabilities ``(N, classes)`` to those of the four groups, ``(N, 4)``."""
    _, mask = _members(log_p.shape[1], log_p.device)
    return torch.logsumexp(log_p[:, None, :] + mask, dim=2)


def group_losses(logits: Tensor, labels: Tensor, exact: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of the 4 groups plus, with less weight, that of the classes: ``(N,)``.

    The classes weigh less because the borders between them are a matter of taste. If a label is not `exact`, ``(N,)``
    bool, only its group is known, and only that counts.
    """
    log_p = F.log_softmax(logits, dim=1)
    of_classes = 0.4 * F.nll_loss(log_p, labels, reduction="none")
    return _of_groups(log_p, labels) + (of_classes if exact is None else of_classes * exact)


def class_losses(logits: Tensor, labels: Tensor, exact: Tensor | None = None) -> Tensor:
    """Return the plain cross-entropy, ``(N,)``; of the group if a label is not `exact`."""
    log_p = F.log_softmax(logits, dim=1)
    of_classes = F.nll_loss(log_p, labels, reduction="none")
    return of_classes if exact is None else torch.where(exact, of_classes, _of_groups(log_p, labels))


def _of_groups(log_p: Tensor, labels: Tensor) -> Tensor:
    of, _ = _members(log_p.shape[1], log_p.device)
    return F.nll_loss(group_log_p(log_p), of[labels], reduction="none")


CHOP_LOSSES = {"groups": group_losses, "cross-entropy": class_losses}


def agreement_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return how far the probabilities of logits, ``(N, classes)``, are from those of `wanted`: the mean divergence."""
    return F.kl_div(F.log_softmax(logits, dim=1), F.log_softmax(wanted, dim=1), log_target=True, reduction="batchmean")


def chop_loss(logits: Tensor, labels: Tensor, kind: str = "groups", exact: Tensor | None = None) -> Tensor:
    """Return the mean loss of chops: logits ``(N, classes)``, labels ``(N,)`` int64, `exact` as in `group_losses`."""
    return CHOP_LOSSES[kind](logits, labels, exact).mean()


def window_logits(class_map: Tensor) -> Tensor:
    """Convert class maps ``(M, classes, 27, 27)`` of 448² patches to logits of their windows, ``(M, classes, 5, 5)``.

    The logits of a window are the mean over its 15×15 cells, as in the worker's dense scoring.
    """
    return F.avg_pool2d(class_map, WINDOW_CELLS, WINDOW_STEP)


def window_loss(
    class_map: Tensor, labels: Tensor, weights: Tensor, kind: str = "groups", exact: Tensor | None = None
) -> Tensor:
    """Return the loss of the labelled windows of patches, weighted by class.

    Parameters
    ----------
    class_map
        ``(M, classes, 27, 27)``.
    labels
        ``(M, 5, 5)`` int64; negative if a window has no label.
    weights
        ``(classes,)``, with a mean of 1 over the windows of many patches (`balance.patch_draw`): without them the
        many windows that show nothing would outweigh those that show a crystal.
    exact
        ``(M,)`` bool; see `group_losses`.
    """
    logits = window_logits(class_map).permute(0, 2, 3, 1).flatten(0, 2)
    labels = labels.flatten()
    known = labels >= 0
    if not known.any():
        return class_map.sum() * 0
    of = labels[known]
    if exact is not None:
        exact = exact.repeat_interleave(len(known) // len(exact))[known]
    return (CHOP_LOSSES[kind](logits[known], of, exact) * weights[of]).mean()


def hint_loss(features: Tensor, guess: nn.Linear, hints: Tensor) -> Tensor:
    """Return how far the teacher's features are from what a linear layer makes of ours: 1 if it knows nothing.

    Parameters
    ----------
    features
        ``(M, channels, h, w)`` of patches; their mean is used.
    hints
        ``(M, teacher's features)``, of mean 0 and variance 1 over the set.
    """
    return F.mse_loss(guess(features.mean(dim=(2, 3))), hints)


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return binary cross-entropy plus soft Dice of each image (only the former for an image without a drop)."""
    bce = F.binary_cross_entropy_with_logits(logits, masks)
    p = torch.sigmoid(logits)
    both, either = (p * masks).sum(dim=(1, 2, 3)), (p + masks).sum(dim=(1, 2, 3))
    present = masks.sum(dim=(1, 2, 3)) > 0
    dice = 1 - (2 * both + 1) / (either + 1)
    return bce + (dice * present).sum() / present.sum().clamp(min=1)
