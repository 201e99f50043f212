"""The wire format: what travels between server and worker, and nothing else does.

A work unit is a zip of ``manifest.json`` (`Manifest`) and the images under neutral names; a result is ``result.json``
(`Result`). Both carry a schema version. Readers ignore fields they don't know, so a field may be added without a new
version; a change of meaning takes a new one, and the previous version stays readable.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from .chops import STEP
from .errors import FailureReason, ManifestError, ResultError
from .options import Mode, Probability, Rule, Sha256, Step
from .options import Options as Options
from .outcomes import Outcome

SCHEMA = 1
READABLE_SCHEMAS = (1,)

MANIFEST_NAME = "manifest.json"

UNIT_FILE = "unit.zip"
"""A work unit's name in the folder where a worker runs: BOINC's logical name, as the two below."""

RESULT_FILE = "result.json"

WEIGHTS_FILE = "weights.json"
"""The list of the weights that came beside a unit (`weights.WeightsManifest`); they themselves are ``<sha256>.onnx``."""

MAX_RESULT_BYTES = 64 * 1024 * 1024
"""A result of 1,000 wells is 3 MB; what is larger than this is not read."""

MAX_RESULT_VALUES = 2_000_000
"""JSON values of a result, counted by their commas: 1,000 wells have 200,000. In memory a value takes twenty times its bytes."""

MAX_IMAGES = 5_000

MAX_IMAGE_BYTES = 64 * 1024 * 1024
"""A file of more bytes, unpacked, is not read: a 2560×1920 TIFF has 15 MB."""

Pixel = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_NO_TEXT = r"<>\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Markup, control characters, and those that break a line or turn its direction."""

ShortText = Annotated[str, msgspec.Meta(max_length=400, pattern=rf"^[^{_NO_TEXT}]*\Z")]
"""Text of somebody's worker: one line without markup. `short_text` makes it."""

UnitName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,100}\Z")]
"""Also a file name and a word of BOINC's shell lines, so no dots, blanks or slashes."""

FileName = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3,6}[a-z_]{0,10}\.[a-z]{3,4}\Z")]
"""A neutral name inside a work unit's zip."""

PixelBox = tuple[Pixel, Pixel, Pixel, Pixel]
"""``(row, col, height, width)`` in pixels of the original image."""


GroupProbabilities = tuple[Probability, Probability, Probability, Probability]
"""A probability for each of `outcomes.SCORED_GROUPS`; they sum to 1."""


class _WrittenOptions(Options, frozen=True, kw_only=True):
    """Options as a manifest has them: what one leaves out means what it meant before it could be said."""

    rule: Rule = "group"
    mode: Mode = "exact"
    step: Step = STEP


class Companion(msgspec.Struct, frozen=True, kw_only=True):
    """Another image of the same drop, in the same zip. Reserved: no worker of today looks at one."""

    file: FileName
    sha256: Sha256


class ImageEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a work unit: its name in the zip, its size in pixels, and its scale.

    `pixel_size_um` is None where the worker is to guess it from the size.
    """

    number: Annotated[int, msgspec.Meta(ge=0)]
    file: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3,6}\.[a-z]{3,4}\Z")]
    inspect_id: int
    sha256: Sha256
    height: Pixel | None = None
    width: Pixel | None = None
    pixel_size_um: float | None = None
    uv: Companion | None = None
    """The drop under ultraviolet light."""
    earlier: Companion | None = None
    """The drop at an earlier inspection."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a work unit asks for. `min_worker`: the oldest worker version that may answer."""

    schema: int
    unit: UnitName
    min_worker: str
    options: Options
    images: Annotated[tuple[ImageEntry, ...], msgspec.Meta(min_length=1, max_length=MAX_IMAGES)]


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """Where the drop is, in pixels of the original image; `box` is None when none was found.

    `confidence` is that of the answer. `outline`: points ``(row, col)``, clockwise.
    """

    box: PixelBox | None
    outline: Annotated[tuple[tuple[Pixel, Pixel], ...], msgspec.Meta(max_length=1000)] = ()
    confidence: Probability


class BestChop(msgspec.Struct, frozen=True, kw_only=True):
    """One of the n best chops: where, and what it says by the unit's rule (``group``: the probability of the whole group)."""

    box: PixelBox
    outcome: Outcome
    probability: Probability


class SecondOpinion(msgspec.Struct, frozen=True, kw_only=True):
    """What a network of another kind says of the whole well. Reserved: no worker of today has one."""

    model: Sha256
    groups: GroupProbabilities


class Scored(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag="scored"):
    """An image that was scored.

    `score` is the outcome's number (None for undecided), `probabilities` the largest of each of the 13 classes over all
    chops, in the order of `outcomes.CLASSES` (empty for a null experiment, which has no chops). `height` and `width` are the
    original's, in pixels. `seconds` is CPU time.
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
    """Probabilities of crystal, precipitate, other and clear; they sum to 1. None: by a worker that is too old to say."""
    second_opinion: SecondOpinion | None = None
    """Reserved, as are the following: None where it was not asked for."""
    fluoresces: bool | None = None
    """Whether the crystals do, in the UV image."""
    p_new: Probability | None = None
    """That a crystal was not there at the earlier inspection."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag="failed"):
    """An image that could not be scored, and why."""

    number: int
    reason: FailureReason
    detail: ShortText


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker ran on."""

    platform: ShortText = ""
    python: ShortText = ""
    runtime: ShortText = ""
    processor: ShortText = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a work unit: every image of its manifest, scored or failed, in the manifest's order."""

    schema: int
    unit: UnitName
    worker: ShortText
    segmenter: Sha256
    classifier: Sha256
    host: Host
    images: Annotated[tuple[Scored | Failed, ...], msgspec.Meta(max_length=MAX_IMAGES)]


class _WrittenManifest(Manifest, frozen=True, kw_only=True):
    options: _WrittenOptions


Image = Scored | Failed
_encoder = msgspec.json.Encoder()
_manifests = msgspec.json.Decoder(_WrittenManifest)
_results = msgspec.json.Decoder(Result)
_images: msgspec.json.Decoder[Scored | Failed] = msgspec.json.Decoder(Image)


class _Version(msgspec.Struct):
    schema: int


def short_text(text: str) -> str:
    """Any text as `ShortText`: what it may not hold replaced, 400 characters, no half surrogates of odd file names."""
    text = re.sub(f"[{_NO_TEXT}]", "·", text.encode(errors="backslashreplace").decode())
    return text if len(text) <= 400 else text[:399] + "…"


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, for telling which is older: ``0.1.0.dev3`` → (0, 1). What is no version is older than all."""
    match = re.match(r"\d[\d.]*", version)
    if match is None:
        return (-1,)
    numbers = [int(number) for number in match[0].split(".") if number]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def encode(message: Manifest | Result | Scored | Failed | Options) -> bytes:
    """One line of JSON."""
    return _encoder.encode(message)


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises
    ------
    ManifestError
        When it is no JSON, of a schema that is not readable, lacks fields, or numbers or names images twice.
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
    for what, values in (("number", [i.number for i in manifest.images]), ("file", [i.file for i in manifest.images])):
        if len(set(values)) != len(values):
            raise ManifestError(f"{MANIFEST_NAME}: two images have the same {what}; make the work unit again")
    return manifest


def decode_result(data: bytes) -> Result:
    """Read a result, trusting nothing.

    Raises
    ------
    ResultError
        When it is too large, no JSON, of a schema that is not readable, or a value lies outside its range.
    """
    if len(data) > MAX_RESULT_BYTES:
        raise ResultError(f"{len(data)} bytes; at most {MAX_RESULT_BYTES} are read")
    if data.count(b",") > MAX_RESULT_VALUES:  # lists are measured after they are in memory
        raise ResultError(f"more than {MAX_RESULT_VALUES} values")
    try:
        _check_schema(data)
        return _results.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ResultError(f"does not follow the wire format: {str(error)[:300]}") from error


def decode_image(data: bytes) -> Image:
    """Read one image's answer, as a checkpoint holds it.

    Raises
    ------
    ResultError
        When it does not follow the format.
    """
    try:
        return _images.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ResultError(str(error)[:300]) from error


def _check_schema(data: bytes) -> None:
    schema = msgspec.json.decode(data, type=_Version).schema
    if schema not in READABLE_SCHEMAS:
        raise ValueError(f"schema {schema} is not among those this version reads {READABLE_SCHEMAS}")
