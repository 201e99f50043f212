"""``history``: a drop over time, with every ARTscore and every person's score of each inspection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from xtalgrid_core.outcomes import Outcome, published

from ..config import Config
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.people import Contents
from ..ledger.store import Ledger
from .drop import images_of, record_scores


@dataclass(frozen=True, slots=True)
class Step:
    """One score of a drop.

    Attributes
    ----------
    what
        ``ARTscore``, ``score table`` or ``viewer``.
    who
        The person, or the worker of an ARTscore.
    at
        SCOREDATE (the imager's local time) for the score table, otherwise UTC.
    p_crystal
        Only of ARTscores.
    detail
        SCOREID, models, or the person's note.
    """

    what: str
    who: str
    at: datetime
    code: str
    outcome: Outcome | None
    p_crystal: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """All scores of a drop at an inspection; `inspection` and `inspected` are None if none of its images was seen."""

    inspect_id: int
    inspection: int | None
    inspected: datetime | None
    p_crystal: float | None
    """The largest in the newest scores of its images."""
    steps: tuple[Step, ...]


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
    steps: dict[int, list[Step]] = {inspect_id: [] for inspect_id in ids}
    for seen in ledger.people.history(ids):
        row = seen.row
        detail = f"SCOREID {row.score_id}" + (", later deleted from the score table" if seen.gone else "")
        steps[row.inspect_id].append(
            Step("score table", row.by, row.date, row.code, config.outcome(row.code), detail=detail)
        )
    newest: dict[int, list[float]] = {}
    corrections = ledger.people.corrections([seen.image_id for seen in drop])
    for seen_image in drop:
        here = steps[seen_image.image.inspect_id]
        if seen_image.score is not None:
            newest.setdefault(seen_image.image.inspect_id, []).append(seen_image.score.p_crystal)
        for origin in reversed(ledger.views.origins(seen_image.image_id)):
            score = origin.score
            outcome = published(score.outcome)
            models = f"score {score.score_id}, classifier {origin.options.classifier[:12]}, rule {origin.options.rule}"
            code = config.score_code(outcome) or ""
            here.append(Step("ARTscore", origin.worker, score.at, code, outcome, score.p_crystal, models))
        for made in corrections[seen_image.image_id]:
            code = (config.score_code(made.outcome) or "") if made.outcome else ""
            here.append(Step("viewer", made.who, made.at, code, made.outcome, detail=made.note))
    places = {seen.image.inspect_id: seen.image for seen in drop}
    chapters = [
        Chapter(
            inspect_id=inspect_id,
            inspection=places[inspect_id].inspection if inspect_id in places else None,
            inspected=places[inspect_id].inspected if inspect_id in places else None,
            p_crystal=max(newest.get(inspect_id, []), default=None),
            steps=tuple(found),
        )
        for inspect_id, found in steps.items()
    ]
    # dates of inspections are naive local time
    chapters.sort(key=lambda chapter: (chapter.inspected or datetime.min, chapter.inspect_id))  # noqa: DTZ901
    first = drop[0].image
    contents = ledger.people.contents([barcode])(barcode, first.well)
    return History(barcode, str(first.well), contents, tuple(chapters), not_asked)


def history_lines(told: History) -> Iterator[str]:
    """Format a history as text."""
    yield f"{told.barcode} {told.well}"
    for name in ("project", "sample", "condition"):
        if text := getattr(told.contents, name):
            yield f"  {name:<10} {text}"
    course = [f"{chapter.p_crystal:.2f}" for chapter in told.chapters if chapter.p_crystal is not None]
    if course:
        yield f"  p_crystal  {' → '.join(course)}"
    for chapter in told.chapters:
        yield ""
        if chapter.inspected is None:
            yield f"an inspection without recorded images (inspect id {chapter.inspect_id})"
        else:
            yield f"inspection {chapter.inspection}, {chapter.inspected:%Y-%m-%d %H:%M}"
        for step in chapter.steps:
            yield f"  {_step(step)}"
        if not chapter.steps:
            yield "  no scores"
    if told.not_asked:
        yield f"the score table cannot be read now: {told.not_asked}"


def _step(step: Step) -> str:
    zone = "" if step.what == "score table" else " UTC"
    said = f"{step.code} {step.outcome or ''}".strip() or ("withdrew the score" if step.what == "viewer" else "deleted")
    p_crystal = f", p_crystal {step.p_crystal:.3f}" if step.p_crystal is not None else ""
    who = "" if step.what == "ARTscore" else f" {step.who or '?'}:"
    detail = f"  ({step.detail})" if step.detail else ""
    return f"{step.at:%Y-%m-%d %H:%M}{zone:<4}  {step.what}{who} {said}{p_crystal}{detail}"
