"""The last layer as a further step: it is fitted to the lab's wells, and the pooling refitted after it.

A layer that changes leaves the pooling behind, which was fitted to the old one: every crystal gets a little lower, and
fewer are found. So the pooling is fitted anew near its present one, to what layers say that did not see the well, since
a layer is too sure of the wells it was fitted to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from xtalgrid_core.decision import mean_coverage
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.outcomes import SCORED_GROUPS
from xtalgrid_core.pooling import FEATURES, features
from xtalgrid_core.possible import PossibleGroups
from xtalgrid_core.weights import default_models, find_model

from ..data import outcome_of, sample_well
from ..export import export_classifier
from ..judge.truth import Truth
from ..sets.crops import Segmenter
from ..sets.reading import ChopSet
from ..states import from_onnx, load_trained, save_trained
from .candidate import write_candidate
from .choose import fold_numbers
from .decider import Array, Decider, Decides, Wells, repooled
from .fit import LabWell, Remembered, Settings, fit
from .windows import FeatureExtractor, Head, WindowFeatures

REMEMBER_SEED = 40_000_000
"""First seed of the wells rendered to be remembered; no test plate and no default training set uses it."""

PATCHES_PER_WELL = 4
WELLS_OF_PATCHES = 60

CROSSED = 3
"""Layers that are fitted to some of the wells each, to see what a layer says of wells that it did not see."""

STRENGTH = 8.0
"""Of the prior of the pooling that is refitted."""


@dataclass(frozen=True, slots=True)
class LayerDecider:
    """A last layer, and what decides after it."""

    head: Head
    after: Decider
    windows: Sequence[WindowFeatures]

    def probabilities(self, wells: Wells) -> Array:
        """Return the probabilities of `SCORED_GROUPS`, ``(N, 4)``, of wells whose windows are known."""
        return self.after.probabilities(seen_by(self.head, wells, self.windows))


@dataclass(frozen=True, slots=True)
class LayerStep:
    """Fits the last layer, then the pooling; see `choose.STEPS`.

    `windows` are those of all wells, by `Wells.index`; `patches` keep the layer from forgetting, as the wells to
    remember do.
    """

    head: Head
    windows: Sequence[WindowFeatures]
    patches: Remembered
    settings: Settings = field(default_factory=Settings)

    def __call__(self, start: Decider, wells: Wells) -> LayerDecider:
        """Fit near `start` to wells."""
        folds = fold_numbers(wells, CROSSED)
        drops = np.empty_like(wells.drops)
        for fold in np.unique(folds):
            here = folds == fold
            head = self._fit(wells[~here])
            drops[here] = seen_by(head, wells[here], self.windows).drops
        head = self._fit(wells)
        decider = repooled(start, replace(wells, drops=drops), STRENGTH)
        return LayerDecider(head, decider, self.windows)

    def _fit(self, wells: Wells) -> Head:
        lab = [
            LabWell(self.windows[index], SCORED_GROUPS[group], weight)
            for index, group, weight in zip(wells.index, wells.groups, wells.weight, strict=True)
        ]
        return fit(self.head, lab, self.patches, self.settings)


def seen_by(head: Head, wells: Wells, windows: Sequence[WindowFeatures]) -> Wells:
    """Return wells as they are seen through a last layer."""
    drops = np.full((len(wells), FEATURES), np.nan)
    for row, index in enumerate(wells.index):
        well = windows[index]
        if well.boxes:
            drops[row] = features(head.probabilities(well), mean_coverage(well.boxes))
    return replace(wells, drops=drops)


def prepare(
    current: Path,
    start: Path | None,
    truths: Sequence[Truth],
    remember: Sequence[Path],
    keep: Path,
    advance: Callable[[], object],
) -> tuple[LayerStep, Callable[[Path, Decides, PossibleGroups, str], None]]:
    """Run all wells through the features once; return the step, and what writes its candidate.

    Parameters
    ----------
    current
        Folder of the weights in use.
    start
        See `starting_point`.
    truths
        The wells of all `Wells.index`, in this order.
    remember
        Training sets whose patches are remembered; if empty, wells are rendered.
    keep
        Folder for the features.
    advance
        Called after each well.
    """
    net, name = starting_point(start, current)
    extractor = FeatureExtractor(net, Segmenter(current), 1, keep)
    windows = []
    for truth in truths:
        try:
            windows.append(extractor.well(truth.path, truth.pixel_size_um))
        except (ImageError, OSError) as error:
            raise ConfigError(f"{truth.path}: {error}; it could be read a moment ago: run the same again") from error
        advance()
    step = LayerStep(Head.of(net), windows, patches_of(extractor, remember))
    return step, partial(_write, current, net, name)


def starting_point(start: Path | None, current: Path) -> tuple[nn.Module, str]:
    """Return the network to start from, and its name.

    It is a trained state, an ONNX file, or the classifier of the weights in use: of int8 weights, which have no
    gradients, the fp32 ones that they were made from.
    """
    entry, _ = find_model(default_models(current)[1], "classifier", [current])
    if start is None:
        # Adapted int8 weights stand in a folder without the fp32 ones, which are then the package's.
        entry, data = find_model(entry.origin or entry.sha256, "classifier", [current])
        with tempfile.TemporaryDirectory() as scratch:
            network = Path(scratch) / entry.file
            network.write_bytes(data)
            return from_onnx(network, entry.architecture), entry.architecture
    if not start.is_file():
        raise ConfigError(f"{start}: no such file; give --start a trained state (.pt) or a classifier (.onnx)")
    if start.suffix == ".onnx":
        return from_onnx(start, entry.architecture), entry.architecture
    net, record = load_trained(start)
    return net, str(record["network"])


def patches_of(extractor: FeatureExtractor, sets: Sequence[Path], seed: int = 0) -> Remembered:
    """Collect labelled windows of `WELLS_OF_PATCHES` wells, from training sets with patches or rendered now."""
    features, labels = [], []
    if sets:
        chops = ChopSet(sets)
        train, _ = chops.split(chops.patch_wells)
        if not len(train):
            raise ConfigError(f"{sets[0]}: this set has no patches; give --remember one that has, or leave it out")
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(train, min(PATCHES_PER_WELL * WELLS_OF_PATCHES, len(train)), replace=False))
        for part in np.array_split(chosen, WELLS_OF_PATCHES):
            if len(part):
                seen, known = extractor.patches(chops.take_patches(part), chops.patch_labels[part])
                features.append(seen)
                labels.append(known)
    else:
        for well in range(REMEMBER_SEED, REMEMBER_SEED + WELLS_OF_PATCHES):
            patches = sample_well(outcome_of(well), well, n_chops=0, n_patches=PATCHES_PER_WELL).patches
            assert patches is not None
            seen, known = extractor.patches(*patches)
            features.append(seen)
            labels.append(known)
    return Remembered(np.concatenate(features), np.concatenate(labels))


def _write(
    current: Path, net: nn.Module, name: str, out: Path, decider: Decides, possible: PossibleGroups, second: str
) -> None:
    """Write a candidate (`candidate.write_candidate`) with the network's new last layer."""
    assert isinstance(decider, LayerDecider)
    decider.head.put_into(net)
    save_trained(out / "classifier.pt", net, name, {})
    export_classifier(net, out / "classifier.onnx", dense=True)
    network = (out / "classifier.onnx").read_bytes()
    write_candidate(out, current, decider.after, possible, second, network)
