"""The networks' weights: named by SHA-256, listed in a manifest, refused when a byte differs.

A folder of weights holds ``manifest.json`` (`WeightsManifest`) and the ONNX files it lists. The package carries one
such folder; others travel beside a work unit.

A segmenter takes ``image``, ``(1, 3, SEGMENTER_SIDE, SEGMENTER_SIDE)`` float32 as `images.network_input` makes it, and
gives ``mask``, ``(1, 1, SEGMENTER_SIDE, SEGMENTER_SIDE)``: each pixel's probability of lying in the drop.

A classifier takes ``image``, ``(N, 3, H, W)``, made likewise, and gives ``class_map``, ``(N, 13, h, w)``: logits in the order of
`outcomes.CLASSES`. The probabilities of a chop are the softmax of the mean over its cells. One that is `dense` takes any H and W
of at least a chop, and has a cell each `chops.STRIDE` pixels, `chops.CELLS` by `CELLS` to a chop; the others take chops alone,
``(N, 3, CHOP, CHOP)``, and give one cell.

A second opinion is the published MARCO network. It takes ``image``, ``(N, 3, 599, 599)`` float32, 0..255, as `second_opinion.network_input` of the
package `xtalgrid_scoring` makes it of a whole picture, and gives ``logits``, ``(N, 4)``, in the order of `outcomes.SCORED_GROUPS`, whose softmax are
the groups' probabilities, and ``features``, ``(N, 1056)``, which the last layer makes the logits of. It lies in a folder of its own: readers from
before there was this role refuse a manifest that has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from .decision import Calibration
from .errors import BrokenModel, UnknownModel
from .options import Options
from .pooling import Pooling

PACKAGED = Path(__file__).parent / "weights"
MANIFEST = "manifest.json"

Role = Literal["segmenter", "classifier", "second_opinion"]
Variant = Literal["fp32", "int8"]


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One weight file: what it is for, and how its probabilities become `p_crystal`."""

    sha256: str
    role: Role
    file: str
    architecture: str
    variant: Variant
    card: str
    """File of the model card, beside the weights."""
    calibration: Calibration = msgspec.field(default_factory=Calibration)
    """By the rules ``published`` and ``group``."""
    pooling: Pooling | None = None
    """A classifier's, without which the rule ``pooled`` cannot decide."""
    dense: bool = False
    """A classifier whose class map of a whole drop serves all of its chops."""
    origin: str = ""
    """SHA-256 of the fp32 weights that int8 ones were made from."""


class WeightsManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``manifest.json`` holds; `default` names one model of each role by its SHA-256."""

    schema: Literal[1]
    default: Mapping[Role, str]
    models: tuple[ModelEntry, ...]


def read_manifest(folder: Path = PACKAGED) -> WeightsManifest:
    """Read a folder's manifest.

    Raises
    ------
    BrokenModel
        When there is none, or it does not follow the format.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=WeightsManifest)
    except OSError as error:
        raise BrokenModel(f"{path}: no list of weights here ({error.strerror}); {_cure(folder)}") from error
    except msgspec.DecodeError as error:
        raise BrokenModel(f"{path}: {error}; {_cure(folder)}") from error


def _cure(folder: Path) -> str:
    return "reinstall xtalgrid" if folder == PACKAGED else "give a folder of weights as it was exported"


def default_models(folder: Path = PACKAGED, variant: Variant | None = None) -> tuple[str, str]:
    """SHA-256 of the default (segmenter, classifier), or of their fp32 or int8 variant.

    Raises
    ------
    BrokenModel
        When the manifest cannot be read.
    UnknownModel
        When a default model has no such variant here.
    """
    manifest = read_manifest(folder)
    return _default(manifest, "segmenter", variant), _default(manifest, "classifier", variant)


def _default(manifest: WeightsManifest, role: Role, variant: Variant | None) -> str:
    default = manifest.default.get(role)
    if default is None:
        raise UnknownModel(
            f"unknown model: no {role} here; give a folder of weights that has a segmenter and a classifier"
        )
    if variant is None:
        return default
    entries = [entry for entry in manifest.models if entry.role == role]
    made_from = {entry.sha256: entry.origin or entry.sha256 for entry in entries}
    for entry in entries:
        if entry.variant == variant and made_from[entry.sha256] == made_from.get(default, default):
            return entry.sha256
    raise UnknownModel(
        f"unknown model: no {variant} variant of the {role} {default[:12]}… here; xtalgrid-train export --int8 makes one"
    )


def default_options(folder: Path = PACKAGED, variant: Variant | None = None, **changes: Any) -> Options:
    """Production's options with the default weights of a folder, or their fp32 or int8 variant.

    Parameters
    ----------
    changes
        Any of the options, by name.

    Raises
    ------
    ModelError
        As `default_models`.
    """
    segmenter, classifier = default_models(folder, variant)
    return Options(segmenter=segmenter, classifier=classifier, **changes)


def no_pooling(entry: ModelEntry) -> str:
    """The error of weights that the rule ``pooled`` is asked of and cannot decide for."""
    return (
        f"classifier {entry.sha256[:12]}… has no pooling, which the rule `pooled` needs: `xtalgrid-train judge calibrate` "
        "fits it to the folder's weights; or take the rule `group`"
    )


def find_model(sha256: str, role: Role, folders: Iterable[Path] = ()) -> tuple[ModelEntry, bytes]:
    """The entry and the bytes of the weights with this hash, from `folders` or else the package.

    Raises
    ------
    UnknownModel
        When no manifest lists it for this role.
    BrokenModel
        When the file's bytes have another hash.
    """
    for folder in (*folders, PACKAGED):
        for entry in read_manifest(folder).models if (folder / MANIFEST).is_file() else ():
            if entry.sha256 == sha256 and entry.role == role:
                path = folder / entry.file
                data = path.read_bytes() if path.is_file() else b""
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise BrokenModel(
                        f"{path}: missing, or its bytes are not those named {sha256[:12]}…; {_cure(folder)}"
                    )
                return entry, data
    raise UnknownModel(
        f"unknown model: no {role} named {sha256[:12]}… here; this worker carries other weights than the work unit asks "
        "for: update it, or have the weights sent beside the work unit"
    )
