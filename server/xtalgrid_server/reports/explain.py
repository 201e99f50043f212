"""``explain``: everything that is known about a drop's score at an inspection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.errors import ImageError
from xtalgrid_core.outcomes import Outcome, published

from ..config import Config
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.people import Contents, Correction, SeenScore
from ..ledger.records import ScoreOrigin, SeenImage
from ..ledger.store import Ledger
from ..ledger.trail import Trail
from ..steps.pack import image_path, read_original
from ..storage import weights as shelf
from .decisions import decision_path, largest
from .drop import images_of, record_scores
from .recompute import Recomputed, recompute


@dataclass(frozen=True, slots=True)
class ScoreStory:
    """One score: how it was made, the steps of its decision, and what was done with it since.

    Attributes
    ----------
    code
        The lab's score code, as for the score table; None if the outcome has none.
    sha256
        Of the image's file when it was scored.
    path
        The steps of the decision, a line each.
    """

    score_id: int
    at: datetime
    outcome: Outcome
    code: str | None
    sha256: str
    unit: str
    worker: str
    host: str
    models: tuple[str, ...]
    options: wire.Options
    answer: wire.Scored | wire.Failed
    path: tuple[str, ...]
    trail: Trail
    recomputed: Recomputed | None = None


@dataclass(frozen=True, slots=True)
class ImageStory:
    """An image and its scores, newest first; `file_is` says whether its file is still the one that was scored."""

    image_id: int
    inspect_id: int
    image_name: str
    file: str
    file_is: str
    failure: tuple[str, str] | None
    scores: tuple[ScoreStory, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about a drop at an inspection, with people's scores of its other inspections too.

    Attributes
    ----------
    imager_scores
        Every row that was ever seen in the imager's score table.
    corrections
        What people scored, or took back, in the viewer.
    not_asked
        Why the score table could not be read this time; empty if it was.
    """

    barcode: str
    well: str
    inspection: int
    inspected: datetime
    contents: Contents
    images: tuple[ImageStory, ...]
    inspections: dict[int, int]
    """Number of each inspection, by inspect id."""
    imager_scores: tuple[SeenScore, ...]
    corrections: tuple[Correction, ...]
    not_asked: str = field(default="")


def explain(
    config: Config,
    database: ImagerDatabase,
    ledger: Ledger,
    barcode: str,
    name: str,
    inspection: int | None = None,
    again: bool = False,
) -> Explanation:
    """Collect everything that is known about a drop at an inspection.

    Parameters
    ----------
    name
        The drop, such as ``A1a``.
    inspection
        By default the newest.
    again
        Recompute the newest score of each image and compare.

    Raises
    ------
    XtalgridError
        If there are no images of the drop at that inspection.
    """
    drop = images_of(ledger, barcode, name)
    number = drop[-1].image.inspection if inspection is None else inspection
    here = images_of(ledger, barcode, name, number)
    ids, not_asked = record_scores(database, ledger, drop)
    first = here[0].image
    said = ledger.people.corrections([seen.image_id for seen in drop])
    return Explanation(
        barcode=barcode,
        well=str(first.well),
        inspection=number,
        inspected=first.inspected,
        contents=ledger.people.contents([barcode])(barcode, first.well),
        images=tuple(_image(config, ledger, seen, again) for seen in here),
        inspections={seen.image.inspect_id: seen.image.inspection for seen in drop},
        imager_scores=tuple(ledger.people.history(ids)),
        corrections=tuple(sorted((one for made in said.values() for one in made), key=lambda one: one.id)),
        not_asked=not_asked,
    )


def _image(config: Config, ledger: Ledger, seen: SeenImage, again: bool) -> ImageStory:
    origins = ledger.views.origins(seen.image_id)
    hashes = ledger.trails.hashes([origin.score.score_id for origin in origins])
    trails = ledger.trails.of([origin.score.score_id for origin in origins])
    file, file_is = _file(config, seen, hashes[origins[0].score.score_id] if origins else "")
    stories = []
    for newest, origin in zip([True, *[False] * len(origins)], origins, strict=False):
        sha256 = hashes[origin.score.score_id]
        recomputed = recompute(config, ledger, origin, sha256) if again and newest else None
        stories.append(_story(config, origin, sha256, trails[origin.score.score_id], recomputed))
    return ImageStory(
        image_id=seen.image_id,
        inspect_id=seen.image.inspect_id,
        image_name=seen.image.image_name,
        file=file,
        file_is=file_is,
        failure=seen.failure,
        scores=tuple(stories),
    )


def _file(config: Config, seen: SeenImage, sha256: str) -> tuple[str, str]:
    try:
        path: Path = image_path(config, seen.image)
        data = read_original(config, seen.image)
    except ImageError as error:
        return seen.image.image_name, error.detail
    if not sha256:
        return str(path), "there"
    if hashlib.sha256(data).hexdigest() != sha256:
        return str(path), "another file than the one that was scored last"
    return str(path), "the one that was scored"


def _story(config: Config, origin: ScoreOrigin, sha256: str, trail: Trail, recomputed: Recomputed | None) -> ScoreStory:
    score, options = origin.score, origin.options
    models = []
    for role, model in zip(shelf.ROLES, (options.segmenter, options.classifier), strict=True):
        entry = shelf.entry(config, model, role)
        known = f"{entry.architecture} {entry.variant}" if entry else "not among the weights that are here"
        models.append(f"{role} {model[:12]}… ({known})")
    return ScoreStory(
        score_id=score.score_id,
        at=score.at,
        outcome=score.outcome,
        code=config.score_code(published(score.outcome)),
        sha256=sha256,
        unit=origin.unit,
        worker=origin.worker,
        host=origin.host,
        models=tuple(models),
        options=options,
        answer=score.answer,
        path=tuple(decision_path(score.answer, options)) if isinstance(score.answer, wire.Scored) else (),
        trail=trail,
        recomputed=recomputed,
    )


# ---- as text -------------------------------------------------------------------------------------------------------


def explanation_lines(config: Config, story: Explanation) -> Iterator[str]:
    """Format an explanation as text."""
    yield f"{story.barcode} {story.well}, inspection {story.inspection} of {story.inspected:%Y-%m-%d %H:%M}"
    for name in ("project", "sample", "condition"):
        if text := getattr(story.contents, name):
            yield f"  {name:<10} {text}"
    for image in story.images:
        yield ""
        yield f"image {image.image_name} (inspect id {image.inspect_id})"
        yield f"  file       {image.file}: {image.file_is}"
        if not image.scores:
            why = (
                f"{image.failure[0]}: {image.failure[1]}"
                if image.failure
                else "it waits, or its work unit is on its way"
            )
            yield f"  no score   {why}"
        for score in image.scores:
            yield from _score_lines(score)
    yield ""
    yield from _people_lines(config, story)


def _score_lines(score: ScoreStory) -> Iterator[str]:
    options, answer = score.options, score.answer
    code = f" ({score.code})" if score.code else ""
    yield f"  score {score.score_id}: {score.outcome}{code}, made {score.at:%Y-%m-%d %H:%M} UTC"
    yield f"    image      SHA-256 {score.sha256}"
    yield f"    by         worker {score.worker} on {score.host or 'a computer that did not say what it is'}"
    yield f"    unit       {score.unit}, image {answer.number}"
    for model in score.models:
        yield f"    model      {model}"
    rule = f"crystal_from {options.crystal_from:g}" if options.is_pooled else f"threshold {options.threshold:g}"
    support = f", support {options.support:g}" if options.rule == "group" else ""
    yield (
        f"    options    rule {options.rule}, {rule}{support}, "
        f"mode {options.mode}, step {options.step}, {options.n_boxes} boxes"
    )
    if isinstance(answer, wire.Failed):
        yield f"    failed     {answer.reason}: {answer.detail}"
    else:
        yield (
            f"    scale      {answer.pixel_size_um:g} µm a pixel ({answer.pixel_size_origin}), "
            f"{answer.width}×{answer.height}"
        )
        for word, line in zip(["decision", *[""] * len(score.path)], score.path, strict=False):
            yield f"    {word:<10} {line}"
        yield f"    says       probability {answer.probability:.4f}, p_crystal {answer.p_crystal:.4f}"
        if answer.probabilities:
            yield "    largest probability of each class over all chops:"
            for group, outcome, probability in largest(answer):
                yield f"      {probability:6.4f}  {outcome} ({group})"
        for number, chop in enumerate(answer.boxes, start=1):
            row, col, height, width = chop.box
            yield (
                f"    box {number}      {chop.outcome} {chop.probability:.4f} "
                f"at column {col}, row {row}, {width}×{height}"
            )
    yield from _trail_lines(score)
    if score.recomputed is not None:
        yield f"    again      {score.recomputed.verdict.upper()}: {score.recomputed.why}"


def _trail_lines(score: ScoreStory) -> Iterator[str]:
    trail = score.trail
    for decided in trail.decided:
        why = f": {decided.why}" if decided.why else ""
        yield f"    finalizer  {decided.at:%Y-%m-%d %H:%M} UTC, run {decided.run}: {decided.action}{why}"
    if not trail.decided:
        yield "    finalizer  has not seen it yet"
    for review in trail.reviewed:
        yield f"    review     {review.at:%Y-%m-%d %H:%M} UTC: {review.verdict} by {review.who}"
    for row in trail.written:
        state = "done" if row.done else "not known to be done"
        why = f": {row.why}" if row.why else ""
        yield f"    published  {row.at:%Y-%m-%d %H:%M} UTC, run {row.run}: {row.action} {row.code}{why}; {state}"
        if row.previous:
            yield f"               in place of {row.previous}"
        if row.undone:
            yield f"               undone {row.undone:%Y-%m-%d %H:%M} UTC by {row.undone_by}"


def _people_lines(config: Config, story: Explanation) -> Iterator[str]:
    """List the drop's rows of the score table, past ones included, and people's scores in the viewer."""
    yield (
        "score table, every row that was ever seen of this drop:"
        if story.imager_scores
        else "score table: no row was seen of this drop"
    )
    for seen in _in_order(story.imager_scores):
        row = seen.row
        outcome = config.outcome(row.code)
        what = "gone" if seen.gone else f"{row.code} {outcome or ''}".rstrip()
        number = story.inspections.get(row.inspect_id)
        where = f"inspection {number}" if number is not None else f"inspect id {row.inspect_id}"
        yield (
            f"  {row.date:%Y-%m-%d %H:%M}  {where:<13}  {what}, by {row.by or '?'} "
            f"(SCOREID {row.score_id}, seen {seen.seen_at:%Y-%m-%d %H:%M} UTC)"
        )
    if story.not_asked:
        yield f"  it could not be asked now: {story.not_asked}"
    for made in story.corrections:
        note = f": {made.note}" if made.note else ""
        yield f"  {made.at:%Y-%m-%d %H:%M} UTC  in the viewer, {made.who}: {made.outcome or 'took that back'}{note}"


def _in_order(seen: Sequence[SeenScore]) -> list[SeenScore]:
    return sorted(seen, key=lambda one: (one.row.date, one.row.score_id, one.seen_at))
