"""The end of the network as further steps: it is fitted to the lab's wells, and the pooling refitted after it.

The last layer comes first, and where wells are many the last block, which starts from the layer fitted to the same
wells. A layer that changes leaves the pooling behind, which was fitted to the old one: every crystal gets a little
lower, and fewer are found. So the pooling is fitted anew near its present one, to what layers say that did not see the
well, since a layer is too sure of the wells it was fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import CHOP
from xtalgrid_core.decision import mean_coverage
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.images import Pixels
from xtalgrid_core.outcomes import SCORED_GROUPS
from xtalgrid_core.pooling import FEATURES, features
from xtalgrid_core.possible import PossibleGroups

from ..data import outcome_of, sample_well
from ..judge.truth import Truth
from ..sets.crops import Segmenter
from ..sets.reading import ChopSet
from .candidate import pooling_of, write_candidate
from .choose import LAST_BLOCK, LAST_LAYER, LEAST
from .decider import Array, Decider, Decides, Wells, repooled
from .fit import LabWell, Remembered, Settings, crystal_shift, fit
from .start import divide, starting_point
from .tail import Tail
from .windows import FeatureExtractor, Windows

REMEMBER_SEED = 40_000_000
"""First seed of the wells rendered to be remembered; no test plate and no default training set uses it."""

PATCHES_PER_WELL = 4
WELLS_OF_PATCHES = 60

BLOCK_SETTINGS = Settings(steps=80, rate=1e-3, wells=16, patches=12)

STRENGTH = 8.0
"""Of the prior of the pooling that is refitted."""


@dataclass(frozen=True, slots=True)
class TailDecider:
    """The end of a network, what decides after it, and how wells are seen through it."""

    tail: Tail
    after: Decider
    see: Callable[[Wells], Wells]

    def probabilities(self, wells: Wells) -> Array:
        """Return the probabilities of `SCORED_GROUPS`, ``(N, 4)``, of wells whose windows are known."""
        return self.after.probabilities(self.see(wells))


@dataclass(frozen=True, slots=True)
class TailStep:
    """Fits the end of the network, then the pooling; see `choose.STEPS`.

    A fit to the same wells is made once, and a well is looked at once through each: the folds that choose, and those
    that judge the choice, ask for many of them again.

    Attributes
    ----------
    start
        Gives the end to start from when fitting to wells; it must not have seen any others of the lab.
    windows
        Those of all wells, by `Wells.index`.
    own
        Number of the lab's wells. Those after them keep the pooling from forgetting, and the tail is not fitted to
        them.
    remembered
        Patches that keep the tail from forgetting.
    """

    start: Callable[[Wells], Tail]
    windows: Sequence[Windows]
    own: int
    remembered: Remembered
    settings: Settings = field(default_factory=Settings)
    _fits: dict[bytes, Tail] = field(default_factory=dict)
    _seen: dict[tuple[bytes, int], Array] = field(default_factory=dict)

    def __call__(self, start: Decider, wells: Wells) -> TailDecider:
        """Fit near `start` to wells.

        The pooling is fitted to what tails say that saw no well of the same fold.
        """
        own = wells.index < self.own
        lab, drops = wells[own], wells.drops.copy()
        drops[~own] = self.seen(lab, wells[~own]).drops
        for fold in np.unique(lab.folds):
            here = own & (wells.folds == fold)
            drops[here] = self.seen(lab[lab.folds != fold], wells[here]).drops
        decider = repooled(start, replace(wells, drops=drops), STRENGTH)
        return TailDecider(self.fitted(lab), decider, partial(self.seen, lab))

    def fitted(self, lab: Wells) -> Tail:
        """Return the tail that is fitted to wells of the lab."""
        key = lab.index.tobytes()
        if key not in self._fits:
            wells = [
                LabWell(self.windows[index].usual, SCORED_GROUPS[group], weight)
                for index, group, weight in zip(lab.index, lab.groups, lab.weight, strict=True)
            ]
            self._fits[key] = fit(self.start(lab), wells, self.remembered, self.settings)
        return self._fits[key]

    def seen(self, lab: Wells, wells: Wells) -> Wells:
        """Return wells as they are seen through the tail that is fitted to wells of the lab."""
        tail, key = self.fitted(lab), lab.index.tobytes()
        for index in wells.index:
            if (key, index) not in self._seen:
                self._seen[key, index] = described(tail, self.windows[index])
        return replace(wells, drops=np.array([self._seen[key, index] for index in wells.index]).reshape(-1, FEATURES))


def described(tail: Tail, windows: Windows) -> Array:
    """Return the `pooling.features` of a well, ``(FEATURES,)``; NaN without a drop."""
    if not windows.boxes:
        return np.full(FEATURES, np.nan)
    return features(tail.probabilities(windows), mean_coverage(windows.boxes))


class StartingNetwork:
    """The network to start from, and the patches that it must not forget.

    Parameters
    ----------
    current
        Folder of the weights in use.
    start
        See `start.starting_point`.
    remember
        Training sets whose patches are remembered; if empty, wells are rendered.
    keep
        Folder for what the fixed part of the network makes of wells.
    """

    def __init__(self, current: Path, start: Path | None, remember: Sequence[Path], keep: Path) -> None:
        self._current = current
        self._network = divide(starting_point(start, current))
        pooling = pooling_of(current)
        sizes = pooling.chop_sizes if pooling else (CHOP,)
        self._extractor = FeatureExtractor(self._network.before, self._network.block, Segmenter(current), keep, sizes)
        self._tail = Tail(self._network.head)
        self._remembered = patches_of(self._tail, self._extractor, remember)

    def steps(
        self, truths: Sequence[Truth], own: int, advance: Callable[[], object]
    ) -> tuple[tuple[str, TailStep], ...]:
        """Run all wells through the fixed part of the network once, and return the steps; see `choose.STEPS`.

        Parameters
        ----------
        truths
            The wells of all `Wells.index`, in this order.
        own
            Number of those that are the lab's.
        advance
            Called after each well.
        """
        windows, has_block = [], own >= LEAST[LAST_BLOCK]
        for truth in truths:
            try:
                windows.append(self._extractor.well(truth.path, truth.pixel_size_um, has_block))
            except (ImageError, OSError) as error:
                raise ConfigError(
                    f"{truth.path}: {error}; it could be read a moment ago: run the same again"
                ) from error
            advance()
        layer = TailStep(lambda lab: self._tail, windows, own, self._remembered)
        if not has_block:
            return ((LAST_LAYER, layer),)
        block = self._network.block
        deeper = TailStep(
            lambda lab: Tail(layer.fitted(lab).head, block), windows, own, self._remembered, BLOCK_SETTINGS
        )
        return (LAST_LAYER, layer), (LAST_BLOCK, deeper)

    def write(self, out: Path, decider: Decides, possible: PossibleGroups, second: str) -> None:
        """Write a candidate (`candidate.write_candidate`) whose network has a new end."""
        assert isinstance(decider, TailDecider)
        network = self._network.with_end(decider.tail)
        write_candidate(out, self._current, decider.after, possible, second, network)


def patches_of(tail: Tail, extractor: FeatureExtractor, sets: Sequence[Path], seed: int = 0) -> Remembered:
    """Collect patches of `WELLS_OF_PATCHES` wells, from training sets with patches or rendered now."""
    patches: list[Windows] = []
    labels: list[npt.NDArray[np.int64]] = []

    def add(pixels: Pixels, known: npt.NDArray[np.uint8]) -> None:
        patches.extend(extractor.patch(patch) for patch in pixels)
        labels.extend(one.ravel().astype(np.int64) for one in known)

    if sets:
        chops = ChopSet(sets)
        train, _ = chops.split(chops.patch_wells)
        if not len(train):
            raise ConfigError(f"{sets[0]}: this set has no patches; give --remember one that has, or leave it out")
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(train, min(PATCHES_PER_WELL * WELLS_OF_PATCHES, len(train)), replace=False))
        for part in np.array_split(chosen, WELLS_OF_PATCHES):
            if len(part):
                add(chops.take_patches(part), chops.patch_labels[part])
    else:
        for well in range(REMEMBER_SEED, REMEMBER_SEED + WELLS_OF_PATCHES):
            rendered = sample_well(outcome_of(well), well, n_chops=0, n_patches=PATCHES_PER_WELL).patches
            assert rendered is not None
            add(*rendered)
    return Remembered(patches, labels, crystal_shift(tail, patches, labels))
