"""The rules of publication: which scores are held back, when a person's score stands, and how ARTscores are dated.

A person's score is never changed, deleted or hidden. XtalTrak shows the score with the latest SCOREDATE of a drop, so
an ARTscore is dated before every person's score of its drop, under any policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from xtalgrid_core.decision import priority
from xtalgrid_core.outcomes import Outcome

from ..config import Config, HoldRule, Policy
from ..domain.images import FIRST_DATE, ScoreRow, earlier
from ..domain.wells import Well
from ..ledger.decisions import Review
from ..ledger.shapes import DropImage, ScoredImage
from ..ledger.store import Ledger


@dataclass(frozen=True, slots=True)
class Action:
    """What is done with a score, and why.

    `name` is ``publish``, ``hold``, ``keep`` (a person's score stands), ``shadow``, ``reject`` or ``none``.
    """

    name: str
    why: str


def best_of_inspection(scores: Iterable[ScoredImage]) -> ScoredImage:
    """Return the score that stands for an inspection of a drop, if it has several images: the first by `rank`."""
    return min(scores, key=rank)


def rank(image: DropImage) -> tuple[bool, int, float, str]:
    """Return an image's sort key among the images of its inspection: by priority, then failed ones, then waiting.

    An undecided image that may well show crystals comes right after crystals, so that no other image says there are
    none; other undecided ones, dark ones among them, come after all outcomes.
    """
    outcome = image.outcome or Outcome.FAILED
    order = priority(outcome) + (outcome is Outcome.FAILED)
    if outcome is Outcome.UNDECIDED and image.may_be_crystals:
        return False, priority(Outcome.PRECIPITATE), -2.0, image.image_name
    return image.outcome is None, order, -image.probability, image.image_name


def peoples_scores(
    config: Config, ledger: Ledger, rows: Mapping[int, Sequence[ScoreRow]], scores: Sequence[ScoredImage]
) -> dict[int, list[ScoreRow]]:
    """Return people's scores of each inspection's drop at all its inspections, oldest first.

    Parameters
    ----------
    rows
        The score table's rows of each inspection's drop, whoever wrote them.
    scores
        Of the same inspections.

    Returns
    -------
    By inspect id: rows of the score table, and scores that are only in the viewer or in imported files, as such rows
    without an id.
    """
    persons, local = config.imager.is_persons, config.imager.local
    only_here: dict[tuple[str, Well], list[ScoreRow]] = {}
    for image, made in ledger.corrections.in_force(sorted({score.barcode for score in scores})):
        if made.written_id is None and made.outcome is not None:
            at = local(made.at.replace(tzinfo=UTC).timestamp())
            row = ScoreRow(0, image.inspect_id, config.score_code(made.outcome) or "", at, made.who, image.image_name)
            only_here.setdefault((image.barcode, image.well), []).append(row)
    for image, given in ledger.person_scores.imported(sorted({score.barcode for score in scores})):
        code = (config.score_code(given.outcome) or "") if given.outcome else given.name
        at = local(given.at.replace(tzinfo=UTC).timestamp())
        row = ScoreRow(0, image.inspect_id, code, at, given.who, image.image_name)
        only_here.setdefault((image.barcode, image.well), []).append(row)
    return {
        score.inspect_id: sorted(
            (
                *(row for row in rows[score.inspect_id] if persons(row.by, row.code)),
                *only_here.get((score.barcode, score.well), ()),
            ),
            key=lambda row: row.date,
        )
        for score in scores
    }


def decide_action(
    score: ScoredImage,
    code: str | None,
    peoples: list[ScoreRow],
    review: Review | None,
    policy: Policy,
    hold: Iterable[HoldRule],
) -> Action:
    """Decide what to do with an inspection's best score.

    Parameters
    ----------
    code
        The lab's score code for the outcome; None if it has none.
    peoples
        People's scores of the drop at all its inspections, oldest first.
    review
        The newest review of the score; None if nobody reviewed it.
    """
    if code is None:
        return Action("none", f"{score.outcome}: a person should look")
    if policy == "shadow":
        return Action("shadow", "policy shadow: nothing is published")
    if review is not None and review.verdict == "reject":
        return Action("reject", f"rejected by {review.who}")
    standing = standing_score(score.inspect_id, peoples, policy)
    if standing is not None:
        return Action("keep", f"policy {policy}: scored {standing.code} by {standing.by}")
    if review is not None:
        return Action("publish", f"approved by {review.who}")
    for rule in hold:
        if rule.outcome in (str(score.outcome), str(score.outcome.group)):
            value = score.p_crystal if rule.on == "p_crystal" else score.probability
            if value < rule.below or rule.below == 1:
                return Action(
                    "hold", f"{rule.outcome} with {rule.on} {value:.3f}, below {rule.below:g}: approve or reject"
                )
    return Action("publish", "")


def standing_score(inspect_id: int, peoples: list[ScoreRow], policy: Policy) -> ScoreRow | None:
    """Return the person's score that keeps an ARTscore from being written for this inspection, or None.

    Under the policy ``drop`` it may be of any inspection of the drop, under ``inspection`` only of this one; under
    others there is none.
    """
    if policy == "drop":
        return peoples[-1] if peoples else None
    if policy == "inspection":
        return next((score for score in reversed(peoples) if score.inspect_id == inspect_id), None)
    return None


def score_date(inspected: datetime, scored: datetime, peoples: list[ScoreRow]) -> datetime:
    """Return the date of an ARTscore: the inspection's, or a second before the earliest person's score of the drop.

    It is never later than when the image was scored, so that an inspection dated ahead does not hide people's scores.
    All dates are naive local times of the imager.
    """
    dates = [score.date for score in peoples if score.date > FIRST_DATE]
    return min([inspected, scored, *(earlier(date, timedelta(seconds=1)) for date in dates)])


def describe(scores: list[ScoreRow]) -> str:
    """List existing scores as text: ``23 by jdoe 2012-11-22; 13 by ARTscore 2012-11-21``."""
    dates = (f"{score.date:%Y-%m-%d}" if score.date > FIRST_DATE else "without a date" for score in scores)
    return "; ".join(f"{score.code} by {score.by or '?'} {date}" for score, date in zip(scores, dates, strict=True))
