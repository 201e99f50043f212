"""Collect the classifier's output for every window of a drop, which scores don't include, to choose a decision rule."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from tqdm import tqdm

from xtalgrid_core.chops import CHOP
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.files import replacing
from xtalgrid_core.images import Pixels, WellImage, network_input
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group
from xtalgrid_core.weights import PACKAGED, Variant, default_options
from xtalgrid_scoring.drop import NoDrop, cut_out
from xtalgrid_scoring.networks import Network, Networks
from xtalgrid_scoring.windows import classify_sizes

from ..sets.arrays import sha256_of
from .scoring import library
from .tables import slugs
from .truth import Truth, by_source

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WindowSet:
    """The windows of many wells, one after the other.

    Attributes
    ----------
    names, plates
        ``(W,)``: image and plate of each well.
    groups
        ``(W,)``: index of the truth in `SCORED_GROUPS`.
    ends
        ``(W,)``: end of each well's windows; they begin where those of the previous well end.
    probabilities, boxes
        ``(N, 13)`` and ``(N, 4)``, for all windows.
    """

    names: npt.NDArray[np.str_]
    plates: npt.NDArray[np.str_]
    groups: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    probabilities: Floats
    boxes: npt.NDArray[np.int32]

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """``(W,)``: start of each well's windows."""
        return np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])

    @property
    def has_drop(self) -> npt.NDArray[np.bool_]:
        """``(W,)``: False for null experiments, which have no windows."""
        return self.ends > self.starts

    def __iter__(self) -> Iterator[tuple[Floats, npt.NDArray[np.int32]]]:
        """Yield each well's probabilities and boxes."""
        for start, end in zip(self.starts, self.ends, strict=True):
            yield self.probabilities[start:end], self.boxes[start:end]


def windows_of(
    data: bytes,
    options: Options,
    networks: Networks,
    pixel_size_um: float | None = None,
    chop_sizes: Sequence[int] = (CHOP,),
) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Classify an image's windows: probabilities ``(N, 13)`` and boxes ``(N, 4)``; N is 0 for a null experiment.

    The pixel size is guessed if it is None. `chop_sizes`: see `Pooling.chop_sizes`.

    Raises
    ------
    ImageError
        If it can't be decoded.
    """
    well = cut_out(WellImage(data), networks.mask, pixel_size_um)
    if isinstance(well, NoDrop):
        return np.empty((0, len(CLASSES)), np.float32), np.empty((0, 4), np.int32)
    seen = classify_sizes(well, chop_sizes, options, networks)
    return seen.probabilities, np.array(seen.chops, np.int32)


@dataclass(frozen=True, slots=True)
class OneByOne:
    """A classifier in training, of any architecture, and the step of the windows that it sees one by one, in pixels."""

    state: Path
    step: int


def collect(
    truths: Sequence[Truth],
    out: Path,
    weights: Path | None = None,
    variant: Variant | None = None,
    jobs: int = 1,
    trained: OneByOne | None = None,
    chop_sizes: Sequence[int] = (CHOP,),
) -> list[Path]:
    """Write the windows of wells, one file for each plate: ``out/PLATE.npz``.

    Files made with these networks by this library are kept.

    Returns the files of these wells.

    If `trained` is given, it classifies instead of the classifier among the weights. `chop_sizes`: those of the
    windows (`Pooling.chop_sizes`).

    Raises
    ------
    XtalgridError
        If the weights can't be used, or an image can't be read.
    """
    # Nothing is decided here, so the weights may lack a pooling.
    options = default_options(weights or PACKAGED, variant, rule="group")
    networks = Networks.load(options, [weights] if weights else [])
    if trained is not None:
        networks = networks.with_classifier(_load(trained.state))
        options = replace(options, classifier=sha256_of(trained.state), mode="exact", step=trained.step)
    out.mkdir(parents=True, exist_ok=True)
    known = [truth for truth in truths if truth.sure and truth.group is not None]
    plates: dict[str, list[Truth]] = {}
    for source, wells in by_source(known).items():
        for truth in wells:
            plates.setdefault(f"{source}\n{truth.plate}", []).append(truth)
    names = slugs(plates)
    files = []
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(known), unit="well", disable=None) as bar:
        for plate, wells in plates.items():
            path = out / f"{names[plate]}.npz"
            files.append(path)
            made_of = _made_of(wells, options, chop_sizes)
            if not path.is_file() or str(np.load(path)["made_of"]) != made_of:
                windows = list(pool.map(lambda truth: _windows(truth, options, networks, chop_sizes), wells))
                _write(path, wells, windows, made_of, _made_by(options, chop_sizes))
            bar.update(len(wells))
    return files


def _windows(
    truth: Truth, options: Options, networks: Networks, chop_sizes: Sequence[int]
) -> tuple[Floats, npt.NDArray[np.int32]]:
    try:
        return windows_of(truth.path.read_bytes(), options, networks, truth.pixel_size_um, chop_sizes)
    except ImageError as error:
        raise ImageError(error.reason, f"{truth.path}: {error.detail}; take it from the list") from error


def _load(state: Path) -> Network:
    """Load a trained classifier as the worker's: its class map is a single cell.

    Raises
    ------
    ConfigError
        If it is not a classifier of 13 classes.
    """
    import torch

    from ..states import SEGMENTERS, load_trained

    net, record = load_trained(state)
    if record["network"] in SEGMENTERS:
        raise ConfigError(f"{state}: this is a segmenter; give a classifier")

    @torch.inference_mode()
    def classify_chops(chops: Pixels) -> Floats:
        logits: Floats = net(torch.from_numpy(network_input(chops)))[:, :, None, None].numpy()
        return logits

    classes = classify_chops(np.zeros((1, CHOP, CHOP, 3), np.uint8)).shape[1]
    if classes != len(CLASSES):
        raise ConfigError(
            f"{state}: this network has {classes} classes; wells are judged by networks of {len(CLASSES)}"
        )
    return classify_chops


def read(folder: Path) -> WindowSet:
    """Read all windows that `collect` wrote into a folder.

    Raises
    ------
    ConfigError
        If there are none, or some were made with other networks than the rest.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ConfigError(f"{folder}: no windows in this folder; write them with `xtalgrid-train judge windows`")
    makers = {str(part["made_by"]): file.name for file in files if "made_by" in (part := np.load(file))}
    if len(makers) > 1:  # files of earlier versions don't say
        raise ConfigError(
            f"{folder}: {' and '.join(list(makers.values())[:2])} were made with different networks or steps; "
            "write the windows of each into a folder of their own"
        )
    return joined(files)


def joined(files: Sequence[Path]) -> WindowSet:
    """Join the windows in these of `collect`'s files."""
    parts = [np.load(path) for path in files]
    start, ends = 0, []
    for part in parts:
        ends.append(part["ends"] + start)
        start += len(part["boxes"])
    joined = {key: np.concatenate([part[key] for part in parts]) for key in ("names", "plates", "groups")}
    return WindowSet(
        **joined,
        ends=np.concatenate(ends),
        probabilities=np.concatenate([part["probabilities"] for part in parts]),
        boxes=np.concatenate([part["boxes"] for part in parts]),
    )


def _write(
    path: Path,
    truths: Sequence[Truth],
    windows: Sequence[tuple[Floats, npt.NDArray[np.int32]]],
    made_of: str,
    made_by: str,
) -> None:
    groups = [SCORED_GROUPS.index(truth.group or Group.CLEAR) for truth in truths]
    with replacing(path) as stream:
        np.savez(
            stream,
            made_of=np.array(made_of),
            made_by=np.array(made_by),
            names=np.array([truth.path.name for truth in truths]),
            plates=np.array([truth.plate for truth in truths]),
            groups=np.array(groups, np.int64),
            ends=np.cumsum([len(boxes) for _, boxes in windows]),
            probabilities=np.concatenate([probabilities for probabilities, _ in windows]),
            boxes=np.concatenate([boxes for _, boxes in windows]),
        )


def _made_of(truths: Sequence[Truth], options: Options, chop_sizes: Sequence[int]) -> str:
    digest = hashlib.sha256(f"{_made_by(options, chop_sizes)}{library()}".encode())
    for truth in truths:
        digest.update(hashlib.sha256(truth.path.read_bytes()).digest() + str(truth.group).encode())
        if truth.pixel_size_um is not None:
            digest.update(str(truth.pixel_size_um).encode())
    return digest.hexdigest()


def _made_by(options: Options, chop_sizes: Sequence[int]) -> str:
    step = options.step if options.mode == "exact" else ""
    sizes = "" if tuple(chop_sizes) == (CHOP,) else f" {list(chop_sizes)}"
    return f"{options.segmenter}{options.classifier}{step}{sizes}"
