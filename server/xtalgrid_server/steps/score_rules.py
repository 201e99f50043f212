"""The rules of publication: what is held back, what a person's score forbids, and which date an ARTscore gets.

A person's score is never changed, deleted or hidden. XtalTrak shows a drop's newest score by SCOREDATE, so an ARTscore is
dated before every person's score of its drop, whatever the policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from xtalgrid_core.decision import priority
from xtalgrid_core.outcomes import Outcome

from ..config import HoldRule, Policy
from ..domain.images import ScoreRow
from ..ledger.records import ScoredImage, Verdict


@dataclass(frozen=True, slots=True)
class Action:
    """What becomes of a score: ``publish``, ``hold``, ``keep`` (a person's score stands), ``shadow``, ``reject``, ``none``."""

    name: str
    why: str


def best_of_inspection(scores: Iterable[ScoredImage]) -> ScoredImage:
    """Of several images of one inspection of one drop, the one whose outcome has the highest priority."""
    return min(scores, key=lambda score: rank(score.outcome, score.probability, score.image.image_name))


def rank(outcome: Outcome, probability: float, image_name: str) -> tuple[int, float, str]:
    """Of an image among those of its inspection; the lowest stands for the drop. Failed ones come last."""
    return priority(outcome) + (outcome is Outcome.FAILED), -probability, image_name


def decide_action(
    score: ScoredImage,
    code: str | None,
    peoples: list[ScoreRow],
    verdict: tuple[Verdict, str] | None,
    policy: Policy,
    hold: Iterable[HoldRule],
) -> Action:
    """What becomes of an inspection's best score.

    Parameters
    ----------
    code
        The lab's score code of the outcome; None when it has none.
    peoples
        People's scores of the drop, at any of its inspections.
    """
    if code is None:
        return Action("none", f"{score.outcome}: a person should look")
    if policy == "shadow":
        return Action("shadow", "policy shadow: nothing is published")
    if verdict is not None and verdict[0] == "reject":
        return Action("reject", f"rejected by {verdict[1]}")
    standing = standing_score(score.image.inspect_id, peoples, policy)
    if standing is not None:
        return Action("keep", f"policy {policy}: scored {standing.code} by {standing.by}")
    if verdict is not None:
        return Action("publish", f"approved by {verdict[1]}")
    for rule in hold:
        if rule.outcome in (str(score.outcome), str(score.outcome.group)):
            value = score.p_crystal if rule.on == "p_crystal" else score.probability
            if value < rule.below or rule.below == 1:
                return Action(
                    "hold", f"{rule.outcome} with {rule.on} {value:.3f}, below {rule.below:g}: approve or reject"
                )
    return Action("publish", "")


def standing_score(inspect_id: int, peoples: list[ScoreRow], policy: Policy) -> ScoreRow | None:
    """The person's score because of which nothing is written for this inspection, under policies ``drop`` and ``inspection``."""
    if policy == "drop":
        return peoples[-1] if peoples else None
    if policy == "inspection":
        return next((score for score in reversed(peoples) if score.inspect_id == inspect_id), None)
    return None


def score_date(inspected: datetime, peoples: list[ScoreRow]) -> datetime:
    """The inspection's date, or one second before the earliest person's score of the drop if that is earlier."""
    return min([inspected, *(score.date - timedelta(seconds=1) for score in peoples)])


def describe(scores: list[ScoreRow]) -> str:
    """Existing scores for people: ``23 by jdoe 2012-11-22; 13 by ARTscore 2012-11-21``."""
    return "; ".join(f"{score.code} by {score.by or '?'} {score.date:%Y-%m-%d}" for score in scores)
