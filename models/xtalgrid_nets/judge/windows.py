"""What the classifier says of every window of a drop, which the worker's results leave out: to choose a decision rule by.

The steps are those of the worker's dense scoring, whose code the networks' package may not import; a test holds the two together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tqdm import tqdm

from xtalgrid_core.chops import cut, dense_window
from xtalgrid_core.dense import chop_probabilities, class_map, softmax
from xtalgrid_core.drops import chops_over, crop_around, find_drop
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import replacing
from xtalgrid_core.images import (
    Pixels,
    WellImage,
    network_input,
)
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group
from xtalgrid_core.scale import pixel_size
from xtalgrid_core.weights import PACKAGED, Role, Variant, default_models, find_model

from .tables import slug
from .truth import Truth, by_source

Floats = npt.NDArray[np.float32]


class Networks:
    """The segmenter and the classifier of a folder of weights, as ONNX Runtime runs them, on one core a call.

    Raises
    ------
    ModelError
        When the weights are not there or not what they are named.
    """

    def __init__(self, folder: Path | None = None, variant: Variant | None = None) -> None:
        segmenter, classifier = default_models(folder or PACKAGED, variant)
        entry, _ = find_model(classifier, "classifier", [folder] if folder else ())
        self.is_dense = entry.dense
        self.names = (segmenter, classifier)
        self._segmenter = _session(segmenter, "segmenter", folder)
        self._classifier = _session(classifier, "classifier", folder)

    def mask(self, view: Pixels) -> Floats:
        """As the worker's: ``(256, 256)``, 0..1."""
        (mask,) = self._segmenter.run(["mask"], {"image": network_input(view[None])})
        found: Floats = np.clip(mask[0, 0], 0, 1)
        return found

    def class_map(self, pictures: Pixels) -> Floats:
        """Logits, ``(N, 13, rows, cols)``, of pictures ``(N, H, W, 3)``."""
        (cells,) = self._classifier.run(["class_map"], {"image": network_input(pictures)})
        found: Floats = cells
        return found


@dataclass(frozen=True, slots=True)
class Windows:
    """A well's windows: probabilities ``(N, 13)`` and boxes ``(N, 4)`` (row, col, height, width at the reference scale); N is 0 for a
    null experiment."""

    probabilities: Floats
    boxes: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class WindowSet:
    """The windows of many wells, one after the other.

    Attributes
    ----------
    names, plates
        ``(W,)``: the wells' images and plates.
    groups
        ``(W,)``: index of the truth in `SCORED_GROUPS`.
    ends
        ``(W,)``: where each well's windows end; they begin where those of the well before end.
    probabilities, boxes
        Of all windows, ``(N, 13)`` and ``(N, 4)``.
    """

    names: npt.NDArray[np.str_]
    plates: npt.NDArray[np.str_]
    groups: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    probabilities: Floats
    boxes: npt.NDArray[np.int32]

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """``(W,)``: where each well's windows begin."""
        return np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])

    @property
    def has_drop(self) -> npt.NDArray[np.bool_]:
        """``(W,)``: False for null experiments, which have no windows."""
        return self.ends > self.starts

    def __iter__(self) -> Iterator[tuple[Floats, npt.NDArray[np.int32]]]:
        """Each well's probabilities and boxes."""
        for start, end in zip(self.starts, self.ends, strict=True):
            yield self.probabilities[start:end], self.boxes[start:end]


def windows(data: bytes, networks: Networks, pixel_size_um: float | None = None) -> Windows:
    """The windows of an image's drop.

    Raises
    ------
    ImageError
        When it cannot be decoded.
    """
    image = WellImage(data)
    height, width = image.height, image.width
    to_reference = pixel_size(width, height, pixel_size_um).to_reference
    drop = find_drop(networks.mask(image.segmenter_view()), height, width)
    if drop.is_null_experiment:
        return Windows(np.empty((0, len(CLASSES)), np.float32), np.empty((0, 4), np.int32))
    crop = crop_around(drop.box, height, width, to_reference)
    view = image.classifier_view(crop, to_reference)
    boxes = chops_over(drop, dense_window(*view.shape[:2]), crop, height, width, to_reference)
    if networks.is_dense:
        found = chop_probabilities(class_map(view, networks.class_map, lambda: None), boxes)
    else:
        maps = [networks.class_map(cut(view, [box])) for box in boxes]
        found = softmax(np.concatenate(maps).mean(axis=(2, 3)))
    return Windows(found, np.array(boxes, np.int32))


def collect(
    truths: Sequence[Truth], out: Path, weights: Path | None = None, variant: Variant | None = None, jobs: int = 1
) -> list[Path]:
    """Write the windows of wells, a file for each plate: ``out/PLATE.npz``. Those that are there for these networks are kept.

    Raises
    ------
    XtalgridError
        When the weights cannot be used, or an image cannot be read.
    """
    networks = Networks(weights, variant)
    out.mkdir(parents=True, exist_ok=True)
    known = [truth for truth in truths if truth.sure and truth.group is not None]
    plates: dict[tuple[str, str], list[Truth]] = {}
    for source, here in by_source(known).items():
        for truth in here:
            plates.setdefault((source, truth.plate), []).append(truth)
    files = []
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(known), unit="well", disable=None) as bar:
        for (source, plate), here in plates.items():
            path = out / f"{slug(source)}-{slug(plate)}.npz"
            files.append(path)
            told = _told(here, networks)
            if not path.is_file() or str(np.load(path)["made_of"]) != told:
                found = list(pool.map(lambda truth: windows(truth.path.read_bytes(), networks), here))
                _write(path, here, found, told)
            bar.update(len(here))
    return files


def read(folder: Path) -> WindowSet:
    """All windows that `collect` wrote into a folder.

    Raises
    ------
    ConfigError
        When there are none.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ConfigError(f"{folder}: no windows here; xtalgrid-train windows writes them")
    return joined(files)


def joined(files: Sequence[Path]) -> WindowSet:
    """The windows of these of `collect`'s files."""
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


def _write(path: Path, truths: Sequence[Truth], found: Sequence[Windows], told: str) -> None:
    groups = [SCORED_GROUPS.index(truth.group or Group.CLEAR) for truth in truths]
    with replacing(path) as stream:
        np.savez(
            stream,
            made_of=np.array(told),
            names=np.array([truth.path.name for truth in truths]),
            plates=np.array([truth.plate for truth in truths]),
            groups=np.array(groups, np.int64),
            ends=np.cumsum([len(each.boxes) for each in found]),
            probabilities=np.concatenate([each.probabilities for each in found]),
            boxes=np.concatenate([each.boxes for each in found]),
        )


def _told(truths: Sequence[Truth], networks: Networks) -> str:
    digest = hashlib.sha256("".join(networks.names).encode())
    for truth in truths:
        digest.update(hashlib.sha256(truth.path.read_bytes()).digest() + str(truth.group).encode())
    return digest.hexdigest()


def _session(sha256: str, role: Role, folder: Path | None) -> ort.InferenceSession:
    _, data = find_model(sha256, role, [folder] if folder else ())
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    return ort.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
