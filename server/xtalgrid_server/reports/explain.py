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
from xtalgrid_core.weights import Role

from ..config import Config
from ..domain.images import has_date
from ..imager.crystaltrak.database import ImagerDatabase
from ..imager.folder.formats import known_format
from ..ledger.contents import Contents
from ..ledger.corrections import Correction
from ..ledger.decisions import Decision, Review
from ..ledger.imager_scores import SeenScore
from ..ledger.imported_scores import ImportedScore, numbers_of
from ..ledger.publications import Publication
from ..ledger.scores import Origin
from ..ledger.shapes import DropImage, ScoredImage
from ..ledger.store import Ledger
from ..steps.pack import image_path, read_original
from ..storage import weights
from .decision_path import decision_path, largest, possible_groups
from .drop import images_of, record_scores
from .recompute import Recomputed, recompute


@dataclass(frozen=True, slots=True)
class Trail:
    """What happened to a score, each part oldest first."""

    decided: Sequence[Decision]
    reviewed: Sequence[Review]
    written: Sequence[Publication]


@dataclass(frozen=True, slots=True)
class ExplainedScore:
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
class ExplainedImage:
    """An image and its scores, newest first; `file_is` says whether its file is still the one that was scored."""

    image_id: int
    inspect_id: int
    image_name: str
    file: str
    file_is: str
    failure: tuple[str, str] | None
    scores: tuple[ExplainedScore, ...]


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
    images: tuple[ExplainedImage, ...]
    inspections: dict[int, int]
    """Number of each inspection, by inspect id."""
    imager_scores: tuple[SeenScore, ...]
    corrections: tuple[Correction, ...]
    imported: tuple[ImportedScore, ...] = ()
    """Scores that were imported from other programs' files."""
    not_asked: str = field(default="")
    plate: str = ""
    """Format of the plate, and what it is known from, if its wells are named by numbers."""


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
    number = drop[-1].inspection if inspection is None else inspection
    images = images_of(ledger, barcode, name, number)
    ids, not_asked = record_scores(database, ledger, drop)
    first, known = images[0], known_format(config, database, barcode)
    corrections = ledger.corrections.of_images([image.image_id for image in drop])
    imported = ledger.imported_scores.of_images([image.image_id for image in drop])
    return Explanation(
        barcode=barcode,
        well=str(first.well),
        inspection=number,
        inspected=first.inspected,
        contents=ledger.contents.of_plates([barcode])(barcode, first.well),
        images=tuple(_explained_image(config, ledger, image, again) for image in images),
        inspections={image.inspect_id: image.inspection for image in drop},
        imager_scores=tuple(ledger.imager_scores.history(ids)),
        corrections=tuple(sorted((one for made in corrections.values() for one in made), key=lambda one: one.id)),
        imported=tuple(score for scores in imported.values() for score in scores),
        not_asked=not_asked,
        plate="" if known is None else f"{known[0]}, by {known[1]}",
    )


def _explained_image(config: Config, ledger: Ledger, image: DropImage, again: bool) -> ExplainedImage:
    origins = ledger.scores.origins(image.image_id)
    scores = list(reversed(ledger.scores.of_images([image.image_id])))
    ids = list(origins)
    decisions, reviews = ledger.decisions.of_scores(ids), ledger.decisions.reviews(ids)
    publications = ledger.publications.of_scores(ids)
    file, file_is = _file(config, image)
    explained = []
    for score in scores:
        score_id, origin = score.score_id, origins[score.score_id]
        trail = Trail(decisions[score_id], reviews.get(score_id, ()), publications[score_id])
        recomputed = recompute(config, ledger, score, origin) if again and score is scores[0] else None
        explained.append(_explained_score(config, score, origin, trail, recomputed))
    return ExplainedImage(
        image_id=image.image_id,
        inspect_id=image.inspect_id,
        image_name=image.image_name,
        file=file,
        file_is=file_is,
        failure=image.failure,
        scores=tuple(explained),
    )


def _file(config: Config, image: DropImage) -> tuple[str, str]:
    try:
        path: Path = image_path(config, image)
        data = read_original(config, image)
    except ImageError as error:
        return image.image_name, error.detail
    if not image.sha256:
        return str(path), "exists"
    if hashlib.sha256(data).hexdigest() != image.sha256:
        return str(path), "the file has changed since it was last scored"
    return str(path), "the file that was scored"


def _explained_score(
    config: Config, score: ScoredImage, origin: Origin, trail: Trail, recomputed: Recomputed | None
) -> ExplainedScore:
    options = origin.options
    used: dict[Role, str] = {"segmenter": options.segmenter, "classifier": options.classifier}
    if options.second_opinion is not None:
        used["second_opinion"] = options.second_opinion
    models = []
    for role, model in used.items():
        entry = weights.entry(config, model, role)
        known = f"{entry.architecture} {entry.variant}" if entry else "not available here"
        models.append(f"{role} {model[:12]}… ({known})")
    return ExplainedScore(
        score_id=score.score_id,
        at=score.at,
        outcome=score.outcome,
        code=config.score_code(published(score.outcome)),
        sha256=score.sha256,
        unit=origin.unit,
        worker=score.worker,
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
    if story.plate:
        yield f"  plate      {story.plate}"
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
                else "it is waiting, or its work unit is in progress"
            )
            yield f"  no score   {why}"
        for score in image.scores:
            yield from _score_lines(score)
    yield ""
    yield from _people_lines(config, story)


def _score_lines(score: ExplainedScore) -> Iterator[str]:
    options, answer = score.options, score.answer
    code = f" ({score.code})" if score.code else ""
    yield f"  score {score.score_id}: {score.outcome}{code}, made {score.at:%Y-%m-%d %H:%M} UTC"
    yield f"    image      SHA-256 {score.sha256}"
    yield f"    by         worker {score.worker} on {score.host or 'an unknown computer'}"
    yield f"    unit       {score.unit}, image {answer.number}"
    for model in score.models:
        yield f"    model      {model}"
    rule = f"crystal_from {options.crystal_from:g}" if options.is_pooled else f"threshold {options.threshold:g}"
    if options.undecided is not None:
        rule += f", undecided below {' '.join(f'{limit:g}' for limit in options.undecided)}"
    support = f", support {options.support:g}" if options.rule == "group" else ""
    yield (
        f"    options    rule {options.rule}, {rule}{support}, "
        f"mode {options.mode}, step {options.step}, {options.n_boxes} boxes"
    )
    if isinstance(answer, wire.Failed):
        yield f"    failed     {answer.reason}: {answer.detail}"
    else:
        yield (
            f"    scale      {answer.pixel_size_um:g} µm per pixel ({answer.pixel_size_origin}), "
            f"{answer.width}×{answer.height}"
        )
        for word, line in zip(["decision", *[""] * len(score.path)], score.path, strict=False):
            yield f"    {word:<10} {line}"
        yield f"    result     probability {answer.probability:.4f}, p_crystal {answer.p_crystal:.4f}"
        if (groups := possible_groups(answer, options)) is not None:
            yield f"    may be     {' or '.join(groups) or 'none of the groups'}"
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


def _trail_lines(score: ExplainedScore) -> Iterator[str]:
    trail = score.trail
    for decided in trail.decided:
        why = f": {decided.why}" if decided.why else ""
        yield f"    finalizer  {decided.at:%Y-%m-%d %H:%M} UTC, run {decided.run}: {decided.action}{why}"
    if not trail.decided:
        yield "    finalizer  has not decided yet"
    for review in trail.reviewed:
        yield f"    review     {review.at:%Y-%m-%d %H:%M} UTC: {review.verdict} by {review.who}"
    for row in trail.written:
        state = "done" if row.done else "not confirmed"
        why = f": {row.why}" if row.why else ""
        yield f"    published  {row.at:%Y-%m-%d %H:%M} UTC, run {row.run}: {row.action} {row.code}{why}; {state}"
        if row.previous:
            yield f"               in place of {row.previous}"
        if row.undone:
            yield f"               undone {row.undone:%Y-%m-%d %H:%M} UTC by {row.undone_by}"


def _people_lines(config: Config, story: Explanation) -> Iterator[str]:
    """List the drop's rows of the score table, past ones included, and people's scores in the viewer."""
    yield (
        "score table, all rows ever recorded for this drop:"
        if story.imager_scores
        else "score table: no rows recorded for this drop"
    )
    for seen in _in_order(story.imager_scores):
        row = seen.row
        outcome = config.outcome(row.code)
        what = "deleted" if seen.gone else f"{row.code} {outcome or ''}".rstrip()
        number = story.inspections.get(row.inspect_id)
        where = f"inspection {number}" if number is not None else f"inspect id {row.inspect_id}"
        date = f"{row.date:%Y-%m-%d %H:%M}" if has_date(row.date) else "without a date  "
        yield (
            f"  {date}  {where:<13}  {what}, by {row.by or '?'} "
            f"(SCOREID {row.score_id}, seen {seen.seen_at:%Y-%m-%d %H:%M} UTC)"
        )
    if story.not_asked:
        yield f"  cannot be read now: {story.not_asked}"
    for score in story.imported:
        said = f"“{score.word}” {numbers_of(score)}".rstrip()
        yield f"  {score.at:%Y-%m-%d %H:%M} UTC  {score.origin}, {score.kind} {score.who}: {said}"
    for made in story.corrections:
        note = f": {made.note}" if made.note else ""
        yield f"  {made.at:%Y-%m-%d %H:%M} UTC  in the viewer, {made.who}: {made.outcome or 'withdrew the score'}{note}"


def _in_order(seen: Sequence[SeenScore]) -> list[SeenScore]:
    return sorted(seen, key=lambda one: (one.row.date, one.row.score_id, one.seen_at))
