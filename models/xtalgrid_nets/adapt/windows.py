"""Represent wells as the last layer sees them: the mean features of every window that the worker scores."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xtalgrid_core.chops import CHOP, Box, cut, dense_length
from xtalgrid_core.decision import chops_needed
from xtalgrid_core.dense import chop_means, softmax
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import replacing
from xtalgrid_core.images import Pixels, WellImage
from xtalgrid_core.options import DEFAULTS
from xtalgrid_scoring.drop import WellDrop, cut_out
from xtalgrid_scoring.networks import Network, load_network

from ..fit.augment import exposed
from ..fit.batches import images_first
from ..fit.losses import WINDOW_CELLS, WINDOW_STEP
from ..sets.crops import Segmenter
from ..sets.format import NO_LABEL

Half = npt.NDArray[np.float16]
Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WindowFeatures:
    """The windows of one well's drop.

    `features` is ``(V, N, C)``: V versions of the well (see `FeatureExtractor`), N windows, C features. N is 0 if there
    is no drop.
    """

    features: Half
    boxes: tuple[Box, ...]

    @property
    def needed(self) -> tuple[int, ...]:
        """Return the number of windows that must agree on each group, by the worker's rule."""
        return chops_needed(self.boxes, DEFAULTS.support)


class FeatureExtractor:
    """The fixed part of the networks while a last layer is fitted: the segmenter and the features.

    Parameters
    ----------
    net
        A network with `features` at a stride of 16 and a 1×1 convolution `head` (SqueezeNet 1.0 or 1.1).
    segmenter
        Finds the drop.
    versions
        Number of versions of each well: the image itself, then rotated copies with different lighting.
    keep
        Folder in which features are stored, so that a run that was killed continues and folds cost nothing.

    Raises
    ------
    ConfigError
        If the network is of another kind.
    """

    def __init__(self, net: nn.Module, segmenter: Segmenter, versions: int, keep: Path) -> None:
        features = getattr(net, "features", None)
        if not isinstance(features, nn.Module) or not isinstance(getattr(net, "head", None), nn.Conv2d):
            raise ConfigError(
                "only SqueezeNet's last layer can be adapted; start from a squeezenet1.1 or squeezenet1.0"
            )
        self._segmenter, self._versions, self._keep = segmenter, versions, keep
        self._features = _exported(features.eval())
        digest = hashlib.sha256(segmenter.sha256.encode())
        for name, value in features.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        self._name = digest.hexdigest()[:16]
        keep.mkdir(parents=True, exist_ok=True)

    def well(self, path: Path, pixel_size_um: float | None = None) -> WindowFeatures:
        """Compute the features of an image's windows, those that the worker would score with the same segmenter.

        Raises
        ------
        ImageError
            If the file is not a usable image.
        OSError
            If it can't be read.
        """
        data = path.read_bytes()
        key = hashlib.sha256(data + f"{self._name} {pixel_size_um}".encode()).hexdigest()[:32]
        kept = self._keep / f"{key}-{self._versions}.npz"
        if kept.is_file():
            with np.load(kept) as arrays:
                return WindowFeatures(arrays["features"], tuple(Box(*map(int, box)) for box in arrays["boxes"]))
        drop = cut_out(WellImage(data), self._segmenter.mask_of_view, pixel_size_um)
        windows = WindowFeatures(np.zeros((self._versions, 0, 0), np.float16), ())
        if isinstance(drop, WellDrop):
            boxes = drop.chops("dense", DEFAULTS.step)
            random = torch.Generator().manual_seed(int(key[:8], 16))
            versions = [self._version(drop.view, boxes, number, random) for number in range(self._versions)]
            windows = WindowFeatures(np.stack(versions).astype(np.float16), tuple(boxes))
        with replacing(kept) as stream:
            np.savez(stream, features=windows.features, boxes=np.array(windows.boxes, np.int64).reshape(-1, 4))
        return windows

    def patches(self, pixels: Pixels, labels: npt.NDArray[np.uint8]) -> tuple[Half, npt.NDArray[np.int64]]:
        """Compute features ``(n, C)`` and labels ``(n,)`` of the labelled windows of patches ``(M, 448, 448, 3)``.

        The patches and their labels are those of `sets.format`.
        """
        means = (
            F.avg_pool2d(self._run(images_first(pixels)), WINDOW_CELLS, WINDOW_STEP).permute(0, 2, 3, 1).flatten(0, 2)
        )
        known = labels.ravel() != NO_LABEL
        return means.numpy().astype(np.float16)[known], labels.ravel()[known].astype(np.int64)

    def _version(self, view: Pixels, boxes: Sequence[Box], number: int, random: torch.Generator) -> Float:
        whole = Box(0, 0, dense_length(view.shape[0]), dense_length(view.shape[1]))
        image = images_first(cut(view, [whole]))
        if number == 0:
            return chop_means(self._run(image)[0].numpy(), boxes)
        turns, mirrored = number % 4, bool(number // 4 % 2)  # quarter turns only, because cells must stay square
        image = torch.rot90(exposed(image.contiguous(), random), turns, (2, 3))
        features = self._run(image.flip(3) if mirrored else image)[0]
        back = features.flip(2) if mirrored else features
        return chop_means(torch.rot90(back, -turns, (1, 2)).numpy(), boxes)

    def _run(self, images: Tensor) -> Tensor:
        """Compute features ``(N, C, h, w)`` from ``(N, 3, H, W)`` uint8."""
        return torch.from_numpy(self._features(images.permute(0, 2, 3, 1).numpy()))


def _exported(features: nn.Module) -> Network:
    """Run the features in ONNX Runtime, which on a CPU is four times as fast as torch."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            features,
            (torch.zeros(1, 3, CHOP, CHOP),),
            stream,  # type: ignore[arg-type]  # the older exporter takes one
            input_names=["image"],
            output_names=["features"],
            dynamic_axes={"image": {0: "n", 2: "height", 3: "width"}, "features": {0: "n", 2: "rows", 3: "cols"}},
            opset_version=17,
            dynamo=False,
        )
    return load_network(stream.getvalue(), "features", "the network's features", torch.get_num_threads())


@dataclass(frozen=True, slots=True)
class Head:
    """A last layer, `weight` ``(13, C)`` and `bias` ``(13,)``."""

    weight: Float
    bias: Float

    @classmethod
    def of(cls, net: nn.Module) -> Head:
        """Take the last layer of a network."""
        layer = net.head
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # type: ignore[union-attr,operator]
        return cls(weight[:, :, 0, 0].copy(), bias.copy())

    def put_into(self, net: nn.Module) -> None:
        """Set it as the last layer of a network."""
        with torch.no_grad():
            net.head.weight.copy_(torch.from_numpy(self.weight)[:, :, None, None])  # type: ignore[union-attr,operator]
            net.head.bias.copy_(torch.from_numpy(self.bias))  # type: ignore[union-attr,operator]

    def probabilities(self, windows: WindowFeatures) -> Float:
        """Return the probabilities of the 13 classes in a well's windows, ``(N, 13)``; N ≥ 1."""
        return softmax(windows.features[0].astype(np.float32) @ self.weight.T + self.bias)
