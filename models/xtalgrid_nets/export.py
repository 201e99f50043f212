"""From trained states to what the worker carries: two ONNX files and the manifest that names them by hash."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from xtalgrid_core.chops import CHOP
from xtalgrid_core.decision import Calibration
from xtalgrid_core.images import SEGMENTER_SIDE
from xtalgrid_core.outcomes import GROUP_CLASSES, Group
from xtalgrid_core.weights import MANIFEST, ModelEntry, Role, WeightsManifest

from .networks.squeezenet import SqueezeNet
from .segmenter import segmenter

FILES: dict[Role, str] = {"segmenter": "segmenter.onnx", "classifier": "classifier.onnx"}
CARDS: dict[Role, str] = {"segmenter": "segmenter.md", "classifier": "classifier.md"}
_ARCHITECTURES: dict[Role, str] = {"segmenter": "U-Net on SqueezeNet 1.1", "classifier": "SqueezeNet 1.1"}


class WithSigmoid(nn.Module):
    """The segmenter as the worker runs it: probabilities out."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """``(1, 3, S, S)`` → ``(1, 1, S, S)``, 0..1."""
        return torch.sigmoid(self.net(image))


class WithSoftmax(nn.Module):
    """The classifier as the worker runs it: probabilities out."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, chops: Tensor) -> Tensor:
        """``(N, 3, S, S)`` → ``(N, 13)``, rows sum to 1."""
        return torch.softmax(self.net(chops), dim=1)


def export_segmenter(net: nn.Module, path: Path) -> None:
    """Write the segmenter as ONNX, for one picture of `SEGMENTER_SIDE`."""
    example = torch.zeros(1, 3, SEGMENTER_SIDE, SEGMENTER_SIDE)
    _export(WithSigmoid(net), example, path, "image", "mask", None)


def export_classifier(net: nn.Module, path: Path) -> None:
    """Write the classifier as ONNX, for any number of chops."""
    example = torch.zeros(2, 3, CHOP, CHOP)
    _export(WithSoftmax(net), example, path, "chops", "probabilities", {"chops": {0: "n"}, "probabilities": {0: "n"}})


def _export(
    net: nn.Module, example: Tensor, path: Path, given: str, made: str, axes: dict[str, dict[int, str]] | None
) -> None:
    """With the older exporter: the newer one takes a minute longer for the same network."""
    names: dict[str, Any] = {"input_names": [given], "output_names": [made], "dynamic_axes": axes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(net.eval(), (example,), str(path), **names, opset_version=17, dynamo=False)


def install(
    states: dict[Role, Path], folder: Path, calibration: Calibration | None = None, crystal_shift: float = 0.0
) -> WeightsManifest:
    """Export trained states into a folder of weights and write its manifest.

    A role without a state keeps the ONNX file that is in the folder; without `calibration` a kept classifier keeps its own.
    `crystal_shift` is taken from the logits of the crystal classes: every fourth chop of the training batches shows a crystal, and
    hardly one in a hundred of a plate's does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = Calibration()
    if (folder / MANIFEST).is_file():
        before = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=WeightsManifest)
        kept = next((entry.calibration for entry in before.models if entry.role == "classifier"), kept)
    if "segmenter" in states:
        unet = segmenter()
        unet.load_state_dict(torch.load(states["segmenter"]))
        export_segmenter(unet, folder / FILES["segmenter"])
    if "classifier" in states:
        squeeze = SqueezeNet()
        squeeze.load_state_dict(torch.load(states["classifier"]))
        with torch.no_grad():
            squeeze.head.bias[list(GROUP_CLASSES[Group.CRYSTAL])] -= crystal_shift  # type: ignore[index]
        export_classifier(squeeze, folder / FILES["classifier"])
    roles: tuple[Role, ...] = ("segmenter", "classifier")
    entries = tuple(_entry(folder, role, calibration or kept) for role in roles)
    manifest = WeightsManifest(schema=1, default={e.role: e.sha256 for e in entries}, models=entries)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    return manifest


def _entry(folder: Path, role: Role, calibration: Calibration) -> ModelEntry:
    return ModelEntry(
        sha256=hashlib.sha256((folder / FILES[role]).read_bytes()).hexdigest(),
        role=role,
        file=FILES[role],
        architecture=_ARCHITECTURES[role],
        variant="fp32",
        card=CARDS[role],
        calibration=calibration if role == "classifier" else Calibration(),
    )
