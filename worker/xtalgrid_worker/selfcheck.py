"""Check that the worker scores correctly on this computer: score a built-in well, and compare with the expected score.

The well is rendered. The expected scores, one for each pair of packaged weights, are made by
``python scripts/dev/make_selfcheck.py``, and must be renewed whenever the weights, or scores in general, change.
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
"""Pixel size of the well's image."""

TOLERANCE = 1e-3
"""Maximum difference from the expected probabilities.

Processors with different vector instructions sum in different orders, as do different kernels of ONNX Runtime, which
makes a difference of about 1e-6. Sums of int8 products are exact everywhere (`xtalgrid_nets.quantize.LARGEST_WEIGHT`).
"""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """The score of the well with one pair of weights; for the fields see `wire.Scored`."""

    segmenter: str
    classifier: str
    outcome: Outcome
    probability: float
    probabilities: tuple[float, ...]
    p_crystal: float
    drop_confidence: float

    def difference(self, other: Score) -> float:
        """Return the largest difference between corresponding probabilities."""
        first, second = ((*s.probabilities, s.probability, s.p_crystal, s.drop_confidence) for s in (self, other))
        return max(abs(a - b) for a, b in zip(first, second, strict=True))


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``expected.json``; `well` is the SHA-256 of the image."""

    well: str
    scores: tuple[Score, ...]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Result of checking one pair of weights, with a line of text for people."""

    passed: bool
    text: str


def pairs() -> list[tuple[str, str]]:
    """Return the SHA-256 of the packaged (segmenter, classifier): the defaults first, then their other variants.

    Raises
    ------
    BrokenModel
        If the manifest cannot be read.
    """
    pairs = {weights.default_models(): None}
    variants: tuple[weights.Variant, ...] = ("fp32", "int8")
    for variant in variants:
        try:
            pairs[weights.default_models(variant=variant)] = None
        except UnknownModel:
            continue
    return list(pairs)


def score_well(segmenter: str, classifier: str, threads: int = 1) -> Score:
    """Score the well as `xtalgrid-worker score` does.

    Raises
    ------
    ModelError
        If the weights cannot be used.
    ImageError
        If the well cannot be scored.
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


def check(threads: int = 1) -> Iterator[Check]:
    """Check each pair of packaged weights.

    Raises
    ------
    ModelError
        If weights cannot be used, or the expected scores cannot be read.
    ImageError
        If the well cannot be scored.
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
            yield Check(passed=False, text=f"{name}: no expected score; run scripts/dev/make_selfcheck.py")
            continue
        yield _compare(name, score_well(*pair, threads=threads), expected[pair])


def _compare(name: str, score: Score, expected: Score) -> Check:
    if score.outcome != expected.outcome or len(score.probabilities) != len(expected.probabilities):
        return Check(passed=False, text=f"{name}: {score.outcome}, expected {expected.outcome}")
    difference = score.difference(expected)
    text = f"{name}: {score.outcome}, probabilities differ by {difference:.1g} (at most {TOLERANCE:g} is allowed)"
    return Check(passed=difference <= TOLERANCE, text=text)
