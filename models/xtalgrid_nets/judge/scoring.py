"""Score wells as a lab would get them, with the library that the worker uses.

Answers are stored under a name derived from everything they depend on (images, options, weights, the library's own
files). So an evaluation that was killed continues, and a changed library or model is never judged by old answers.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from tqdm import tqdm

import xtalgrid_core
import xtalgrid_scoring
from xtalgrid_core import wire
from xtalgrid_core.chops import STEP
from xtalgrid_core.combination import Combination
from xtalgrid_core.errors import RETRYABLE, ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.options import DEFAULT_RULE, DEFAULTS, ZOOM, Options, Rule, group_limits, second_look
from xtalgrid_core.weights import (
    MANIFEST,
    PACKAGED,
    Variant,
    default_options,
    second_opinion_at,
    with_second_opinion,
)
from xtalgrid_scoring.networks import RUNTIME, Networks
from xtalgrid_scoring.pool import Pool

from .truth import Truth

CHUNK = 150
"""Number of wells whose answers share a file: about a plate."""

_answers = msgspec.json.Decoder(tuple[wire.Scored | wire.Failed, ...])


@dataclass(frozen=True, slots=True)
class Settings:
    """How wells are scored.

    `step` is None for the mode's default (the paper's step if `exact`); `weights` is a folder, None for the packaged
    ones; `variant` (fp32, int8) selects one of its default weights, None the default itself. `second_opinion` is a
    folder with one, or an ONNX file in it; `combination` takes the place of the one that it comes with.
    """

    threshold: float = DEFAULTS.threshold
    rule: Rule = DEFAULT_RULE
    support: float = DEFAULTS.support
    crystal_from: float = DEFAULTS.crystal_from
    undecided: float = 0.0
    zoom: float = ZOOM
    exact: bool = False
    step: int | None = None
    n_boxes: int = DEFAULTS.n_boxes
    variant: Variant | None = None
    weights: Path | None = None
    second_opinion: Path | None = None
    combination: Combination | None = None

    @property
    def name(self) -> str:
        """Name that distinguishes runs of one rule: the threshold, or the p_crystal from which wells are crystals."""
        return f"p_crystal {self.crystal_from:g}" if self.rule == "pooled" else f"{self.threshold:g}"

    @property
    def options(self) -> Options:
        """Return the settings as scoring options, with the names of the weights."""
        alone = default_options(
            self.weights or PACKAGED,
            self.variant,
            rule=self.rule,
            threshold=self.threshold,
            mode="exact" if self.exact else "dense",
            step=self.step or (STEP if self.exact else DEFAULTS.step),
            n_boxes=self.n_boxes,
            support=self.support,
            crystal_from=self.crystal_from,
            undecided=group_limits(self.undecided),
            zoom=second_look(self.zoom),
        )
        if self.second_opinion is None:
            return alone
        entry, _ = second_opinion_at(self.second_opinion)
        if self.combination is not None:
            return with_second_opinion(alone, msgspec.structs.replace(entry, combination=self.combination))
        return with_second_opinion(alone, entry, [self.weights] if self.weights else [])

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of weights, searched before the packaged ones."""
        second = second_opinion_at(self.second_opinion)[1] if self.second_opinion else None
        return tuple(folder for folder in (self.weights, second) if folder)

    def networks(self) -> Networks:
        """Load the weights, for use in this process."""
        return Networks.load(self.options, self.folders)

    @property
    def words(self) -> str:
        """Describe the options that matter for the rule, for people."""
        by_chops = f"--threshold {self.threshold} --support {self.support}"
        undecided = f" --undecided {self.undecided}" if self.undecided else ""
        zoom = f" --zoom {self.zoom:g}" if self.zoom != ZOOM else ""
        by = f"--crystal-from {self.crystal_from}{undecided}{zoom}" if self.rule == "pooled" else by_chops
        variant = f" --variant {self.variant}" if self.variant else ""
        second = f" --second-opinion {self.second_opinion}" if self.second_opinion else ""
        return f"--rule {self.rule} {by}{' --exact' if self.exact else ''}{variant}{second}"


def score_wells(
    truths: Sequence[Truth], settings: Settings, keep: Path, jobs: int = 1, show: bool = True
) -> dict[Path, wire.Answer]:
    """Score the images of wells, each with the pixel size that its table gives; see `score`."""
    sizes = {truth.path: truth.pixel_size_um for truth in truths if truth.pixel_size_um is not None}
    return score([truth.path for truth in truths], settings, keep, jobs, show, sizes)


def score(
    paths: Sequence[Path],
    settings: Settings,
    keep: Path,
    jobs: int = 1,
    show: bool = True,
    sizes: Mapping[Path, float] | None = None,
) -> dict[Path, wire.Answer]:
    """Score images; every image gets an answer, scored or failed.

    Parameters
    ----------
    paths
        Image files.
    settings
        How to score.
    keep
        Folder in which answers are stored for later runs, `CHUNK` images per file. Those with a failure that another
        try may not have (`RETRYABLE`) are not stored.
    jobs
        Number of images scored in parallel, each in a process of its own on one core.
    show
        Whether to show a progress bar on standard error, if that is a terminal.
    sizes
        Micrometres per pixel of the images of which it is known.

    Raises
    ------
    ConfigError
        If an image's file is missing.
    ModelError
        If the weights can't be used.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ConfigError(f"{missing[0]}: no such file; {len(missing)} of {len(paths)} images to judge are missing")
    options = settings.options  # made of the weights' manifest: read once, not for each image
    known = dict(sizes or {})
    answers: dict[Path, wire.Answer] = {}
    with (
        Pool(jobs) as pool,
        tqdm(total=len(paths), unit="well", disable=not (show and sys.stderr.isatty())) as bar,
    ):
        answer = partial(_answer, pool, options, settings.folders, known)
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            file = keep / f"{_name(chunk, options, settings.weights or PACKAGED, known)}.json"
            if file.is_file():
                scored = _answers.decode(file.read_bytes())
            else:
                scored = tuple(pool.map(answer, enumerate(chunk)))
                if not any(isinstance(each, wire.Failed) and each.reason in RETRYABLE for each in scored):
                    keep.mkdir(parents=True, exist_ok=True)
                    write_atomically(file, msgspec.json.encode(scored))
            answers.update(zip(chunk, scored, strict=True))
            bar.update(len(chunk))
    return answers


def version() -> str:
    """Return the version of the software that scores the wells."""
    return f"xtalgrid {metadata.version('xtalgrid')}, {RUNTIME}"


def _answer(
    pool: Pool, options: Options, folders: Sequence[Path], sizes: Mapping[Path, float], image: tuple[int, Path]
) -> wire.Answer:
    number, path = image
    return pool.score(path, options, pixel_size_um=sizes.get(path), number=number, folders=folders)


def _name(paths: Sequence[Path], options: Options, weights: Path, sizes: Mapping[Path, float]) -> str:
    made_of: dict[str, Any] = {
        "images": [_sha256(path.read_bytes()) for path in paths],
        "options": msgspec.to_builtins(options),
        "weights": _sha256((weights / MANIFEST).read_bytes()),
        "library": library(),
    }
    if any(path in sizes for path in paths):
        made_of["sizes"] = [sizes.get(path) for path in paths]
    return _sha256(json.dumps(made_of).encode())[:16]


@cache
def library() -> str:
    """Return a fingerprint of the Python files that scores depend on, for what is kept of earlier runs."""
    digest = hashlib.sha256()
    for package in (xtalgrid_core, xtalgrid_scoring):
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
