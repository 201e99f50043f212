"""Read scored wells as what decides them sees them: each passes once through the networks in use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xtalgrid_core.decision import mean_coverage
from xtalgrid_core.errors import ImageError
from xtalgrid_core.files import replacing
from xtalgrid_core.images import WellImage
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import SCORED_GROUPS
from xtalgrid_core.pooling import FEATURES, features
from xtalgrid_scoring.drop import NoDrop, cut_out
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.score import look
from xtalgrid_scoring.second_opinion import network_input

from ..judge.scoring import library
from ..judge.truth import Truth
from .decider import Array, Wells

UNSURE = 0.5
"""Weight in the fit of a well whose judgement is marked ``low``; only certain ones are used for judging."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """The networks in use, and a folder in which what they see is stored, so that a later run need not look again."""

    options: Options
    networks: Networks
    keep: Path

    def see(self, path: Path, pixel_size_um: float | None = None) -> tuple[Array, Array]:
        """Return a drop's `pooling.features`, ``(FEATURES,)``, NaN without a drop, and the second opinion, ``(4,)``.

        Without a second opinion in the options, that is NaN.

        Raises
        ------
        ImageError
            If the file is not a usable image.
        OSError
            If it can't be read.
        """
        data = path.read_bytes()
        o = self.options  # the classifier's name stands for its pooling too
        made_of = f"{library()} {o.segmenter} {o.classifier} {o.zoom} {o.second_opinion} {pixel_size_um}"
        kept = self.keep / f"{hashlib.sha256(made_of.encode() + data).hexdigest()[:32]}.npy"
        if not kept.is_file():
            self.keep.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as stream:
                np.save(stream, self._look(data, pixel_size_um))
        both: npt.NDArray[np.float64] = np.load(kept)
        return both[:FEATURES], both[FEATURES:]

    def _look(self, data: bytes, pixel_size_um: float | None) -> Array:
        image = WellImage(data)
        well = cut_out(image, self.networks.mask, pixel_size_um)
        second = np.full(len(SCORED_GROUPS), np.nan)
        if self.options.second_opinion is not None:
            second[:] = self.networks.second_opinion(network_input(image))
        drop = np.full(FEATURES, np.nan)
        if not isinstance(well, NoDrop):
            windows = look(well, self.options, self.networks).windows
            drop = features(windows.probabilities, mean_coverage(windows.chops))
        return np.concatenate([drop, second])


def see_all(
    eyes: Eyes, truths: Sequence[Truth], folds: Mapping[Path, str], advance: Callable[[], object], first: int = 0
) -> tuple[list[Truth], Wells, dict[Path, str]]:
    """Look at wells; return those that could be read, what was seen of them, and the others with the reasons.

    Parameters
    ----------
    truths
        Wells whose group is known.
    folds
        The fold of each image.
    advance
        Called after each well.
    first
        `Wells.index` of the first.
    """
    read: list[Truth] = []
    seen: list[tuple[Array, Array]] = []
    failed: dict[Path, str] = {}
    for truth in truths:
        try:
            seen.append(eyes.see(truth.path, truth.pixel_size_um))
            read.append(truth)
        except (ImageError, OSError) as error:
            failed[truth.path] = str(error)
        advance()
    groups = [SCORED_GROUPS.index(truth.group) for truth in read if truth.group is not None]
    wells = Wells(
        drops=np.array([drop for drop, _ in seen]).reshape(-1, FEATURES),
        second=np.array([second for _, second in seen]).reshape(-1, len(SCORED_GROUPS)),
        groups=np.array(groups, np.int64),
        weight=np.array([1.0 if truth.sure else UNSURE for truth in read]),
        folds=np.array([folds[truth.path] for truth in read], np.str_),
        index=np.arange(first, first + len(read)),
    )
    return read, wells, failed
