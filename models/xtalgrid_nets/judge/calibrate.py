"""Platt scaling of `p_crystal`, on wells of plates that are neither trained nor judged on.

The plates have to have their natural mix of outcomes: what p_crystal says is how many such wells are crystals *there*.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from xtalgrid_core import wire
from xtalgrid_core.decision import Calibration
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.outcomes import Group
from xtalgrid_core.weights import MANIFEST, PACKAGED, WeightsManifest, default_models, read_manifest

from .metrics import reliability
from .scoring import Settings, score
from .truth import Truth

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_WEAK = 100.0  # sklearn's C: the slope stays finite where crystals and others are told apart perfectly


class Fitted(msgspec.Struct, frozen=True):
    """A calibration, the wells it was fitted to, and the ECE: as fitted, and of each plate by a fit to the other plates."""

    calibration: Calibration
    wells: int
    crystals: int
    ece_fitted: float
    ece_other_plates: float | None


def fit(evidence: Array, crystal: Bools) -> Calibration:
    """Slope and intercept by maximum likelihood on evidence 0..1, ``(N,)``, towards Platt's targets (1999), a little inside 0 and 1.

    Raises
    ------
    ConfigError
        When there are only crystals or none, or more evidence does not mean more crystals.
    """
    hits = int(crystal.sum())
    if not 0 < hits < len(crystal):
        raise ConfigError(f"{hits} of {len(crystal)} wells are crystals; a calibration needs crystals and others")
    target = np.where(crystal, (hits + 1) / (hits + 2), 1 / (len(crystal) - hits + 2))
    logit = _logit(evidence)[:, None]
    model = LogisticRegression(
        C=_WEAK, max_iter=1000
    ).fit(  # each well is both: a crystal with its target's weight, and none
        np.vstack([logit, logit]), np.repeat([1, 0], len(crystal)), np.concatenate([target, 1 - target])
    )
    slope, intercept = round(float(model.coef_[0, 0]), 4), round(float(model.intercept_[0]), 4)
    if slope <= 0:
        raise ConfigError(
            f"the slope is {slope}: more evidence does not mean more crystals here; nothing was calibrated"
        )
    return Calibration(slope=slope, intercept=intercept)


def calibrate(truths: Sequence[Truth], settings: Settings, keep: Path, jobs: int = 1) -> Fitted:
    """Fit the calibration of a folder's classifier (one variant of it), and write it into the manifest.

    Parameters
    ----------
    truths
        Wells of plates in their natural mix; those not surely judged are left out.
    settings
        The rule, support and variant to calibrate, and the folder of weights.
    keep
        Folder for answers, kept from run to run.
    jobs
        Workers side by side.
    """
    folder = settings.weights or PACKAGED
    known = [truth for truth in truths if truth.sure and truth.group is not None]
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "weights"
        shutil.copytree(folder, plain)
        _, classifier = default_models(plain, settings.variant)
        write(plain, Calibration(), classifier)  # p_crystal is the evidence itself
        answers = score([truth.path for truth in known], replace(settings, weights=plain), keep, jobs)
    scored = [(truth, answer) for truth in known if isinstance(answer := answers[truth.path], wire.Scored)]
    evidence = np.array([answer.p_crystal for _, answer in scored])
    crystal = np.array([truth.group is Group.CRYSTAL for truth, _ in scored], bool)
    found = fit(evidence, crystal)
    write(folder, found, classifier)
    return Fitted(
        found,
        len(scored),
        int(crystal.sum()),
        _error(apply(found, evidence), crystal) or 0.0,
        _error(_by_other_plates(evidence, crystal, np.array([truth.plate for truth, _ in scored])), crystal),
    )


def apply(calibration: Calibration, evidence: Array) -> Array:
    """`p_crystal` of evidence, ``(N,)``."""
    return np.array([calibration(float(value)) for value in evidence])


def write(folder: Path, calibration: Calibration, classifier: str) -> None:
    """Put a calibration into a folder's manifest, for the classifier of this SHA-256 (fp32 and int8 have one each).

    Raises
    ------
    ConfigError
        When the manifest does not list it.
    """
    manifest = read_manifest(folder)
    if classifier not in {model.sha256 for model in manifest.models}:
        raise ConfigError(f"{folder / MANIFEST}: no classifier {classifier[:12]}… here to be calibrated")
    models = tuple(
        msgspec.structs.replace(model, calibration=calibration) if model.sha256 == classifier else model
        for model in manifest.models
    )
    changed: WeightsManifest = msgspec.structs.replace(manifest, models=models)
    write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(changed), indent=2) + b"\n")


def _by_other_plates(evidence: Array, crystal: Bools, plate: npt.NDArray[np.str_]) -> Array | None:
    """Each plate's `p_crystal` by a fit to all the others; None where that can't be (one plate, or all crystals on one)."""
    p = np.empty_like(evidence)
    for name in set(plate.tolist()):
        here = plate == name
        try:
            p[here] = apply(fit(evidence[~here], crystal[~here]), evidence[here])
        except ConfigError:
            return None
    return p


def _error(p: Array | None, crystal: Bools) -> float | None:
    found = reliability(p, crystal) if p is not None else None
    return found.ece if found else None


def _logit(evidence: Array) -> Array:
    x = np.clip(evidence, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(x / (1 - x)))
