"""``history``: a drop over time, with every ARTscore and every person's score of each inspection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import Group, Outcome, published

from ..config import Config
from ..domain.images import has_date
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.contents import Contents
from ..ledger.imported_scores import ImportedScore, numbers_of
from ..ledger.scores import Origin
from ..ledger.shapes import ScoredImage, with_a_say
from ..ledger.store import Ledger
from .drop import every_score, images_of, record_scores


@dataclass(frozen=True, slots=True)
class ScoreEntry:
    """One score of a drop.

    Attributes
    ----------
    what
        ``ARTscore``, ``score table``, ``viewer``, or for an imported score ``person`` or ``program``.
    who
        The person, or the worker of an ARTscore.
    at
        SCOREDATE (the imager's naive local time) for the score table, otherwise in UTC, with that zone.
    p_crystal
        Only of ARTscores that are no failure.
    detail
        SCOREID, models, or the person's note.
    own_groups, second_opinion
        What our networks say alone, and the second opinion; only of ARTscores that have one, and left out of the
        JSON of others.
    """

    what: str
    who: str
    at: datetime
    code: str
    outcome: Outcome | None
    p_crystal: float | None = None
    detail: str = ""
    own_groups: tuple[float, ...] | msgspec.UnsetType = msgspec.UNSET
    second_opinion: wire.SecondOpinion | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Chapter:
    """All scores of a drop at an inspection; `inspection` and `inspected` are None if none of its images was seen."""

    inspect_id: int
    inspection: int | None
    inspected: datetime | None
    p_crystal: float | None
    """The largest in the newest scores of its images that have a say; None without one."""
    steps: tuple[ScoreEntry, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All scores of a drop, oldest inspection first; `not_asked` says why the imager database could not be read."""

    barcode: str
    well: str
    contents: Contents
    chapters: tuple[Chapter, ...]
    not_asked: str


def history(config: Config, database: ImagerDatabase, ledger: Ledger, barcode: str, name: str) -> History:
    """Collect every score of a drop that was ever recorded.

    Raises
    ------
    XtalgridError
        If there are no images of the drop.
    """
    drop = images_of(ledger, barcode, name)
    ids, not_asked = record_scores(database, ledger, drop)
    steps: dict[int, list[ScoreEntry]] = {inspect_id: [] for inspect_id in ids}
    every = every_score(ledger, drop, ids)
    for seen in every.seen:
        row = seen.row
        detail = f"SCOREID {row.score_id}" + (", later deleted from the score table" if seen.gone else "")
        steps[row.inspect_id].append(
            ScoreEntry("score table", row.by, row.date, row.code, config.outcome(row.code), detail=detail)
        )
    newest: dict[int, list[float]] = {}
    for image in with_a_say(config.light, drop):
        if image.is_scored:
            newest.setdefault(image.inspect_id, []).append(image.p_crystal)
    for image in drop:
        origins = ledger.scores.origins(image.image_id)
        for score in every.artscores:
            if score.image_id == image.image_id:
                steps[image.inspect_id].append(_artscore(config, score, origins[score.score_id]))
        for made in every.corrections[image.image_id]:
            code = (config.score_code(made.outcome) or "") if made.outcome else ""
            steps[image.inspect_id].append(
                ScoreEntry("viewer", made.who, made.at.replace(tzinfo=UTC), code, made.outcome, detail=made.note)
            )
        steps[image.inspect_id] += [_imported(config, one) for one in every.imported.get(image.image_id, ())]
    images = {image.inspect_id: image for image in drop}
    chapters = [
        Chapter(
            inspect_id=inspect_id,
            inspection=images[inspect_id].inspection if inspect_id in images else None,
            inspected=images[inspect_id].inspected if inspect_id in images else None,
            p_crystal=max(newest.get(inspect_id, []), default=None),
            steps=tuple(scores),
        )
        for inspect_id, scores in steps.items()
    ]
    # dates of inspections are naive local time
    chapters.sort(key=lambda chapter: (chapter.inspected or datetime.min, chapter.inspect_id))  # noqa: DTZ901
    well = drop[0].well
    contents = ledger.contents.of_plates([barcode])(barcode, well)
    return History(barcode, str(well), contents, tuple(chapters), not_asked)


def _artscore(config: Config, score: ScoredImage, origin: Origin) -> ScoreEntry:
    outcome, answer = published(score.outcome), score.answer
    own, second = (answer.own_groups, answer.second_opinion) if isinstance(answer, wire.Scored) else (None, None)
    return ScoreEntry(
        "ARTscore",
        score.worker,
        score.at.replace(tzinfo=UTC),
        config.score_code(outcome) or "",
        outcome,
        score.p_crystal if score.is_scored else None,
        f"score {score.score_id}, classifier {score.classifier[:12]}, rule {origin.options.rule}",
        msgspec.UNSET if own is None else own,
        msgspec.UNSET if second is None else second,
    )


def _imported(config: Config, score: ImportedScore) -> ScoreEntry:
    outcome, group = (None, score.meaning) if isinstance(score.meaning, Group) else (score.meaning, None)
    code = (config.score_code(outcome) or "") if outcome else f"“{score.word}”"
    parts = [f"any {group}"] if group else []
    parts += [f"word “{score.word}”"] if outcome else []
    parts += [
        numbers_of(score),
        "" if score.at_is == "scored" else f"time: {score.at_is}",
        f"imported from {score.origin}",
    ]
    detail = "; ".join(part for part in parts if part)
    return ScoreEntry(score.kind, score.who, score.at.replace(tzinfo=UTC), code, outcome, detail=detail)


def history_lines(drop: History) -> Iterator[str]:
    """Format a history as text."""
    yield f"{drop.barcode} {drop.well}"
    for name in ("project", "sample", "condition"):
        if text := getattr(drop.contents, name):
            yield f"  {name:<10} {text}"
    course = [percent(chapter.p_crystal) for chapter in drop.chapters if chapter.p_crystal is not None]
    if course:
        yield f"  p_crystal  {' → '.join(course)}"
    for chapter in drop.chapters:
        yield ""
        if chapter.inspected is None:
            yield f"an inspection without recorded images (inspect id {chapter.inspect_id})"
        else:
            yield f"inspection {chapter.inspection}, {chapter.inspected:%Y-%m-%d %H:%M}"
        for step in chapter.steps:
            yield f"  {_step(step)}"
        if not chapter.steps:
            yield "  no scores"
    if drop.not_asked:
        yield f"the score table cannot be read now: {drop.not_asked}"


def _step(step: ScoreEntry) -> str:
    zone = "" if step.what == "score table" else " UTC"
    when = f"{step.at:%Y-%m-%d %H:%M}{zone:<4}" if has_date(step.at) else f"{'without a date':<20}"
    score = f"{step.code} {step.outcome or ''}".strip() or (
        "withdrew the score" if step.what == "viewer" else "deleted"
    )
    p_crystal = f", p_crystal {percent(step.p_crystal)}" if step.p_crystal is not None else ""
    if step.own_groups is not msgspec.UNSET and step.second_opinion is not msgspec.UNSET:
        p_crystal += f" (ours {percent(step.own_groups[0])}, MARCO's {percent(step.second_opinion.groups[0])})"
    who = "" if step.what == "ARTscore" else f" {step.who or '?'}:"
    detail = f"  ({step.detail})" if step.detail else ""
    return f"{when}  {step.what}{who} {score}{p_crystal}{detail}"
