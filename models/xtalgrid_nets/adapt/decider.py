"""What decides a well once its windows are classified, and how a lab's scored wells move it a little.

This is the pooling (`xtalgrid_core.pooling`) and, where there is a second opinion, its combination with the pooling
(`xtalgrid_core.combination`). Both are logistic regressions, so both are fitted alike: by maximum a posteriori near the
ones in use, which are the prior's mean. With few wells the prior keeps them where they are. No torch is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xtalgrid_core.combination import Combination, logs
from xtalgrid_core.decision import pooled_group
from xtalgrid_core.dense import softmax
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.pooling import FEATURES, Pooling, rounded, without_drop

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Groups = npt.NDArray[np.int64]

GROUPS = len(SCORED_GROUPS)
CRYSTAL = SCORED_GROUPS.index(Group.CRYSTAL)

_SCALE, _POWER, _SHIFT = 0.25, 0.25, 1.0
"""Standard deviations of the prior of `shifted`: of our power, of the second opinion's, and of the groups' shifts."""


@dataclass(frozen=True, slots=True)
class Wells:
    """N scored wells as a decider sees them.

    Attributes
    ----------
    drops
        ``(N, FEATURES)``: see `pooling.features`; NaN for a well without a drop, which is `other` with certainty.
    second
        ``(N, 4)``: what the second opinion says; NaN where there is none.
    groups
        ``(N,)``: index of the judgement in `SCORED_GROUPS`.
    weight
        ``(N,)``: how much each counts in a fit.
    folds
        ``(N,)``: wells with the same name are left out together.
    index
        ``(N,)``: number of the well, for steps that look at it once more.
    """

    drops: Array
    second: Array
    groups: Groups
    weight: Array
    folds: npt.NDArray[np.str_]
    index: Groups

    @property
    def has_drop(self) -> Bools:
        """``(N,)``: False for wells without a drop."""
        return np.isfinite(self.drops[:, 0])

    def __getitem__(self, chosen: Bools | Groups | slice) -> Wells:
        """Return some of the wells."""
        return Wells(*(getattr(self, name)[chosen] for name in Wells.__slots__))

    def __len__(self) -> int:
        return len(self.groups)


@dataclass(frozen=True, slots=True)
class Decider:
    """A pooling, and its combination with a second opinion; None without one."""

    pooling: Pooling
    combination: Combination | None = None

    def probabilities(self, wells: Wells) -> Array:
        """Return the probabilities of `SCORED_GROUPS`, ``(N, 4)``."""
        p = without_drop(len(wells))
        there = wells.has_drop
        own = softmax(_logits(self.pooling, wells.drops[there]))
        p[there] = own
        if self.combination is not None:
            p[there] = self.combination(own, wells.second[there])
        return p


def called(p: Array, crystal_from: float = DEFAULTS.crystal_from) -> Groups:
    """Return the group that wells with these probabilities, ``(N, 4)``, are called by production's rule, ``(N,)``."""
    return pooled_group(p, crystal_from).astype(np.int64)


class Decides(Protocol):
    """What gives wells their probabilities."""

    def probabilities(self, wells: Wells) -> Array:
        """Return the probabilities of `SCORED_GROUPS`, ``(N, 4)``."""


Step = Callable[[Decider, Wells], Decides]
"""Fits what decides to wells, near what decides now."""


def shifted(start: Decider, wells: Wells, strength: float = 1.0) -> Decider:
    """Fit how much each opinion is trusted, and how frequent the groups are: 5 numbers, 6 with a second opinion.

    `strength` is the prior's: 1 for the standard deviations above, 4 for half of them.
    """
    seen = wells[wells.has_drop]
    own = logs(softmax(_logits(start.pooling, seen.drops)))
    parts, deviations = [own], [_SCALE]
    offset = own
    if start.combination is not None:
        second = logs(seen.second)
        offset = start.combination.ours * own + start.combination.second * second + np.array(start.combination.shifts)
        parts, deviations = [own, second], [_SCALE, _POWER]
    design = np.concatenate([np.stack(parts, axis=2), np.tile(np.eye(GROUPS), (len(seen), 1, 1))], axis=2)
    deviation = np.array([*deviations, *[_SHIFT] * GROUPS])
    found = fit_near(offset, design, seen.groups, seen.weight, strength / deviation**2)
    moved, shifts = found[:-GROUPS], found[-GROUPS:]
    if start.combination is None:
        power = max(1 + float(moved[0]), 0.0)
        pooling = start.pooling
        weights, intercepts = power * np.array(pooling.weights), power * np.array(pooling.intercepts) + shifts
        return Decider(rounded(weights, intercepts, pooling.chop_sizes))
    old = start.combination
    combination = Combination(
        round(max(old.ours + float(moved[0]), 0.0), 4),
        round(max(old.second + float(moved[1]), 0.0), 4),
        tuple(round(a + float(b), 4) for a, b in zip(old.shifts, shifts, strict=True)),
    )
    return replace(start, combination=combination)


def repooled(
    start: Decider, wells: Wells, strength: float, scale: Array | None = None, fewer_crystals: float = 0.0
) -> Decider:
    """Fit all weights of the pooling, each near its present one.

    Parameters
    ----------
    strength
        Of the prior: the precision of a weight of a feature of standard deviation 1.
    scale
        Standard deviations of the features, ``(FEATURES,)``; default: those of these wells.
    fewer_crystals
        By how much crystals are made less likely after the fit, in the logarithm of their odds.
    """
    seen = wells[wells.has_drop]
    deviation = seen.drops.std(axis=0) + 1e-3 if scale is None else scale
    mean = seen.drops.mean(axis=0)
    own = _logits(start.pooling, seen.drops)
    power, offset = 1.0, own
    if start.combination is not None:
        power = start.combination.ours
        offset = power * own + start.combination.second * logs(seen.second) + np.array(start.combination.shifts)
    described = np.concatenate([(seen.drops - mean) / deviation, np.ones((len(seen), 1))], axis=1)
    design = power * np.einsum("nf,kg->nkgf", described, np.eye(GROUPS)).reshape(len(seen), GROUPS, -1)
    precision = np.tile([strength] * FEATURES + [min(strength, 1.0)], GROUPS)
    moved = fit_near(offset, design, seen.groups, seen.weight, precision).reshape(GROUPS, FEATURES + 1)
    weights = moved[:, :-1] / deviation
    intercepts = np.array(start.pooling.intercepts) + moved[:, -1] - weights @ mean
    intercepts[CRYSTAL] -= fewer_crystals / power if power else 0.0
    weights = np.array(start.pooling.weights) + weights
    return replace(start, pooling=rounded(weights, intercepts, start.pooling.chop_sizes))


def fit_near(offset: Array, design: Array, groups: Groups, weight: Array, precision: Array, steps: int = 50) -> Array:
    """Fit a conditional logit by maximum a posteriori, with the prior's mean at 0.

    Parameters
    ----------
    offset
        ``(N, K)``: logits of K groups where all parameters are 0.
    design
        ``(N, K, P)``: by how much each of P parameters raises them.
    groups, weight
        ``(N,)``: the true group, and how much the row counts.
    precision
        ``(P,)``: of the normal prior of each parameter, above 0.

    Returns
    -------
    The parameters, ``(P,)``, by Newton's method, which converges because the loss is strictly convex.
    """
    n, count, size = design.shape
    found = np.zeros(size)
    truth = np.eye(count)[groups]

    def loss(x: Array) -> float:
        return float(weight @ cross_entropy(offset + design @ x, groups) + (precision * x**2).sum() / 2)

    value = loss(found)
    for _ in range(steps):
        p = softmax(offset + design @ found)
        slope = np.einsum("n,nk,nkp->p", weight, p - truth, design, optimize=True) + precision * found
        each = (np.sqrt(weight)[:, None] * np.sqrt(p))[:, :, None] * design
        mean = np.sqrt(weight)[:, None] * np.einsum("nk,nkp->np", p, design, optimize=True)
        flat = each.reshape(n * count, size)
        curve = flat.T @ flat - mean.T @ mean + np.diag(precision)
        move = np.linalg.solve(curve, slope)
        length = 1.0
        while (lower := loss(found - length * move)) > value and length > 1e-6:
            length /= 2
        found = found - length * move
        if value - lower < 1e-9 * max(1.0, abs(value)):
            break
        value = lower
    return found


def cross_entropy(logits: Array, groups: Groups) -> Array:
    """Return each row's negative log-probability of its group, ``(N,)``, from logits ``(N, K)``."""
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return np.asarray(total - logits[np.arange(len(groups)), groups])


def _logits(pooling: Pooling, drops: Array) -> Array:
    return np.asarray(drops @ np.array(pooling.weights).T + np.array(pooling.intercepts))
