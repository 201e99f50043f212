"""Choose how far a lab's wells may move what decides: the simplest step that is about as good as the best one.

The steps are fitted and judged within the wells at hand, by folds that share no plate (or column). Half of the wells to
remember are fitted to as well: a plate without crystals would else teach that there are none. A step that would not
pass the comparison on these folds (`xtalgrid_core.comparison`), or loses crystals of the other half, is out.
Of the others the simplest is taken whose log loss is not beaten by more than one standard error (Breiman et al. 1984).
If none is left, nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from xtalgrid_core.comparison import Figures, Source, judge
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS

from .decider import CRYSTAL, Array, Bools, Decider, Decides, Groups, Step, Wells, called, repooled, shifted

INNER_FOLDS = 5
REMEMBER = 0.25
"""How much the wells to remember count in a fit, all together, compared with the lab's."""

UNDECIDED = -1
"""In place of a group's index: a well that is undecided, or has failed."""

SURE = 2.0
"""By how many standard errors the wells gained must outnumber those lost.

One in 44 such gains is chance. With 1 in 20, one of the six or more steps is too often lucky on the same wells.
"""

_LEAST = 1e-3
"""Probabilities are clipped to this in the loss, so that no single well decides."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the inner folds say of a step: wells right, the mean log loss, and why it is out (empty: it isn't)."""

    name: str
    right: int
    loss: float
    against: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The step that was chosen, the decider it gives when fitted to all wells, and all trials, simplest first."""

    name: str
    decider: Decides
    trials: tuple[Trial, ...]


def as_it_is(start: Decider, wells: Wells) -> Decider:
    """Change nothing."""
    del wells
    return start


NONE = "none"
STEPS: tuple[tuple[str, Step], ...] = (
    (NONE, as_it_is),
    ("trust and frequencies, stiff", partial(shifted, strength=4.0)),
    ("trust and frequencies", partial(shifted, strength=1.0)),
    ("pooling, very stiff", partial(repooled, strength=100.0)),
    ("pooling, stiff", partial(repooled, strength=30.0)),
    ("pooling", partial(repooled, strength=8.0)),
    ("pooling, loose", partial(repooled, strength=2.0)),
    ("pooling, fewer crystals", partial(repooled, strength=8.0, fewer_crystals=1.0)),
)
"""From simple to free; the last is for labs where the others call too much crystals, and are therefore out."""

LAST_LAYER, LAST_BLOCK = "last layer", "last block"
"""The steps after these (`layer`), which change the network."""

LEAST = {LAST_BLOCK: 300}
"""Number of scored wells from which a step is tried."""


def choose(
    start: Decider,
    wells: Wells,
    remembered: Wells,
    steps: Sequence[tuple[str, Step]] = STEPS,
    crystal_from: float = DEFAULTS.crystal_from,
) -> Chosen:
    """Choose a step for wells, and fit it to all of them.

    Parameters
    ----------
    start
        What decides now.
    wells
        The lab's; those of weight below 1 are fitted to but not judged.
    remembered
        Wells of another source. Half of them (`halves`) are fitted to, and none of the crystals of the others may be
        lost beyond the comparison's margin.
    crystal_from
        Probability from which a well is called a crystal.
    """
    kept, guard = halves(remembered)
    sure = wells.weight >= 1
    wells = in_parts(wells, INNER_FOLDS)
    fitted = [fit(start, with_kept(wells, kept)) for _, fit in steps]
    p = [out_of_fold(start, wells, kept, fit) for _, fit in steps]
    losses = [log_loss(each, wells.groups)[sure] for each in p]
    calls = [called(each, crystal_from) for each in p]
    lab = wells[sure]
    trials = []
    for index, (name, _) in enumerate(steps):
        against = ""
        if name != NONE:
            before, after = (called(one.probabilities(guard), crystal_from) for one in (start, fitted[index]))
            verdict, reasons = judge(
                [
                    source("scored wells", "lab", lab.groups, calls[0][sure], calls[index][sure]),
                    source("wells to remember", "frozen", guard.groups, before, after),
                ]
            )
            against = "" if verdict == "better" else reasons[0]
        is_right = [(one == wells.groups)[sure] for one in (calls[0], calls[index])]
        if name != NONE and not against:
            against = may_be_chance(is_right[0], is_right[1], lab.folds)
        trials.append(Trial(name, int(is_right[1].sum()), float(losses[index].mean()), against))
    left = [index for index, trial in enumerate(trials) if not trial.against]
    best = min(left, key=lambda index: trials[index].loss)
    taken = next(index for index in left if _about_as_good(losses[index] - losses[best]))
    return Chosen(steps[taken][0], fitted[taken], tuple(trials))


def offered(steps: Sequence[tuple[str, Step]], scored: int) -> Sequence[tuple[str, Step]]:
    """Return the steps that are tried with so many scored wells."""
    return [(name, step) for name, step in steps if scored >= LEAST.get(name, 0)]


def halves(remembered: Wells) -> tuple[Wells, Wells]:
    """Divide the wells to remember into those that are fitted to, and those that guard."""
    return remembered[::2], remembered[1::2]


def with_kept(wells: Wells, kept: Wells) -> Wells:
    """Return a lab's wells and those to remember, which count for `REMEMBER` times as much all together."""
    if not len(kept):
        return wells
    weight = np.full(len(kept), REMEMBER * wells.weight.sum() / len(kept))
    both = (wells, replace(kept, weight=weight))
    return Wells(*(np.concatenate([getattr(part, name) for part in both]) for name in Wells.__slots__))


def out_of_fold(start: Decider, wells: Wells, kept: Wells, fit: Step) -> Array:
    """Return each well's probabilities, ``(N, 4)``, by a fit that saw no well of its fold."""
    p = np.empty((len(wells), len(SCORED_GROUPS)))
    for fold in np.unique(wells.folds):
        here = wells.folds == fold
        p[here] = fit(start, with_kept(wells[~here], kept)).probabilities(wells[here])
    return p


def in_parts(wells: Wells, most: int) -> Wells:
    """Return the wells with their folds gathered into at most `most`.

    Folds inside these, and those of a step's own, are some of the same parts, so that their fits are too.
    """
    return replace(wells, folds=fold_numbers(wells, most).astype(np.str_))


def fold_numbers(wells: Wells, most: int) -> Groups:
    """Gather the wells' folds into at most `most` of about the same size, ``(N,)``; plates are never divided."""
    names, sizes = np.unique(wells.folds, return_counts=True)
    full = np.zeros(min(most, len(names)), np.int64)
    number = {}
    for name, size in sorted(zip(names, sizes, strict=True), key=lambda item: -item[1]):
        number[name] = int(full.argmin())
        full[number[name]] += size
    return np.array([number[name] for name in wells.folds])


def source(name: str, kind: Literal["lab", "frozen"], groups: Groups, before: Groups, after: Groups) -> Source:
    """Return what `xtalgrid_core.comparison` compares, from indices in `SCORED_GROUPS`, ``(N,)`` each.

    `before` and `after` may be `UNDECIDED` too.
    """
    wells = {group: n for g, group in enumerate(SCORED_GROUPS) if (n := int((groups == g).sum()))}

    def figures(calls: Groups) -> Figures:
        right = {group: int(((groups == g) & (calls == g)).sum()) for g, group in enumerate(SCORED_GROUPS)}
        return Figures(
            right={group: right[group] for group in wells},
            false_crystals=int(((calls == CRYSTAL) & (groups != CRYSTAL)).sum()),
            undecided=int((calls == UNDECIDED).sum()),
        )

    return Source(name=name, kind=kind, wells=wells, current=figures(before), candidate=figures(after))


def may_be_chance(before: Bools, after: Bools, folds: npt.NDArray[np.str_]) -> str:
    """Say why wells that are right after a step, ``(N,)``, and were not before may be so by chance; empty: they aren't.

    More must be gained than lost by `SURE` standard errors (McNemar 1947, one-sided), and more than lost without the
    fold that gains most, too: what one plate gains need not hold on the next.
    """
    gained, lost = after & ~before, before & ~after
    many, few = int(gained.sum()), int(lost.sum())
    if many - few < SURE * math.sqrt(many + few):
        return f"{many} wells gained and {few} lost may be chance"
    more = [int(gained[folds == fold].sum() - lost[folds == fold].sum()) for fold in np.unique(folds)]
    if many - few <= max(more):
        return f"all that is gained, {many - few} wells, is gained in one fold"
    return ""


def log_loss(p: Array, groups: Groups) -> Array:
    """Return each well's negative log-probability of its group, ``(N,)``, from probabilities ``(N, 4)``."""
    return np.asarray(-np.log(np.maximum(p[np.arange(len(groups)), groups], _LEAST)))


def _about_as_good(more: Array) -> bool:
    """Tell whether losses that are higher by `more`, ``(N,)``, well by well, are so by one standard error at most."""
    return bool(more.mean() <= more.std(ddof=1) / np.sqrt(len(more))) if len(more) > 1 else True
