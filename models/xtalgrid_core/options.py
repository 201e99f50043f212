"""Scoring options, with production's defaults.

Decision rules, pipeline, wire format and configuration all use the same `Options`, so that an image scored with the
same options always gets the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from .chops import STRIDE, dense_step_error
from .combination import Combination
from .outcomes import SCORED_GROUPS
from .possible import PossibleGroups

Rule = Literal["published", "group", "pooled"]
"""Decision rule that a lab can choose; see `decision.decide`."""

DEFAULT_RULE: Rule = "pooled"

RuleInUse = Literal["published", "group", "pooled", "combined"]
"""Decision rule of a score. ``combined`` is ``pooled`` with a second opinion: workers that don't know it refuse it."""

Mode = Literal["dense", "exact"]
"""Classify all chops from one class map of the drop, or one by one as published."""

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Cutoff = Annotated[float, msgspec.Meta(gt=0, le=1)]
Step = Annotated[int, msgspec.Meta(ge=1, le=256)]
Boxes = Annotated[int, msgspec.Meta(ge=0, le=100)]
Zoom = Annotated[float, msgspec.Meta(ge=1, le=10)]
ZOOM = 2.5
GroupLimits = tuple[Probability, Probability, Probability, Probability]
"""A probability for each of `outcomes.SCORED_GROUPS`."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Scoring options. They are part of a score's identity: different options give a different score.

    Raises
    ------
    ValueError
        If the mode cannot use the step, if the rule is ``combined`` and something to combine is missing, or it is
        another rule and something is there to combine, or if a rule that goes by single chops has `undecided`.
    """

    segmenter: Sha256
    classifier: Sha256
    rule: RuleInUse = DEFAULT_RULE
    """Decision rule (`decision.decide`): docs/decisions/0012-what-all-chops-mean-together.md."""
    threshold: Cutoff = 0.85
    """Rules published and group: minimum probability for a chop to count; the paper's c (0.80 in its second run)."""
    mode: Mode = "dense"
    """Classify all chops from one class map of the drop, or one by one as published."""
    step: Step = 48
    """Step from chop to chop, in pixels at the reference scale. Dense: a multiple of 16; 48 is near the paper's 50."""
    n_boxes: Boxes = 5
    """Maximum number of best chops in a score."""
    support: Probability = 0.3
    """Rule group: fraction of chops at a point that must agree: docs/decisions/0006-a-crystal-in-several-chops.md."""
    crystal_from: Cutoff = 0.2
    """Rule pooled: minimum `p_crystal` to call crystals; below 0.5, as missing a crystal costs more than a look."""
    undecided: GroupLimits | None = None
    """Rules pooled and combined: a well is undecided if its group, of `SCORED_GROUPS`, has a lower probability than
    this; None: never. See docs/decisions/0026-unsure-is-said.md."""
    second_opinion: Sha256 | None = None
    """Rule combined: a network of another kind that judges the whole picture (`weights`)."""
    combination: Combination | None = None
    """Rule combined: how its probabilities and ours are combined."""
    zoom: Zoom | None = ZOOM
    """Rules pooled and combined: a picture whose pixel size is a guess is scored a second time, as if it were magnified
    so many times; None: once. See docs/decisions/0042-a-guessed-scale-is-looked-at-twice.md."""
    possible: PossibleGroups | None = None
    """Which groups a well may be of, by its probabilities; only for display. None: not fitted for these weights."""

    def __post_init__(self) -> None:
        if self.mode == "dense" and self.step % STRIDE:
            raise ValueError(dense_step_error(self.step))
        if {self.second_opinion is None, self.combination is None} != {self.rule != "combined"}:
            raise ValueError("the rule combined, and no other, needs a second opinion and its combination")
        if self.undecided is not None and not self.is_pooled:
            raise ValueError(f"undecided is for the rule pooled; under the rule {self.rule} the threshold decides")

    @property
    def is_pooled(self) -> bool:
        """Whether all chops decide together (rules ``pooled`` and ``combined``)."""
        return self.rule in ("pooled", "combined")


def group_limits(value: float | Mapping[str, float]) -> GroupLimits | None:
    """Return `Options.undecided` from one number for all groups, or from numbers by group (0 if missing).

    Raises
    ------
    ValueError
        If a name is no group.
    """
    limits = value if isinstance(value, Mapping) else dict.fromkeys(SCORED_GROUPS, value)
    if unknown := set(limits) - set(SCORED_GROUPS):
        raise ValueError(f"undecided: {min(unknown)!r} is no group; choose from: {', '.join(SCORED_GROUPS)}")
    crystal, precipitate, other, clear = (limits.get(group, 0.0) for group in SCORED_GROUPS)
    return (crystal, precipitate, other, clear) if any(limits.values()) else None


def second_look(zoom: float) -> float | None:
    """Return `Options.zoom` from a number, of which 1 means that an image is scored once."""
    return None if zoom == 1 else zoom


def first_opinion(options: Options) -> Options:
    """Return the options without their second opinion, if they have one."""
    if options.second_opinion is None:
        return options
    return msgspec.structs.replace(options, rule="pooled", second_opinion=None, combination=None)


DEFAULTS = Options(segmenter="0" * 64, classifier="0" * 64)
"""Production's defaults, for reference; the weights are placeholders."""
