"""What words for the contents of drops mean: our outcomes, or only groups."""

from __future__ import annotations

import re
from collections.abc import Mapping

from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group

from .drop_state import Meaning, meaning_name
from .letters import folded

_PLURALS = {"crystals": Group.CRYSTAL, "precipitates": Group.PRECIPITATE, "precipitant": Group.PRECIPITATE}
_PLURALS |= {"others": Group.OTHER}
_GROUPS: dict[str, Meaning] = {**{str(group): group for group in SCORED_GROUPS}, **_PLURALS}
_ANY: dict[str, Meaning] = {meaning_name(group): group for group in SCORED_GROUPS}
_OUTCOMES: dict[str, Meaning] = {str(outcome): outcome for outcome in CLASSES}

LABELS: Mapping[str, Meaning] = _OUTCOMES | _ANY | _GROUPS
"""What a word means by itself: ``precipitate``, ``other`` and ``clear`` are groups, as in MARCO and Polo."""

CLASSES_BY_NAME: Mapping[str, Meaning] = _GROUPS | _ANY | _OUTCOMES
"""The same in a column of our outcomes, where these three are outcomes."""

SCORE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("image name", "filename", "file name", "file", "path", "image path", "filepath", "input"),
    "barcode": ("plate barcode", "plate", "plate id", "plateid", "plate name"),
    "inspection": ("inspection number", "insp"),
    "inspected": ("date imaged", "dateimaged", "imaged", "inspection date", "imaging date"),
    "well": ("well name", "position"),
    "well_number": ("wellnum", "well num"),
    "row": (),
    "col": ("column",),
    "drop": ("subwell", "drop number", "dropnum", "drop num"),
    "score": ("class", "label", "prediction", "classification", "judgement", "human class", "user score"),
    "outcome": (),
    "machine_score": ("machine class",),
    "by": ("scored by", "who", "person", "user", "scientist"),
    "at": ("scored at", "scored on", "date scored", "score date"),
    "date": (),
    "kind": (),
    "crystal": ("crystals",),
    "precipitate": ("precipitates", "precipitant"),
    "other": ("others",),
    "clear": (),
}
"""Columns of a table of scores, each with further headings that are recognised."""


def plain(word: str) -> str:
    """Return a word as it is compared: ``Phase_Separation`` is ``phase separation``."""
    return folded(re.sub(r"[\s_:]+", " ", word).strip())


def configured(name: str) -> Meaning | None:
    """Return what a value of ``scores.names`` stands for: a label, or a published code such as ``13``."""
    by_code = next((outcome for outcome in CLASSES if outcome.code == name), None)
    return by_code or LABELS.get(plain(name))


def names_known() -> list[str]:
    """Return what a value of ``scores.names`` may be."""
    return [*LABELS, *sorted({outcome.code for outcome in CLASSES if outcome.code})]
