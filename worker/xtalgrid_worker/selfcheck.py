"""Whether the worker scores on this computer as it should: a built-in well is scored and compared with what is expected.

The well is rendered. The expectation stands beside it, one for each pair of packaged weights, made where the weights were packaged by
``python scripts/dev/make_selfcheck.py``. It goes stale with the weights, and with whatever changes a score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from xtalgrid_core import weights, wire
from xtalgrid_core.errors import BrokenModel, UnknownModel
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import Outcome
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.score import score_image

WELL = Path(__file__).parent / "check" / "well.jpg"
EXPECTED = Path(__file__).parent / "check" / "expected.json"

PIXEL_SIZE_UM = 2.4
"""Of the well."""

TOLERANCE = {"fp32": 1e-3, "int8": 0.05}
"""How far probabilities may lie from the expected ones.

Processors sum in different orders, by their vector instructions: in fp32 that makes about 1e-6, and the same as ONNX Runtime's other kernels
do on one processor. Processors without 8-bit dot products saturate int8 sums, which makes a few hundredths.
"""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """What a pair of weights says of the well; probabilities as in `wire.Scored`."""

    segmenter: str
    classifier: str
    outcome: Outcome
    probability: float
    probabilities: tuple[float, ...]
    p_crystal: float
    drop_confidence: float

    def difference(self, other: Score) -> float:
        """The largest difference of any two probabilities."""
        ours, theirs = ((*s.probabilities, s.probability, s.p_crystal, s.drop_confidence) for s in (self, other))
        return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What ``expected.json`` holds; `well` is the SHA-256 of the picture."""

    well: str
    scores: tuple[Score, ...]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of weights, checked: what was found, in a line for people, and whether it is right."""

    passed: bool
    said: str


def pairs() -> list[tuple[str, str]]:
    """SHA-256 of the packaged (segmenter, classifier): the default ones first, then their other variants.

    Raises
    ------
    BrokenModel
        When the manifest cannot be read.
    """
    found = {weights.default_models(): None}
    variants: tuple[weights.Variant, ...] = ("fp32", "int8")
    for variant in variants:
        try:
            found[weights.default_models(variant=variant)] = None
        except UnknownModel:
            continue
    return list(found)


def score_well(segmenter: str, classifier: str, threads: int = 1) -> Score:
    """Score the well as `xtalgrid-worker score` does it.

    Raises
    ------
    ModelError
        When the weights cannot be used.
    ImageError
        When the well cannot be scored.
    """
    options = Options(segmenter=segmenter, classifier=classifier)
    data = WELL.read_bytes()
    entry = wire.ImageEntry(
        number=0,
        file="000.jpg",
        inspect_id=0,
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_size_um=PIXEL_SIZE_UM,
    )
    answer = score_image(data, entry, options, Networks.load(options, threads=threads))
    return Score(
        segmenter=segmenter,
        classifier=classifier,
        outcome=answer.outcome,
        probability=answer.probability,
        probabilities=answer.probabilities,
        p_crystal=answer.p_crystal,
        drop_confidence=answer.drop.confidence,
    )


def tolerance(*sha256s: str) -> float:
    """How far these weights' probabilities may lie from the expected ones: as far as the coarsest may."""
    return max(TOLERANCE[entry.variant] for entry in weights.read_manifest().models if entry.sha256 in sha256s)


def check(threads: int = 1) -> Iterator[Check]:
    """Check each pair of packaged weights.

    Raises
    ------
    ModelError
        When weights cannot be used, or the expectation cannot be read.
    ImageError
        When the well cannot be scored.
    """
    try:
        expectation = msgspec.json.decode(EXPECTED.read_bytes(), type=Expectation)
        well = hashlib.sha256(WELL.read_bytes()).hexdigest()
    except (OSError, msgspec.DecodeError) as error:
        raise BrokenModel(f"{EXPECTED.parent}: {error}; reinstall xtalgrid") from error
    expected = {(score.segmenter, score.classifier): score for score in expectation.scores}
    for pair in pairs():
        name = f"segmenter {pair[0][:12]}, classifier {pair[1][:12]}"
        if pair not in expected or expectation.well != well:
            yield Check(passed=False, said=f"{name}: nothing is expected of these; run scripts/dev/make_selfcheck.py")
            continue
        yield _compared(name, score_well(*pair, threads=threads), expected[pair], tolerance(*pair))


def _compared(name: str, found: Score, expected: Score, most: float) -> Check:
    if found.outcome != expected.outcome or len(found.probabilities) != len(expected.probabilities):
        return Check(passed=False, said=f"{name}: {found.outcome}, expected {expected.outcome}")
    difference = found.difference(expected)
    said = f"{name}: {found.outcome}, probabilities within {difference:.1g} of the expected ones, {most:g} is allowed"
    return Check(passed=difference <= most, said=said)
