"""Calibrate a classifier for whole wells: the pooling, which groups are possible, and Platt scaling for other rules.

All are fitted to wells of plates that are used neither for training nor for judging. The plates must have their
natural mix of outcomes, because p_crystal is the fraction of such wells that are crystals in that mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from xtalgrid_core.chops import CHOP, Box
from xtalgrid_core.decision import Calibration, chops_needed, group_evidence, mean_coverage, pooled_group
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.pooling import ChopSize, Pooling, features, group_sums, rounded, without_drop
from xtalgrid_core.possible import PossibleGroups
from xtalgrid_core.weights import (
    MANIFEST,
    PACKAGED,
    Variant,
    default_models,
    find_model,
    manifest_of,
    named_by_decision,
    no_pooling,
    read_manifest,
)

from .metrics import Share, reliability, share_of
from .possible import fit_possible
from .truth import Truth
from .windows import WindowSet, collect, joined

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Groups = npt.NDArray[np.int64]
Plates = npt.NDArray[np.str_]

CUTOFFS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Values of p_crystal from which `work.crystal_from` can be chosen."""

_CRYSTAL = SCORED_GROUPS.index(Group.CRYSTAL)
_WEAK = 100.0  # sklearn's C: keeps the slope finite if crystals and others separate perfectly
_STRONG = 0.1  # the pooling has 88 parameters, and plates have only some hundred wells of a group


class Cutoff(msgspec.Struct, frozen=True):
    """Result of the rule ``pooled`` at one cutoff of p_crystal; each plate by a fit to the others."""

    crystal_from: float
    crystals_found: Share
    others_opened: Share
    weighted_mean: Share


class Fitted(msgspec.Struct, frozen=True):
    """What was fitted, to how many wells, and its figures by fits that leave out the plate judged (if several)."""

    calibration: Calibration
    pooling: Pooling
    possible: PossibleGroups | None
    """By fits that leave out the plate, so that it holds for plates that were not fitted to; None: just one plate."""
    wells: int
    crystals: int
    calibration_ece: float | None
    pooling_ece: float | None
    cutoffs: list[Cutoff]


def fit(evidence: Array, crystal: Bools) -> Calibration:
    """Fit slope and intercept by maximum likelihood on evidence 0..1, ``(N,)``.

    The targets are Platt's (1999), a little inside 0 and 1.

    Raises
    ------
    ConfigError
        If all wells are crystals, or none is, or if more evidence does not mean more crystals.
    """
    hits = int(crystal.sum())
    if not 0 < hits < len(crystal):
        raise ConfigError(
            f"{hits} of {len(crystal)} wells are crystals; a calibration needs both crystals and other wells"
        )
    target = np.where(crystal, (hits + 1) / (hits + 2), 1 / (len(crystal) - hits + 2))
    logit = _logit(evidence)[:, None]
    model = LogisticRegression(
        C=_WEAK, max_iter=1000
    ).fit(  # each well counts twice: as a crystal with the weight of its target, and as none
        np.vstack([logit, logit]), np.repeat([1, 0], len(crystal)), np.concatenate([target, 1 - target])
    )
    slope, intercept = round(float(model.coef_[0, 0]), 4), round(float(model.intercept_[0]), 4)
    if slope <= 0:
        raise ConfigError(
            f"the slope is {slope}: more evidence does not mean more crystals in these wells; nothing was calibrated"
        )
    return Calibration(slope=slope, intercept=intercept)


def fit_pooling(drops: Array, groups: Groups, chop_sizes: tuple[ChopSize, ...] = (CHOP,)) -> Pooling:
    """Fit the pooling to drops' `features`, ``(N, FEATURES)``, and their groups' indices in `SCORED_GROUPS`, ``(N,)``.

    `chop_sizes` are those of the chops that the features are of.

    Raises
    ------
    ConfigError
        If a group has no drop.
    """
    missing = [group.value for index, group in enumerate(SCORED_GROUPS) if index not in groups]
    if missing:
        raise ConfigError(f"none of {len(drops)} drops is {' or '.join(missing)}; a pooling needs drops of every group")
    mean, deviation = drops.mean(axis=0), drops.std(axis=0) + 1e-6
    model = LogisticRegression(C=_STRONG, max_iter=5000).fit((drops - mean) / deviation, groups)
    weights = model.coef_ / deviation
    intercepts = model.intercept_ - weights @ mean
    return rounded(weights, intercepts, chop_sizes)


def calibrate(
    truths: Sequence[Truth],
    keep: Path,
    weights: Path,
    variant: Variant | None = None,
    support: float = DEFAULTS.support,
    jobs: int = 1,
    keep_pooling: bool = False,
    chop_sizes: tuple[ChopSize, ...] | None = None,
) -> Fitted:
    """Calibrate a folder's classifier (one variant of it), and write the result to the manifest.

    The classifier gets another name, as it gives other scores now (`named_by_decision`).

    Parameters
    ----------
    truths
        Wells of plates with their natural mix of outcomes; uncertain judgements are left out.
    keep
        Folder in which the windows are stored for later runs.
    weights
        Folder of weights; `variant` (fp32, int8) selects one of its default weights, None the default itself.
    support
        Support of the rule ``group``, which the calibration is for.
    jobs
        Number of images processed in parallel.
    keep_pooling
        Only fit which groups are possible, by the pooling that is there, which must not have been fitted to these
        wells.
    chop_sizes
        Sizes of the chops that the pooling is for; None: those of the pooling that is there, if there is one.

    Raises
    ------
    ConfigError
        If other `chop_sizes` are given than those of a pooling that is kept, or if the weights are those of the
        package, or were promoted: scores and volunteers' computers name them.
    """
    entry, _ = find_model(default_models(weights, variant)[1], "classifier", [weights])
    if weights.resolve() == PACKAGED.resolve() or entry.file == f"{entry.sha256}.onnx":
        raise ConfigError(
            f"{weights}: scores name classifier {entry.sha256[:12]}… as it is; copy or export the weights into a "
            "folder of their own, and calibrate them there"
        )
    old_sizes = entry.pooling.chop_sizes if entry.pooling else (CHOP,)
    sizes = chop_sizes or old_sizes
    if keep_pooling and sizes != old_sizes:
        raise ConfigError(
            f"the pooling there is for chops of {list(old_sizes)} pixels; leave out --chop-size, or fit a new pooling"
        )
    wells = joined(collect(truths, keep, weights, variant, jobs, chop_sizes=sizes))
    evidence, drops = _described(wells, support)
    crystal = wells.groups == _CRYSTAL
    if keep_pooling:
        if entry.pooling is None:
            raise ConfigError(no_pooling(entry))
        calibration, pooling = entry.calibration, entry.pooling
        pooled: Array | None = _pooled(drops, wells.has_drop, pooling)
    else:
        calibration = fit(evidence, crystal)
        pooling = fit_pooling(drops[wells.has_drop], wells.groups[wells.has_drop], sizes)
        pooled = _pooled_by_other_plates(drops, wells)
    possible = None
    if pooled is not None:
        possible = fit_possible(pooled[wells.has_drop], wells.groups[wells.has_drop])
    write(weights, calibration, pooling, possible, entry.sha256)
    platt = _by_other_plates(evidence, crystal, wells.plates)
    return Fitted(
        calibration,
        pooling,
        possible,
        len(crystal),
        int(crystal.sum()),
        _error(platt, crystal),
        _error(pooled[wells.has_drop, _CRYSTAL], crystal[wells.has_drop]) if pooled is not None else None,
        [_cutoff(pooled, wells, cutoff) for cutoff in CUTOFFS] if pooled is not None else [],
    )


def apply(calibration: Calibration, evidence: Array) -> Array:
    """Return `p_crystal` for evidence, ``(N,)``."""
    return np.array([calibration(float(value)) for value in evidence])


def write(
    folder: Path, calibration: Calibration, pooling: Pooling, possible: PossibleGroups | None, classifier: str
) -> None:
    """Write all three into a folder's manifest, for the classifier with this SHA-256 (fp32 and int8 have their own).

    Raises
    ------
    ConfigError
        If the manifest does not list it.
    """
    manifest = read_manifest(folder)
    old = next((model for model in manifest.models if model.sha256 == classifier), None)
    if old is None:
        raise ConfigError(
            f"{folder / MANIFEST}: does not list classifier {classifier[:12]}…, which was to be calibrated"
        )
    fitted = msgspec.structs.replace(old, calibration=calibration, pooling=pooling, possible=possible)
    new, data = named_by_decision(fitted, (folder / old.file).read_bytes())
    origins = {classifier: new.sha256}
    models = tuple(
        new if model is old else msgspec.structs.replace(model, origin=origins.get(model.origin, model.origin))
        for model in manifest.models
    )
    default = {role: origins.get(sha256, sha256) for role, sha256 in manifest.default.items()}
    changed = manifest_of(default, models)
    write_atomically(folder / new.file, data)
    write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(changed), indent=2) + b"\n")


def pooled_by_other_plates(wells: WindowSet) -> Array | None:
    """Return the group probabilities of each plate's wells, ``(W, 4)``, by a pooling fitted to all the others.

    None if such fits are impossible.
    """
    return _pooled_by_other_plates(_described(wells, DEFAULTS.support)[1], wells)


def _described(wells: WindowSet, support: float) -> tuple[Array, Array]:
    """Return the evidence for crystals of each well, ``(W,)``, and its features, ``(W, FEATURES)``.

    The evidence is of the rule ``group``, which knows only chops of `CHOP` pixels, the first ones. Without a drop, it
    is 0 and the features are NaN.
    """
    evidence, drops = [], []
    for probabilities, corners in wells:
        boxes = [Box(*map(int, corner)) for corner in corners]
        values = probabilities.astype(np.float64)
        own = sum(box.height == CHOP for box in boxes)
        needed = chops_needed(boxes[:own], support) if own else ()
        evidence.append(group_evidence(group_sums(values[:own]), needed)[_CRYSTAL] if own else 0.0)
        drops.append(features(values, mean_coverage(boxes)) if boxes else None)
    nothing = np.full(next(len(drop) for drop in drops if drop is not None), np.nan)
    return np.array(evidence), np.stack([nothing if drop is None else drop for drop in drops])


def _by_other_plates(evidence: Array, crystal: Bools, plates: Plates) -> Array | None:
    """Return `p_crystal` of each plate by a fit to all the others.

    None if that is impossible (one plate, or all crystals on one).
    """
    p = np.empty_like(evidence)
    for plate in _plates(plates):
        try:
            p[plate] = apply(fit(evidence[~plate], crystal[~plate]), evidence[plate])
        except ConfigError:
            return None
    return p


def _pooled_by_other_plates(drops: Array, wells: WindowSet) -> Array | None:
    """Return the group probabilities of each plate's wells, ``(W, 4)``, by a fit to all the others.

    A well without a drop is `other` with certainty. None if such fits are impossible.
    """
    p = np.empty((len(drops), len(SCORED_GROUPS)))
    for plate in _plates(wells.plates):
        try:
            pooling = fit_pooling(drops[~plate & wells.has_drop], wells.groups[~plate & wells.has_drop])
        except ConfigError:
            return None
        p[plate] = _pooled(drops[plate], wells.has_drop[plate], pooling)
    return p


def _pooled(drops: Array, has_drop: Bools, pooling: Pooling) -> Array:
    """Return the group probabilities of W wells, ``(W, 4)``."""
    p = without_drop(len(drops))
    for well in np.flatnonzero(has_drop):
        p[well] = pooling.of(drops[well])
    return p


def _cutoff(p: Array, wells: WindowSet, crystal_from: float) -> Cutoff:
    called = pooled_group(p, crystal_from)
    crystal = wells.groups == _CRYSTAL
    return Cutoff(
        crystal_from,
        share_of(called[crystal] == _CRYSTAL),
        share_of(called[~crystal] == _CRYSTAL),
        share_of(called == wells.groups),
    )


def _plates(plates: Plates) -> list[Bools]:
    return [plates == name for name in sorted(set(plates.tolist()))]


def _error(p: Array | None, crystal: Bools) -> float | None:
    result = reliability(p, crystal) if p is not None else None
    return result.ece if result else None


def _logit(evidence: Array) -> Array:
    x = np.clip(evidence, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(x / (1 - x)))
