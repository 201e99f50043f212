"""What may be accepted, stated without the server's code: a second reading of the wire format, to judge the validator.

A result is harmless if an honest worker could have given it for this unit. It is strict JSON (no NaN, no infinities).
Its unit, models and images are those of the manifest, in the same order. Each answer is a reason from the fixed list,
or an outcome of Table 1 (or undecided) with its score number, probabilities of 0 to 1, boxes inside the image, and the
image's own size and scale; the probabilities allow the outcome. All text is one line of at most 400 printable
characters without markup.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator
from typing import Any

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import CLASSES, Group, Outcome

SCORES = {
    "crystals harvestable": 23,
    "crystals bad form": 22,
    "crystals overnucleated": 21,
    "precipitate": 13,
    "precipitate bad": 12,
    "precipitate good": 11,
    "null experiment": 34,
    "other": 33,
    "spherulites": 32,
    "phase separation": 31,
    "clear": 1,
    "clear with other features": 2,
    "undecided": None,
}
FIELDS = set(wire.Scored.__struct_fields__)
ROUNDING = 2e-3


def objection(data: bytes, asked: wire.Manifest) -> str:
    """Say why an accepted result is not harmless; empty if it is."""
    try:
        result = json.loads(data, parse_constant=lambda name: math.nan)
    except ValueError as error:
        return f"no JSON: {error}"
    options = asked.options
    given = (result["unit"], result["segmenter"], result["classifier"])
    if given != (asked.unit, options.segmenter, options.classifier):
        return "another unit or other models"
    if [image["number"] for image in result["images"]] != [entry.number for entry in asked.images]:
        return "other images"
    texts = [result["worker"], *(result["host"].get(name, "") for name in wire.Host.__struct_fields__)]
    for entry, image in zip(asked.images, result["images"], strict=True):
        if image["status"] == "failed":
            if image["reason"] not in list(FailureReason):
                return f"reason {image['reason']!r}"
            texts.append(image["detail"])
            continue
        texts.append(image["pixel_size_origin"])
        why = "; ".join(_scored(image, entry, options))
        if why:
            return f"image {entry.number}: {why}"
    return next((f"text {text!r:.60}" for text in texts if not _is_plain(text)), "")


def _scored(image: dict[str, Any], entry: wire.ImageEntry, options: wire.Options) -> Iterator[str]:
    """Yield what is wrong with an image's score."""
    outcome = image["outcome"]
    if outcome not in SCORES or image["score"] != SCORES[outcome]:
        yield f"{outcome} with score {image['score']}"
        return
    chances = [image["probability"], image["p_crystal"], image["drop"]["confidence"], *image["probabilities"]]
    chances += [box["probability"] for box in image["boxes"]]
    if not all(isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1 for p in chances):
        yield "a probability out of range"
    if (image["height"], image["width"]) != (entry.height, entry.width):
        yield "another size"
    if entry.pixel_size_um and abs(image["pixel_size_um"] / entry.pixel_size_um - 1) > 0.01:
        yield "another scale"
    if not 0 <= image["seconds"] < 1e7:
        yield "seconds"
    yield from _boxes(image, entry, options)
    yield from _probabilities(image, options)


def _boxes(image: dict[str, Any], entry: wire.ImageEntry, options: wire.Options) -> Iterator[str]:
    boxes = [box["box"] for box in image["boxes"]] + [image["drop"]["box"]] * (image["drop"]["box"] is not None)
    for row, col, height, width in boxes:
        if min(row, col) < 0 or min(height, width) < 1 or row + height > entry.height or col + width > entry.width:
            yield "a box outside the image"
    if len(image["boxes"]) > options.n_boxes or len(image["drop"].get("outline", ())) > 1000:
        yield "too many boxes or points"


def _probabilities(image: dict[str, Any], options: wire.Options) -> Iterator[str]:
    """Yield why the classes' largest probabilities don't allow the outcome."""
    outcome, maxima = image["outcome"], image["probabilities"]
    if not maxima:
        if outcome != "null experiment" or image["drop"]["box"] is not None:
            yield "no probabilities"
    elif len(maxima) != len(CLASSES):
        yield "other classes"
    elif outcome.startswith("crystals"):
        crystals = sum(p for p, o in zip(maxima, CLASSES, strict=True) if o.group is Group.CRYSTAL)
        if options.rule == "pooled" and image["p_crystal"] < options.crystal_from - ROUNDING:
            yield "a crystal, below the threshold for crystals"
        if options.rule != "pooled" and crystals < options.threshold - ROUNDING:
            yield "a crystal that no chop shows"
    elif options.rule == "pooled" and (
        outcome == Outcome.UNDECIDED or image["p_crystal"] > options.crystal_from + ROUNDING
    ):
        yield "no crystal, above the threshold for crystals"


def _is_plain(text: Any) -> bool:
    if not isinstance(text, str) or len(text) > 400 or "<" in text or ">" in text:
        return False
    return not any(
        unicodedata.category(char) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(char) in _TURNS for char in text
    )


_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
