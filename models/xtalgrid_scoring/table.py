"""The answer for an image as a row of a table, for CSV files, JSON and data frames."""

from __future__ import annotations

from xtalgrid_core import wire
from xtalgrid_core.outcomes import SCORED_GROUPS, Outcome

COLUMNS = (
    *("image", "outcome", "group", "score", "probability", "p_crystal", *map(str, SCORED_GROUPS)),
    *("drop_confidence", "drop_row", "drop_col", "drop_height", "drop_width", "height", "width"),
    *("pixel_size_um", "pixel_size_origin", "seconds", "failure"),
)
"""Columns of a row.

`score` is the imager's two-digit code. The groups' columns are their probabilities, which sum to 1. The drop's box
and the image's size are in pixels. `seconds` is CPU time.
"""


SECOND_OPINION_COLUMNS = tuple(f"{whose}_{group}" for whose in ("own", "second") for group in SCORED_GROUPS)
"""Further columns where there is a second opinion: what our networks say alone, and what the second opinion says."""


def row(image: str, answer: wire.Answer, has_second_opinion: bool = False) -> dict[str, object]:
    """Return one row with all `COLUMNS` in order, and if there is one those of the second opinion; None if missing."""
    blank: dict[str, object] = dict.fromkeys((*COLUMNS, *(SECOND_OPINION_COLUMNS if has_second_opinion else ())))
    if isinstance(answer, wire.Failed):
        failure = f"{answer.reason}: {answer.detail}"
        return blank | {"image": image, "outcome": "failed", "group": str(Outcome.FAILED.group), "failure": failure}
    values: dict[str, object] = {
        "image": image,
        "outcome": str(answer.outcome),
        "group": str(answer.outcome.group),
        "score": answer.outcome.code,
        "probability": answer.probability,
        "p_crystal": answer.p_crystal,
        "drop_confidence": answer.drop.confidence,
        "height": answer.height,
        "width": answer.width,
        "pixel_size_um": answer.pixel_size_um,
        "pixel_size_origin": answer.pixel_size_origin,
        "seconds": answer.seconds,
    }
    if answer.groups is not None:
        values |= zip(map(str, SCORED_GROUPS), answer.groups, strict=True)
    if answer.drop.box is not None:
        values |= zip(("drop_row", "drop_col", "drop_height", "drop_width"), answer.drop.box, strict=True)
    if has_second_opinion and answer.own_groups is not None and answer.second_opinion is not None:
        values |= zip(SECOND_OPINION_COLUMNS, (*answer.own_groups, *answer.second_opinion.groups), strict=True)
    return blank | values
