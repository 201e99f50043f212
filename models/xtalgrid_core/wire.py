"""The wire format: all that is exchanged between server and worker.

A work unit is a zip of ``manifest.json`` (`Manifest`) and the images under neutral names; a result is ``result.json``
(`Result`). Both carry a schema version. Readers ignore unknown fields, so fields may be added without a new version; a
change of meaning requires a new version, and the previous one stays readable.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from .chops import STEP
from .combination import Combination as Combination
from .errors import FailureReason, ManifestError, ResultError
from .options import Boxes, Cutoff, Mode, Probability, RuleInUse, Sha256, Step, Zoom
from .options import Options as Options
from .outcomes import Outcome
from .possible import PossibleGroups as PossibleGroups

SCHEMA = 1
READABLE_SCHEMAS = (1,)

MANIFEST_NAME = "manifest.json"

UNIT_FILE = "unit.zip"
"""Name of a work unit in a worker's folder; this and the two below are logical names for BOINC."""

RESULT_FILE = "result.json"

WEIGHTS_FILE = "weights.json"
"""List of the weights sent beside a work unit (`weights.WeightsManifest`); the weights are ``<sha256>.onnx``."""

MAX_RESULT_BYTES = 64 * 1024 * 1024
"""Larger results are rejected; a result of 1,000 wells has 3 MB."""

MAX_RESULT_VALUES = 2_000_000
"""Maximum JSON values of a result, counted by commas: 1,000 wells have 200,000. Decoding takes 20 times the memory."""

MAX_IMAGES = 5_000

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""Larger image files are not read; a 2560×1920 TIFF has 15 MB."""

Pixel = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_FORBIDDEN = r"<>\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Markup, control characters, and characters that break a line or change its direction."""

ShortText = Annotated[str, msgspec.Meta(max_length=400, pattern=rf"^[^{_FORBIDDEN}]*\Z")]
"""Text from an untrusted worker: one line without markup; see `short_text`."""

UnitName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,100}\Z")]
"""Also used as a file name and in BOINC's shell commands, so no dots, blanks or slashes."""

FileName = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3,6}[a-z_]{0,10}\.[a-z]{3,4}\Z")]
"""A neutral file name in a work unit's zip."""

PixelBox = tuple[Pixel, Pixel, Pixel, Pixel]
"""``(row, col, height, width)`` in pixels of the original image."""

GroupProbabilities = tuple[Probability, Probability, Probability, Probability]
"""A probability for each of `outcomes.SCORED_GROUPS`; they sum to 1."""


class _WrittenOptions(Options, frozen=True, kw_only=True):
    """Options as read from a manifest: defaults for missing fields are those from before the fields existed."""

    rule: RuleInUse = "group"
    threshold: Cutoff = 0.85
    mode: Mode = "exact"
    step: Step = STEP
    n_boxes: Boxes = 5
    support: Probability = 0.3
    crystal_from: Cutoff = 0.2
    zoom: Zoom | None = None


class Companion(msgspec.Struct, frozen=True, kw_only=True):
    """Another image of the same drop, in the same zip. Reserved: no current worker uses it."""

    file: FileName
    sha256: Sha256


class ImageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a work unit: its name in the zip, its size in pixels, and its scale.

    If `pixel_size_um` is None, the worker guesses it from the size.
    """

    number: Annotated[int, msgspec.Meta(ge=0)]
    file: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3,6}\.[a-z]{3,4}\Z")]
    inspect_id: int
    sha256: Sha256
    height: Pixel | None = None
    width: Pixel | None = None
    pixel_size_um: float | None = None
    uv: Companion | None = None
    """The drop in UV light."""
    earlier: Companion | None = None
    """The drop at an earlier inspection."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A work unit's images and options. `min_worker`: the oldest worker version that may score it."""

    schema: int
    unit: UnitName
    min_worker: str
    options: Options
    images: Annotated[tuple[ImageEntry, ...], msgspec.Meta(min_length=1, max_length=MAX_IMAGES)]


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """The drop, in pixels of the original image; `box` is None if none was found.

    `confidence` is that of the detection, drop or no drop. `outline`: points ``(row, col)``, clockwise.
    """

    box: PixelBox | None
    outline: Annotated[tuple[tuple[Pixel, Pixel], ...], msgspec.Meta(max_length=1000)] = ()
    confidence: Probability


class BestChop(msgspec.Struct, frozen=True, kw_only=True):
    """One of the best chops, with its outcome and probability (of its group, unless the rule is ``published``)."""

    box: PixelBox
    outcome: Outcome
    probability: Probability


class SecondOpinion(msgspec.Struct, frozen=True, kw_only=True):
    """Groups' probabilities from a network of another kind, as it gives them."""

    model: Sha256
    groups: GroupProbabilities


class Scored(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag="scored"):
    """An image that was scored.

    `score` is the outcome's number (None for undecided). `probabilities` are the maxima of the 13 classes over all
    chops, in the order of `outcomes.CLASSES` (empty for a null experiment, which has no chops). `height` and `width`
    are those of the original, in pixels. `seconds` is CPU time.
    """

    number: int
    outcome: Outcome
    score: int | None
    probability: Probability
    p_crystal: Probability
    probabilities: Annotated[tuple[Probability, ...], msgspec.Meta(max_length=13)]
    height: Pixel
    width: Pixel
    pixel_size_um: float
    pixel_size_origin: ShortText
    drop: Drop
    boxes: Annotated[tuple[BestChop, ...], msgspec.Meta(max_length=100)]
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e6)]
    groups: GroupProbabilities | None = None
    """Probabilities of crystal, precipitate, other and clear; they sum to 1. None: from an old worker."""
    second_opinion: SecondOpinion | None = None
    """Of the network that the options name; None if they name none."""
    own_groups: GroupProbabilities | None = None
    """The first opinion: `groups` as they were before they were combined with the second; None if there is none."""
    looks_like_uv: bool = False
    """Whether the image is dark, as in UV light; then the networks, which learned bright field, may
    be wrong in all they say of it. False from an old worker, which did not look."""
    fluoresces: bool | None = None
    """Whether the crystals fluoresce in the UV image. Reserved, like the one below; None if not requested."""
    p_new: Probability | None = None
    """Probability that a crystal is new since the earlier inspection."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag="failed"):
    """An image that could not be scored, with the reason."""

    number: int
    reason: FailureReason
    detail: ShortText


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The computer that the worker ran on."""

    platform: ShortText = ""
    python: ShortText = ""
    runtime: ShortText = ""
    processor: ShortText = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a work unit: an answer for every image, in the manifest's order."""

    schema: int
    unit: UnitName
    worker: ShortText
    segmenter: Sha256
    classifier: Sha256
    host: Host
    images: Annotated[tuple[Scored | Failed, ...], msgspec.Meta(max_length=MAX_IMAGES)]


class _WrittenManifest(Manifest, frozen=True, kw_only=True):
    options: _WrittenOptions


Answer = Scored | Failed
"""The answer for one image."""

_encoder = msgspec.json.Encoder()
_manifests = msgspec.json.Decoder(_WrittenManifest)
_results = msgspec.json.Decoder(Result)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class _Version(msgspec.Struct):
    schema: int


def short_text(text: str) -> str:
    """Convert any text to `ShortText`: replace forbidden characters and unpaired surrogates, cut to 400 characters."""
    text = re.sub(f"[{_FORBIDDEN}]", "·", text.encode(errors="backslashreplace").decode())
    return text if len(text) <= 400 else text[:399] + "…"


def release(version: str) -> tuple[int, ...]:
    """Parse a version into comparable numbers: ``0.1.0.dev3`` → (0, 1). Anything else is older than all versions."""
    match = re.match(r"\d[\d.]*", version)
    if match is None:
        return (-1,)
    numbers = [int(number) for number in match[0].split(".") if number]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def encode(message: Manifest | Result | Answer | Options) -> bytes:
    """Encode a message as one line of JSON."""
    return _encoder.encode(message)


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises
    ------
    ManifestError
        If it is not valid JSON, has an unsupported schema, lacks fields, or has duplicate image numbers or names.
    """
    try:
        _check_schema(data)
        written = _manifests.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ManifestError(
            f"{MANIFEST_NAME}: {error}; make the work unit again with this version of the server"
        ) from error
    manifest = Manifest(
        schema=written.schema,
        unit=written.unit,
        min_worker=written.min_worker,
        options=Options(**msgspec.structs.asdict(written.options)),
        images=written.images,
    )
    for name, values in (("number", [i.number for i in manifest.images]), ("file", [i.file for i in manifest.images])):
        if len(set(values)) != len(values):
            raise ManifestError(f"{MANIFEST_NAME}: two images have the same {name}; make the work unit again")
    return manifest


def decode_result(data: bytes) -> Result:
    """Read an untrusted result.

    Raises
    ------
    ResultError
        If it is too large or not valid JSON, has an unsupported schema, or a value is out of range.
    """
    if len(data) > MAX_RESULT_BYTES:
        raise ResultError(f"{len(data)} bytes; at most {MAX_RESULT_BYTES} are read")
    if data.count(b",") > MAX_RESULT_VALUES:  # msgspec checks lengths only after decoding
        raise ResultError(f"more than {MAX_RESULT_VALUES} values")
    try:
        _check_schema(data)
        return _results.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ResultError(f"does not follow the wire format: {str(error)[:300]}") from error


def decode_answer(data: bytes) -> Answer:
    """Read the answer for one image, as in a checkpoint.

    Raises
    ------
    ResultError
        If it does not follow the format.
    """
    try:
        return _answers.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ResultError(str(error)[:300]) from error


def _check_schema(data: bytes) -> None:
    schema = msgspec.json.decode(data, type=_Version).schema
    if schema not in READABLE_SCHEMAS:
        raise ValueError(f"schema {schema} is not supported; this version reads {READABLE_SCHEMAS}")
