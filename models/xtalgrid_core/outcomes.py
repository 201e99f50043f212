"""The outcomes of a crystallization experiment: priority, score number, group, and appearance of the frame.

The 13 classes are those of Table 1 of Thielmann et al. (2023), in its order, which is the order of priority.
In addition, an image can be `UNDECIDED` (a person should look) or `FAILED` (it could not be scored); neither is
ever written to the imager's score table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """Broad groups that crystallographers tell apart at a glance; `UNKNOWN` is for undecided and failed."""

    CRYSTAL = "crystal"
    PRECIPITATE = "precipitate"
    OTHER = "other"
    CLEAR = "clear"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """A class of the classifier, or one of the two outcomes without a score."""

    HARVESTABLE = "crystals harvestable"
    BAD_FORM = "crystals bad form"
    OVERNUCLEATED = "crystals overnucleated"
    PRECIPITATE = "precipitate"
    PRECIPITATE_BAD = "precipitate bad"
    PRECIPITATE_GOOD = "precipitate good"
    NULL_EXPERIMENT = "null experiment"
    OTHER = "other"
    SPHERULITES = "spherulites"
    PHASE_SEPARATION = "phase separation"
    CLEAR = "clear"
    CLEAR_WITH_FEATURES = "clear with other features"
    RIM = "rim"
    UNDECIDED = "undecided"
    FAILED = "failed"

    @property
    def style(self) -> OutcomeStyle:
        """How the outcome is drawn and published."""
        return STYLES[self]

    @property
    def group(self) -> Group:
        """The outcome's group."""
        return STYLES[self].group

    @property
    def code(self) -> str | None:
        """The two-character score of the imager's score table; None for undecided and failed."""
        number = STYLES[self].score
        return None if number is None else f"{number:02d}"


@dataclass(frozen=True, slots=True)
class OutcomeStyle:
    """How an outcome is drawn and published.

    `colour` is ``#rrggbb``. `dash` gives the lengths of strokes and gaps of the frame's line, in line widths (empty:
    solid), so that frames can be told apart without colour.
    """

    group: Group
    score: int | None
    letter: str
    colour: str
    dash: tuple[int, ...] = ()

    @property
    def ink(self) -> str:
        """Black or white, whichever is easier to read on the colour."""
        return ink(self.colour)


def ink(colour: str) -> str:
    """Return black or white, ``#rrggbb``, whichever contrasts more with a colour (luminance as in WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


_RED, _BLUE, _AMBER, _GREY, _MAGENTA, _TEAL = "#e0201b", "#2462e0", "#e09b00", "#8c8c8c", "#d02bc9", "#00897b"

# Colours are those of the paper (section 3.1, Fig. 1), which has none for `other` and the outcomes without a score.
STYLES: dict[Outcome, OutcomeStyle] = {
    Outcome.HARVESTABLE: OutcomeStyle(Group.CRYSTAL, 23, "X", _RED),
    Outcome.BAD_FORM: OutcomeStyle(Group.CRYSTAL, 22, "x", _RED),
    Outcome.OVERNUCLEATED: OutcomeStyle(Group.CRYSTAL, 21, "m", _RED),
    Outcome.PRECIPITATE: OutcomeStyle(Group.PRECIPITATE, 13, "P", _BLUE, (6, 2)),
    Outcome.PRECIPITATE_BAD: OutcomeStyle(Group.PRECIPITATE, 12, "p", _BLUE, (6, 2)),
    Outcome.PRECIPITATE_GOOD: OutcomeStyle(Group.PRECIPITATE, 11, "g", _BLUE, (6, 2)),
    Outcome.NULL_EXPERIMENT: OutcomeStyle(Group.OTHER, 34, "N", _MAGENTA, (1, 3)),
    Outcome.OTHER: OutcomeStyle(Group.OTHER, 33, "O", _AMBER, (3, 2)),
    Outcome.SPHERULITES: OutcomeStyle(Group.OTHER, 32, "S", _AMBER, (3, 2)),
    Outcome.PHASE_SEPARATION: OutcomeStyle(Group.OTHER, 31, "H", _AMBER, (3, 2)),
    Outcome.CLEAR: OutcomeStyle(Group.CLEAR, 1, "C", _GREY, (1, 1)),
    Outcome.CLEAR_WITH_FEATURES: OutcomeStyle(Group.CLEAR, 2, "F", _GREY, (1, 1)),
    Outcome.RIM: OutcomeStyle(Group.CLEAR, 1, "R", "#ffffff", (1, 1)),
    Outcome.UNDECIDED: OutcomeStyle(Group.UNKNOWN, None, "?", _TEAL, (6, 2, 1, 2)),
    Outcome.FAILED: OutcomeStyle(Group.UNKNOWN, None, "!", "#202020", (1, 4)),
}

CLASSES: tuple[Outcome, ...] = tuple(outcome for outcome in Outcome if STYLES[outcome].score is not None)
"""The classifier's 13 classes in order of priority, highest first; also the order of its outputs."""

PRIORITY: dict[Outcome, int] = {outcome: rank for rank, outcome in enumerate(CLASSES)}

SCORED_GROUPS: tuple[Group, ...] = (Group.CRYSTAL, Group.PRECIPITATE, Group.OTHER, Group.CLEAR)
"""The groups in order of priority."""

GROUP_CLASSES: dict[Group, tuple[int, ...]] = {
    group: tuple(rank for rank, outcome in enumerate(CLASSES) if outcome.group is group) for group in SCORED_GROUPS
}
"""Indices of the classes in each group."""


def published(outcome: Outcome) -> Outcome:
    """Return the outcome as published: the training class `rim` is a clear drop (paper, section 2.2)."""
    return Outcome.CLEAR if outcome is Outcome.RIM else outcome
