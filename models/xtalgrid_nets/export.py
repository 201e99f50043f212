"""Export trained states for the worker: ONNX files, and the manifest that names them by hash.

A folder of weights has a segmenter and a classifier in fp32, and optionally an int8 variant of each (`quantize`), which
may be the default.
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from xtalgrid_core.chops import CELLS, CHOP, STRIDE
from xtalgrid_core.decision import Calibration
from xtalgrid_core.errors import ModelError
from xtalgrid_core.files import replacing, write_atomically
from xtalgrid_core.images import SEGMENTER_SIDE
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, Group
from xtalgrid_core.weights import (
    MANIFEST,
    ModelEntry,
    Role,
    Variant,
    WeightsManifest,
    find_model,
    manifest_of,
    read_manifest,
)

from .networks import NETWORKS, class_map_of
from .states import SEGMENTERS, load_trained, rebuilt

ROLES: tuple[Role, ...] = ("segmenter", "classifier")


class WithSigmoid(nn.Module):
    """The segmenter as the worker runs it, with probabilities as output."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(1, 3, S, S)`` to ``(1, 1, S, S)``, 0..1."""
        return torch.sigmoid(self.net(image))


class AsClassMap(nn.Module):
    """A classifier as the worker runs it: the output is a map of logits, whose mean gives those of the picture."""

    def __init__(self, net: nn.Module, dense: bool) -> None:
        super().__init__()
        self.net = net
        self._map = class_map_of(net) if dense else None

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, 13, h, w)``; one cell if the network has no map."""
        cells: Tensor = self._map(image) if self._map else self.net(image)[:, :, None, None]
        return cells


def export_segmenter(net: nn.Module, path: Path) -> None:
    """Write the segmenter as ONNX, for one picture with sides of `SEGMENTER_SIDE`."""
    example = torch.zeros(1, 3, SEGMENTER_SIDE, SEGMENTER_SIDE)
    _export(WithSigmoid(net), example, path, "image", "mask", {})


def export_classifier(net: nn.Module, path: Path, dense: bool = True) -> None:
    """Write a classifier as ONNX, for any number of chops, and if `dense` for pictures of any size.

    Raises
    ------
    ModelError
        If it has not 13 outputs, or the map of a dense classifier not a cell every 16 pixels, 15 × 15 for a chop.
    """
    model = AsClassMap(net, dense).eval()
    with torch.inference_mode():
        outputs = model(torch.zeros(1, 3, CHOP, CHOP)).shape[1]
    if outputs != len(CLASSES):
        raise ModelError(f"this classifier has {outputs} outputs; scoring needs one of {len(CLASSES)} classes")
    if dense:
        with torch.inference_mode():
            for more in (0, 1, 2):
                shape = model(torch.zeros(1, 3, CHOP, CHOP + more * STRIDE)).shape
                if tuple(shape) != (1, len(CLASSES), CELLS, CELLS + more):
                    raise ModelError(
                        f"the class map is {tuple(shape)}; dense scoring needs {CELLS} × {CELLS + more} cells"
                    )
    axes = {"image": {0: "n"}, "class_map": {0: "n"}}
    if dense:
        axes = {"image": {0: "n", 2: "height", 3: "width"}, "class_map": {0: "n", 2: "rows", 3: "cols"}}
    _export(model, torch.zeros(2, 3, CHOP, CHOP), path, "image", "class_map", axes)


def _export(
    net: nn.Module, example: Tensor, path: Path, input_name: str, output_name: str, axes: dict[str, dict[int, str]]
) -> None:
    """Export with the older exporter; the newer one takes a minute longer for the same network.

    Batch normalisations are not folded into their convolutions, so that training can continue from the file; the
    runtime folds them.
    """
    with warnings.catch_warnings(), replacing(path) as stream:
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net.eval(),
            (example,),
            stream,  # type: ignore[arg-type]  # the older exporter accepts one
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes=axes,
            opset_version=17,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            dynamo=False,
        )


def shift_crystals(net: nn.Module, shift: float) -> None:
    """Subtract `shift` from the logits of the crystal classes, in the bias of the last layer.

    Crystals are far more frequent in training than on a plate; `shift` is the difference of the two log-odds.

    Raises
    ------
    ModelError
        If the network's last layer has no bias of 13 values.
    """
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    bias = layers[-1].bias if layers else None
    if bias is None or bias.shape != (len(CLASSES),):
        raise ModelError("the last layer has no bias for each class; export without --crystal-shift")
    with torch.no_grad():
        bias[list(GROUP_CLASSES[Group.CRYSTAL])] -= shift


def mix_in(net: nn.Module, other: nn.Module, share: float) -> None:
    """Replace a network's parameters by the mean of its own and another's, which counts as `share`, 0..1.

    Between a network and what further training made of it, the mean often makes fewer mistakes than either (Wortsman et
    al. 2022, "Robust fine-tuning of zero-shot models").
    """
    with torch.no_grad():
        for own, theirs in zip(net.parameters(), other.parameters(), strict=True):
            own.lerp_(theirs, share)


def install(
    states: dict[Role, Path],
    folder: Path,
    calibration: Calibration | None = None,
    crystal_shift: float = 0.0,
    int8: Path | None = None,
    int8_classifier: Path | None = None,
    keep: float = 0.0,
) -> WeightsManifest:
    """Export trained states into a folder of weights and write its manifest.

    Parameters
    ----------
    states
        Files from `states.save_trained`. A role without one keeps its ONNX files in the folder.
    folder
        Created if missing. Nothing in it changes until all is made. Files that a server named by their SHA-256 stay,
        as work units may name them.
    calibration
        Calibration of the classifier; if None, the one in the folder's manifest (that of its variant, if there is one).
    crystal_shift
        See `shift_crystals`.
    int8
        A chop set to quantise both networks on; see `quantize`. If None, an int8 variant stays if its fp32 weights
        do, and is removed otherwise.
    int8_classifier
        Trained state to make the classifier's int8 variant from, instead of the fp32 weights: one that learned to
        answer as they do while rounding (recipe ``int8``, which starts from them). This variant becomes the default,
        and only the classifier is quantised. Needs `int8`.
    keep
        Share, 0..1, of the folder's present classifier in the new one, see `mix_in`; it must be the same network,
        exported with the same `crystal_shift`.

    Raises
    ------
    ModelError
        If the folder has a second opinion; if a state can't be read, or holds numbers that are not finite; if a role
        has neither a state nor a file, or the file is not the one that the manifest names; if the networks to mix
        differ, or `int8_classifier` started from another classifier.
    """
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        manifest, before = _make(made, states, folder, calibration, crystal_shift, int8, int8_classifier, keep)
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(made.iterdir()):
            write_atomically(folder / file.name, file.read_bytes())
    write_atomically(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    for old in before:
        if old.file not in {entry.file for entry in manifest.models}:
            (folder / old.file).unlink(missing_ok=True)
    return manifest


def _make(
    made: Path,
    states: dict[Role, Path],
    folder: Path,
    calibration: Calibration | None,
    crystal_shift: float,
    int8: Path | None,
    int8_classifier: Path | None,
    keep: float,
) -> tuple[WeightsManifest, tuple[ModelEntry, ...]]:
    """Write the new files into the folder `made`; return the new manifest, and the entries of the present one."""
    manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else None
    before = manifest.models if manifest else ()
    if others := {entry.role for entry in before} - set(ROLES):
        raise ModelError(
            f"{folder}: has a {min(others).replace('_', ' ')}, which would be lost; give --out another folder"
        )
    defaults_before = set(manifest.default.values()) if manifest else set()
    entries = [_fp32(role, states.get(role), made, folder, manifest, crystal_shift, keep) for role in ROLES]
    for role, entry in zip(ROLES, tuple(entries), strict=True):
        int8_entries = [e for e in before if e.variant == "int8" and e.role == role and e.origin == entry.sha256]
        if int8 is not None and (int8_classifier is None or role == "classifier"):
            from .quantize import quantize

            file = made / f"{role}-int8.onnx"
            if int8_classifier is None:
                fp32 = made / entry.file
                quantize(fp32 if fp32.is_file() else folder / entry.file, file, role, int8)
            else:
                _quantize_trained(int8_classifier, entry.sha256, file, int8)
            int8_entries = [_entry(file, role, "int8", entry.architecture, before, entry.dense, entry.sha256)]
        entries += int8_entries
    if calibration is not None:
        entries = [
            msgspec.structs.replace(entry, calibration=calibration) if entry.role == "classifier" else entry
            for entry in entries
        ]
    default = {entry.role: entry.sha256 for entry in entries if entry.variant == "fp32"}
    for entry in entries:
        trained = entry.role == "classifier" and int8_classifier is not None
        if entry.variant == "int8" and (trained or entry.sha256 in defaults_before):
            default[entry.role] = entry.sha256
    made_here = {entry.sha256 for entry in entries}
    sent = [entry for entry in before if entry.file == f"{entry.sha256}.onnx" and entry.sha256 not in made_here]
    return manifest_of(default, (*entries, *sent)), before


def _quantize_trained(state: Path, origin: str, int8: Path, data: Path) -> None:
    """Quantise a classifier that was trained with rounding, by the steps that it learned."""
    from .quantize import quantize

    net, record = _read(state)
    if not record.get("activation_steps"):
        raise ModelError(f"{state}: was not trained in int8; train it with the recipe int8, or leave it out")
    if str(record.get("start")).endswith(".onnx") and record.get("start_sha256", origin) not in (None, origin):
        raise ModelError(
            f"{state}: learned to answer as {record['start']} did ({record['start_sha256'][:12]}…), not as the "
            f"classifier here ({origin[:12]}…); train it with --start on this one"
        )
    with tempfile.TemporaryDirectory() as scratch:
        fp32 = Path(scratch) / "classifier.onnx"
        export_classifier(net, fp32)
        quantize(fp32, int8, "classifier", data, record["activation_steps"])


def _read(state: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a trained state to be exported."""
    net, record = load_trained(state)
    if not all(bool(torch.isfinite(values).all()) for values in net.state_dict().values()):
        raise ModelError(f"{state}: some of its numbers are not finite; its training diverged: give another one")
    return net, record


def _fp32(
    role: Role,
    state: Path | None,
    made: Path,
    folder: Path,
    manifest: WeightsManifest | None,
    crystal_shift: float,
    keep: float,
) -> ModelEntry:
    """Return the entry of a role's fp32 weights: exported from the state into `made`, or unchanged in the folder."""
    before = manifest.models if manifest else ()
    current = _in_use(manifest, role) if manifest else None
    if state is None:
        if current is None:
            raise ModelError(f"{folder}: there is no {role} here yet; give its trained state with --{role}")
        find_model(current.sha256, role, [folder])  # an error if the file is another one
        return current
    net, record = _read(state)
    name = record["network"]
    if (name in SEGMENTERS) != (role == "segmenter"):
        raise ModelError(f"{state}: {name} is not a {role}; give another trained state")
    file = made / f"{role}.onnx"
    if role == "segmenter":
        export_segmenter(net, file)
        return _entry(file, role, "fp32", name, before)
    if crystal_shift:
        shift_crystals(net, crystal_shift)
    if keep:
        if current is None:
            raise ModelError(f"{folder}: there is no classifier here to keep a share of; export without --keep")
        _, present = find_model(current.sha256, role, [folder])
        mix_in(net, rebuilt(present, name, str(folder / current.file)), keep)
    dense = NETWORKS[name].dense
    export_classifier(net, file, dense)
    return _entry(file, role, "fp32", name, before, dense)


def _in_use(manifest: WeightsManifest, role: Role) -> ModelEntry | None:
    """Return the entry of the default network's fp32 weights; a server's folder lists earlier networks, too."""
    named = {entry.sha256: entry for entry in manifest.models if entry.role == role}
    default = named.get(manifest.default.get(role, ""))
    fp32 = named.get(default.origin or default.sha256) if default else None
    return fp32 if fp32 and fp32.variant == "fp32" else None


def _entry(
    file: Path,
    role: Role,
    variant: Variant,
    architecture: str,
    before: tuple[ModelEntry, ...],
    dense: bool = False,
    origin: str = "",
) -> ModelEntry:
    """Return the manifest's entry of a file.

    Calibration and pooling are those of the role's previous weights of this variant, or else of any variant.
    """
    older = sorted((old for old in before if old.role == role), key=lambda old: old.variant != variant)
    return ModelEntry(
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        role=role,
        file=file.name,
        architecture=architecture,
        variant=variant,
        card=f"{role}.md",
        calibration=older[0].calibration if older else Calibration(),
        pooling=older[0].pooling if older else None,
        dense=dense,
        origin=origin,
    )
