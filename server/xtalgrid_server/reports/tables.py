"""Scores as rows of tables, for CSV and JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS
from xtalgrid_scoring.table import SECOND_OPINION_COLUMNS

from ..config import Config
from ..domain.drop_state import PersonScore
from ..domain.images import has_date
from .entries import DropInspection, Entry

COLUMNS = (
    "barcode", "well", "row", "col", "subwell", "inspection", "inspected", "inspect_id", "image", "sha256",
    "project", "sample", "condition",
    "artscore", "outcome", "group", "probability", "p_crystal", "p_new", "new_since", "uv", "classifier", "scored_at",
    "person_score", "person_outcome", "person_group", "person", "person_at", "person_where",
    "held_to_be", "people",
)  # fmt: skip
"""Columns of the CSV, which docs/reports.md explains under Exports; `second_opinion` makes those that may follow."""


def row(config: Config, inspection: DropInspection, entry: Entry) -> dict[str, Any]:
    """Convert an image to a row of the CSV, by column; unknown values are None."""
    image, outcome, people = entry.image, entry.artscore, inspection.state.people
    person = people[-1] if people else None
    by_person = person.outcome if person else None
    return {
        "barcode": image.barcode,
        "well": str(image.well),
        "row": image.well.row,
        "col": image.well.col,
        "subwell": image.well.subwell,
        "inspection": image.inspection,
        "inspected": image.inspected.isoformat(sep=" "),
        "inspect_id": image.inspect_id,
        "image": image.image_name,
        "sha256": image.sha256 or None,
        "project": entry.contents.project or None,
        "sample": entry.contents.sample or None,
        "condition": entry.contents.condition or None,
        "artscore": config.score_code(outcome) if outcome else None,
        "outcome": str(outcome) if outcome else None,
        "group": str(outcome.group) if outcome and image.is_scored else None,
        "probability": round(image.probability, 5) if image.is_scored else None,
        "p_crystal": round(image.p_crystal, 5) if image.is_scored else None,
        "p_new": None if image.p_new is None else round(image.p_new, 5),
        "new_since": image.since.isoformat(sep=" ") if image.since else None,
        "uv": image.uv,
        "classifier": image.classifier or None,
        "scored_at": _utc(image.at) if image.at else None,
        "person_score": person.code if person else None,
        "person_outcome": str(by_person) if by_person else None,
        "person_group": str(person.group) if person and person.group else None,
        "person": person.who if person else None,
        "person_at": _utc(person.at) if person else None,
        "person_where": where_given(person) if person else None,
        "held_to_be": inspection.state.name,
        "people": "; ".join(f"{score.who}: {score.name}" for score in people) or None,
    }


def _utc(at: datetime) -> str | None:
    """Format a time with four digits of its year; None of a score without a date."""
    return f"{at.isoformat(timespec='seconds')}Z" if has_date(at) else None


def where_given(score: PersonScore) -> str:
    """Return where a person gave a score: ``imager``, ``viewer``, or the file that it was imported from."""
    return score.origin or ("imager" if score.correction is None else "viewer")


def second_opinion(answer: wire.Scored | None) -> dict[str, float | None]:
    """Return what our networks say alone and what the second opinion says, by column; None if it was not asked."""
    if answer is None or answer.own_groups is None or answer.second_opinion is None:
        return dict.fromkeys(SECOND_OPINION_COLUMNS)
    values = (round(p, 5) for p in (*answer.own_groups, *answer.second_opinion.groups))
    return dict(zip(SECOND_OPINION_COLUMNS, values, strict=True))


def _by_group(groups: Sequence[float]) -> dict[str, float]:
    return {str(group): round(p, 5) for group, p in zip(SCORED_GROUPS, groups, strict=True)}


def full_row(config: Config, inspection: DropInspection, entry: Entry) -> dict[str, Any]:
    """Convert an image to a line of JSON: the CSV's columns, all people's scores, probabilities, drop and boxes.

    Without an ARTscore, what comes from it is None, and there are no boxes.

    Boxes are (row, col, height, width) in pixels of the image.
    """
    answer = entry.answer
    return {
        **row(config, inspection, entry),
        "people": [
            {
                "score": score.code,
                "outcome": score.outcome and str(score.outcome),
                "group": score.group and str(score.group),
                "person": score.who,
                "at": _utc(score.at),
            }
            for score in entry.person_scores
        ],
        "width": answer and answer.width,
        "height": answer and answer.height,
        "pixel_size_um": answer and answer.pixel_size_um,
        "probabilities": answer
        and {str(outcome): round(p, 5) for outcome, p in zip(CLASSES, answer.probabilities, strict=False)},
        "groups": None if answer is None or answer.groups is None else _by_group(answer.groups),
        "drop": answer and answer.drop.box,
        "boxes": [
            {"box": chop.box, "outcome": str(chop.outcome), "probability": round(chop.probability, 5)}
            for chop in (answer.boxes if answer else ())
        ],
    }
