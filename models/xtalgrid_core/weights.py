"""The networks' weights: identified by SHA-256, listed in a manifest, and rejected if a byte differs.

A folder of weights holds ``manifest.json`` (`WeightsManifest`) and the ONNX files it lists. The package contains one
such folder; others are sent beside a work unit.

A segmenter maps ``image``, ``(1, 3, SEGMENTER_SIDE, SEGMENTER_SIDE)`` float32 from `images.network_input`, to ``mask``,
``(1, 1, SEGMENTER_SIDE, SEGMENTER_SIDE)``: the probability that each pixel lies in the drop.

A classifier maps ``image``, ``(N, 3, H, W)`` from `images.network_input`, to ``class_map``, ``(N, 13, h, w)``: logits
in the order of `outcomes.CLASSES`. The probabilities of a chop are the softmax of the mean over its cells. A `dense`
classifier takes any H and W of at least a chop, and has a cell every `chops.STRIDE` pixels, `chops.CELLS` × `CELLS`
per chop. Other classifiers take only chops, ``(N, 3, CHOP, CHOP)``, and return a single cell.

A network may also have an input `PIXELS` with an empty default, for pictures as they are, ``(N, H, W, 3)`` uint8; if it
is given, ``image`` doesn't count (`xtalgrid_nets.quantize`).

A second opinion is the published MARCO network. It maps ``image``, ``(N, 3, 599, 599)`` float32, 0..255, which
`xtalgrid_scoring.second_opinion.network_input` makes of a whole picture, to ``logits``, ``(N, 4)``, in the order of
`outcomes.SCORED_GROUPS`, whose softmax are the groups' probabilities, and ``features``, ``(N, 1056)``, the input of the
last layer. It lies in a folder of its own, which may be `SECOND_OPINION` inside a folder of weights, because readers
that do not know this role refuse a manifest that has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from .chops import CHOP
from .combination import Combination
from .decision import Calibration
from .errors import BrokenModel, ConfigError, UnknownModel
from .onnx_files import with_note
from .options import Options
from .pooling import Pooling
from .possible import PossibleGroups

PACKAGED = Path(__file__).parent / "weights"
MANIFEST = "manifest.json"

_MAX_MANIFEST_BYTES = 16 * 1024 * 1024

_MAX_BYTES = 512 * 1024 * 1024
"""Larger weights are not read; MARCO's network, the largest, has 87 MB."""

PIXELS = "pixels"
"""Name of a network's input for pictures as they are."""

SECOND_OPINION = "second-opinion"
"""Name of a folder of weights inside another that is found with it."""

Role = Literal["segmenter", "classifier", "second_opinion"]
Variant = Literal["fp32", "int8"]
PlainName = Annotated[str, msgspec.Meta(pattern=r"^(?!\.\.?\Z)[^/\\\x00]*\Z")]
"""Name of a file in the folder itself."""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One weight file: its role, and how its probabilities become `p_crystal`."""

    sha256: str
    role: Role
    file: PlainName
    architecture: str
    variant: Variant
    card: PlainName
    """File name of the model card, beside the weights."""
    calibration: Calibration = msgspec.field(default_factory=Calibration)
    """Used by the rules ``published`` and ``group``."""
    pooling: Pooling | None = None
    """Of a classifier; required by the rules ``pooled`` and ``combined``."""
    combination: Combination | None = None
    """Of a second opinion; required to score with it. Of a classifier adapted together with one: takes the place of
    that one's own. Options carry a copy, and only that is used."""
    combined_with: str = ""
    """Of such a classifier: SHA-256 of the second opinion that its combination is for."""
    possible: PossibleGroups | None = None
    """Of a classifier; of a second opinion, and of a classifier with a combination, for the combined probabilities.
    Options carry a copy."""
    dense: bool = False
    """Whether all chops of a drop can be classified from one class map of it."""
    origin: str = ""
    """For int8 weights, the SHA-256 of the fp32 weights they were made from."""


class WeightsManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``manifest.json``; `default` names one model for each role by its SHA-256; see `manifest_of`."""

    schema: Literal[1, 2]
    default: Mapping[Role, str]
    models: tuple[ModelEntry, ...]


def manifest_of(default: Mapping[Role, str], models: Iterable[ModelEntry]) -> WeightsManifest:
    """Return a manifest that lists models.

    It has schema 2 if a pooling is for chops of other sizes than `CHOP`: readers of 1, such as older workers, would
    ignore that (docs/decisions/0043-chops-of-two-sizes.md). They refuse 2, and go on to read what has none of these.
    """
    models = tuple(models)
    has_sizes = any(model.pooling is not None and model.pooling.chop_sizes != (CHOP,) for model in models)
    return WeightsManifest(schema=2 if has_sizes else 1, default=default, models=models)


def read_manifest(folder: Path = PACKAGED) -> WeightsManifest:
    """Read a folder's manifest.

    Raises
    ------
    BrokenModel
        If it is missing or does not follow the format.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(_read(path, _MAX_MANIFEST_BYTES), type=WeightsManifest)
    except OSError as error:
        raise BrokenModel(f"{path}: cannot read the list of weights ({error.strerror}); {_remedy(folder)}") from error
    except msgspec.DecodeError as error:
        raise BrokenModel(f"{path}: {error}; {_remedy(folder)}") from error


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise BrokenModel(f"{path}: more than {limit:,} bytes; {_remedy(path.parent)}")
    return data


def _remedy(folder: Path) -> str:
    return "reinstall xtalgrid" if folder == PACKAGED else "use a complete folder of exported weights"


def default_models(folder: Path = PACKAGED, variant: Variant | None = None) -> tuple[str, str]:
    """Return the SHA-256 of the default (segmenter, classifier), or of their fp32 or int8 variants.

    A segmenter without an int8 variant has its fp32 weights in both: it takes a small part of the time.

    Raises
    ------
    BrokenModel
        If the manifest cannot be read.
    UnknownModel
        If a default model has no such variant in the folder.
    """
    manifest = read_manifest(folder)
    quantised = {entry.role for entry in manifest.models if entry.variant == "int8"}
    segmenter = "fp32" if variant == "int8" and "segmenter" not in quantised else variant
    return _default(manifest, "segmenter", segmenter), _default(manifest, "classifier", variant)


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
        f"unknown model: {role} {default[:12]}… has no {variant} variant here; "
        "make one with `xtalgrid-train export --int8`"
    )


def default_options(folder: Path = PACKAGED, variant: Variant | None = None, **changes: Any) -> Options:
    """Return production's options with the default weights of a folder, or their fp32 or int8 variants.

    Parameters
    ----------
    folder
        Of weights.
    variant
        ``fp32`` or ``int8``; None for the default weights themselves.
    **changes
        Options that differ from production's.

    Raises
    ------
    ModelError
        See `default_models`.
    ConfigError
        If options contradict each other.
    """
    segmenter, classifier = default_models(folder, variant)
    possible = next((entry.possible for entry in read_manifest(folder).models if entry.sha256 == classifier), None)
    try:
        return Options(segmenter=segmenter, classifier=classifier, **({"possible": possible} | changes))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def with_second_opinion(options: Options, entry: ModelEntry, folders: Iterable[Path] = ()) -> Options:
    """Return the options with a second opinion beside the rule ``pooled``.

    They carry how it is combined, so that everyone who scores with them combines it alike: as the classifier's entry in
    one of `folders` says, if it was adapted together with this second opinion, else as the second opinion's own does.

    Raises
    ------
    ConfigError
        If the rule is another one.
    BrokenModel
        If the entry has no combination.
    """
    if options.rule != "pooled":
        raise ConfigError(f"a second opinion is combined with the rule pooled, not with {options.rule}; use that rule")
    if entry.combination is None:
        raise BrokenModel(
            f"second opinion {entry.sha256[:12]}… has no combination; "
            "fit one with `xtalgrid-train judge second-opinion`, or import it again"
        )
    adapted = (
        model
        for folder in folders
        for model in (read_manifest(folder).models if (folder / MANIFEST).is_file() else ())
        if (model.sha256, model.combined_with) == (options.classifier, entry.sha256)
    )
    used = next(adapted, entry)
    return msgspec.structs.replace(
        options,
        rule="combined",
        second_opinion=entry.sha256,
        combination=used.combination,
        possible=used.possible,
    )


def second_opinion_at(path: Path) -> tuple[ModelEntry, Path]:
    """Return the entry of a second opinion, and its folder.

    Parameters
    ----------
    path
        The folder, for its default network, or one of its ONNX files.

    Raises
    ------
    ModelError
        If there is none.
    """
    folder = path if path.is_dir() else path.parent
    manifest = read_manifest(folder)
    default = manifest.default.get("second_opinion")
    for entry in manifest.models:
        if entry.role == "second_opinion" and (entry.sha256 == default if path.is_dir() else entry.file == path.name):
            return entry, folder
    raise UnknownModel(
        f"unknown model: no second opinion at {path}; `xtalgrid-train import marco` makes a folder with one"
    )


DECISION = "xtalgrid.decision"
"""Key of the note in the file of a calibrated or adapted classifier that says what decides."""


def named_by_decision(entry: ModelEntry, data: bytes) -> tuple[ModelEntry, bytes]:
    """Write what decides a well, that is all of an entry but the network, into the network's file.

    So a network with another pooling has another SHA-256: what a unit names stands for one score. Returns the entry
    with the new name, and the file's new content.
    """
    decision = msgspec.json.encode(
        (entry.calibration, entry.pooling, entry.combination, entry.combined_with, entry.possible)
    )
    named = with_note(data, DECISION, decision.decode())
    return msgspec.structs.replace(entry, sha256=hashlib.sha256(named).hexdigest()), named


def no_pooling(entry: ModelEntry) -> str:
    """Return the error message for weights without a pooling under a rule that needs it."""
    return (
        f"classifier {entry.sha256[:12]}… has no pooling, which the rule `pooled` needs: "
        "fit one with `xtalgrid-train judge calibrate`, or use the rule `group`"
    )


def find_model(sha256: str, role: Role, folders: Iterable[Path] = ()) -> tuple[ModelEntry, bytes]:
    """Return the entry and the bytes of the weights with this hash, from `folders` or else the package.

    Each folder is searched with the folder `SECOND_OPINION` in it.

    Raises
    ------
    UnknownModel
        If no manifest lists them for this role.
    BrokenModel
        If a manifest is invalid, or the file is missing or too large, or has another hash.
    """
    for folder in _with_second_opinions((*folders, PACKAGED)):
        for entry in read_manifest(folder).models if (folder / MANIFEST).is_file() else ():
            if entry.sha256 == sha256 and entry.role == role:
                path = folder / entry.file
                data = _read(path, _MAX_BYTES) if path.is_file() else b""
                if hashlib.sha256(data).hexdigest() != sha256:
                    raise BrokenModel(
                        f"{path}: missing, or its content does not match {sha256[:12]}…; {_remedy(folder)}"
                    )
                return entry, data
    raise UnknownModel(
        f"unknown model: {role.replace('_', ' ')} {sha256[:12]}… is not available here; update this worker, "
        "or have the weights sent with the work unit"
    )


def _with_second_opinions(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield folder
        yield folder / SECOND_OPINION
