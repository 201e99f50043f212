"""Platt scaling of `p_crystal` on wells that were not trained on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from xtalgrid_core.decision import Calibration
from xtalgrid_core.outcomes import Group
from xtalgrid_core.weights import MANIFEST, PACKAGED, WeightsManifest, read_manifest

from .evaluate import Truth, score

Array = npt.NDArray[np.float64]


def fit(evidence: Array, crystal: npt.NDArray[np.bool_]) -> Calibration:
    """Slope and intercept by maximum likelihood on evidence 0..1, ``(N,)``.

    Targets are Platt's, a little inside 0 and 1, so that wells told apart perfectly don't make the slope infinite.
    """
    x = np.log(np.clip(evidence, 1e-6, 1 - 1e-6) / (1 - np.clip(evidence, 1e-6, 1 - 1e-6)))
    design = np.column_stack([x, np.ones_like(x)])
    hits = int(crystal.sum())
    target = np.where(crystal, (hits + 1) / (hits + 2), 1 / (len(crystal) - hits + 2))
    answer = np.array([1.0, 0.0])
    ridge = np.diag([1e-2, 1e-2])
    for _ in range(200):  # Newton, in steps that can't run away where the two kinds are told apart almost perfectly
        p = 1 / (1 + np.exp(-np.clip(design @ answer, -50, 50)))
        gradient = design.T @ (p - target) + ridge @ answer
        curvature = (design * (p * (1 - p))[:, None]).T @ design + ridge
        answer = answer - np.clip(np.linalg.solve(curvature, gradient), -0.5, 0.5)
    return Calibration(slope=round(float(answer[0]), 4), intercept=round(float(answer[1]), 4))


def calibration_error(p: Array, crystal: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: mean distance of p from the frequency in its bin, weighted by counts."""
    which = np.minimum((p * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(p[which == b].mean() - crystal[which == b].mean()) * (which == b).mean()
            for b in range(bins)
            if (which == b).any()
        )
    )


def calibrate(
    truths: Sequence[Truth], scratch: Path, folder: Path = PACKAGED, threads: int = 1
) -> tuple[Calibration, float]:
    """Fit the calibration of a folder's classifier and write it into the manifest; returns it and its error on these wells."""
    plain = scratch / "weights"
    shutil.copytree(folder, plain, dirs_exist_ok=True)
    write(plain, Calibration())
    scored = score([t.path for t in truths], scratch / "scores", weights=plain, threads=threads)
    seen = [t for t in truths if t.path in scored]
    evidence = np.array([scored[t.path].p_crystal for t in seen])
    crystal = np.array([t.group is Group.CRYSTAL for t in seen])
    found = fit(evidence, crystal)
    write(folder, found)
    return found, calibration_error(np.array([found(float(e)) for e in evidence]), crystal)


def write(folder: Path, calibration: Calibration) -> None:
    """Put a calibration into the classifier's entry of a manifest."""
    manifest = read_manifest(folder)
    models = tuple(
        msgspec.structs.replace(m, calibration=calibration) if m.role == "classifier" else m for m in manifest.models
    )
    changed: WeightsManifest = msgspec.structs.replace(manifest, models=models)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(changed), indent=2) + b"\n")
