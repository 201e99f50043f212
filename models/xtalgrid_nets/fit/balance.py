"""Balance the classes in a training batch: most chops of most wells show nothing, and the rarest class matters most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from xtalgrid_core.outcomes import SCORED_GROUPS, Group

from .losses import group_of_class

Balance = Literal["groups", "merck", "none"]

GROUP_SHARES = {Group.CRYSTAL: 0.27, Group.PRECIPITATE: 0.21, Group.OTHER: 0.14, Group.CLEAR: 0.38}
"""Shares of the groups with ``groups``: clear (with rim) has the most, since most chops of most wells are clear."""

WEIGHT_LIMITS = (0.25, 4.0)
"""Limits on a window's weight: a class seen in one patch must not dominate a batch."""


def class_shares(counts: npt.NDArray[np.floating], balance: Balance) -> npt.NDArray[np.float64]:
    """Return the share of each class in a batch, ``(classes,)``, sum 1; a class without examples gets none.

    ``groups``
        The groups have fixed shares (`GROUP_SHARES`); within a group a class counts by the square root of its number,
        so that rarer ones are seen somewhat more often.
    ``merck``
        All classes equally often: Merck's "number of generated images was inversely proportional to the size of the
        image group so that the resulting dataset was balanced" (section 2.2), with each draw augmented anew.
    ``none``
        As often as they occur.
    """
    counts = np.asarray(counts, np.float64)
    if balance == "none":
        shares = counts
    elif balance == "merck":
        shares = (counts > 0).astype(np.float64)
    else:
        roots, of = np.sqrt(counts), group_of_class(len(counts))
        inside = np.bincount(of, weights=roots, minlength=len(SCORED_GROUPS))[of]
        wanted = np.array([GROUP_SHARES[group] for group in SCORED_GROUPS])[of]
        shares = np.divide(wanted * roots, inside, out=np.zeros_like(roots), where=inside > 0)
    normalised: npt.NDArray[np.float64] = shares / shares.sum()
    return normalised


def draw_weights(labels: npt.NDArray[np.integer], classes: int, balance: Balance) -> npt.NDArray[np.float64]:
    """Return the probability of drawing each chop, ``(N,)``, sum 1, that gives the classes their shares.

    `labels` are the network's classes.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    shares = class_shares(counts, balance)
    weight = np.divide(shares, counts, out=np.zeros(classes), where=counts > 0)[labels]
    normalised: npt.NDArray[np.float64] = weight / weight.sum()
    return normalised


def emphasised(
    draw: npt.NDArray[np.float64], weight: npt.NDArray[np.floating | np.bool_], share: float
) -> npt.NDArray[np.float64]:
    """Draw a `share` of the rows by `draw` times `weight`, the rest by `draw`; all ``(N,)``, `draw` of sum 1."""
    chosen = draw * weight
    if not share or not chosen.any():
        return draw
    found: npt.NDArray[np.float64] = (1 - share) * draw + share * chosen / chosen.sum()
    return found


def patch_draw(
    labels: npt.NDArray[np.integer],
    classes: int,
    balance: Balance,
    emphasis: Sequence[tuple[npt.NDArray[np.floating | np.bool_], float]] = (),
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Compute how often to draw each patch, and how much its windows count.

    Parameters
    ----------
    labels
        ``(M, 5, 5)``: the network's classes, negative if a window has none.
    emphasis
        Weights ``(M,)`` and shares for `emphasised`, applied one after the other.

    Returns
    -------
    draw
        ``(M,)``, sum 1: probability of each patch, by the class of highest priority in it; 0 if nothing is labelled.
    weights
        ``(classes,)``: weight of a window in the loss, with a mean of 1 over the windows of patches drawn in this
        way. The weights balance, within `WEIGHT_LIMITS`, what drawing can't: most windows of a patch with a crystal
        don't show it.
    """
    flat = labels.reshape(len(labels), -1).astype(np.int64)
    usable = (flat >= 0).any(axis=1)
    leading = np.where(flat >= 0, flat, classes).min(axis=1)
    draw = np.zeros(len(labels))
    draw[usable] = draw_weights(leading[usable], classes, balance)
    for weight, share in emphasis:
        draw = emphasised(draw, weight, share)
    windows = np.stack([(flat == c).sum(axis=1) for c in range(classes)], axis=1)
    seen = draw @ windows / (draw @ windows.sum(axis=1))
    if balance == "none":
        return draw, np.ones(classes, np.float32)
    # Shares as the labels would give them, with `seen` in place of the counts.
    wanted = class_shares(windows[usable].sum(axis=0), balance)
    weights = np.clip(np.divide(wanted, seen, out=np.ones(classes), where=seen > 0), *WEIGHT_LIMITS)
    return draw, (weights / (seen @ weights)).astype(np.float32)
