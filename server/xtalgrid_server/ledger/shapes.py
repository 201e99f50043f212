"""An image with a score has two shapes, `DropImage` without the worker's answer and `ScoredImage` with it.

Queries for the light shape leave the answers (boxes, outlines) in the database, so that one statement reads a plate of
1,536 wells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ..domain.images import ImageRow
from ..domain.light import LightRules, not_scored
from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase
from .waiting import may_be_completed, newest_failures

_OUTCOMES = {str(outcome): outcome for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class DropImage(ImageRow):
    """An image of a drop with its newest score.

    `outcome` is None while the image waits; `failure` is (reason, detail) of one that could not be scored. `at` is when
    it was scored (UTC). `sha256` is of the file that was scored, and of the `classifier`; both are empty without a
    score. `p_new`, `since` and `uv` are what a second look told of its crystals (`looks.Look`); None without one.
    `may_be_crystals` tells whether its `p_crystal` reaches what the lab calls crystals from, whatever its outcome is.
    """

    image_id: int
    score_id: int | None
    outcome: Outcome | None
    probability: float
    p_crystal: float
    at: datetime | None
    sha256: str
    classifier: str
    p_new: float | None
    since: datetime | None
    uv: str | None
    failure: tuple[str, str] | None
    may_be_crystals: bool

    @property
    def drop(self) -> tuple[str, Well]:
        """The drop that it shows: (barcode, well)."""
        return self.barcode, self.well

    @property
    def is_scored(self) -> bool:
        """Whether the image has a score from a worker."""
        return self.outcome is not None and self.failure is None


@dataclass(frozen=True, slots=True)
class ScoredImage(DropImage):
    """An image with one of its scores, the newest or an older one, and the worker's whole answer."""

    score_id: int
    outcome: Outcome
    at: datetime
    segmenter: str
    worker: str
    answer_json: str

    @property
    def answer(self) -> wire.Answer:
        """The answer, decoded each time: thousands of decoded answers take a quarter longer to export."""
        return wire.decode_answer(self.answer_json.encode())


def image_row(row: Any) -> ImageRow:
    """Make an image from a row with the columns of `tables.images`."""
    well = Well(row.row, row.col, row.subwell)
    return ImageRow(row.inspect_id, row.barcode, row.inspection, row.inspected, well, row.image_name)


def plate_order(image: DropImage) -> tuple[Any, ...]:
    """Return an image's sort key: by plate, inspection, column, row, subwell."""
    return image.barcode, image.inspection, image.well.col, image.well.row, image.well.subwell, image.image_id


D = TypeVar("D", bound=DropImage)

# ---- queries -------------------------------------------------------------------------------------------------------

_IMAGE = (
    t.images.c.inspect_id, t.images.c.barcode, t.images.c.inspection, t.images.c.inspected,
    t.images.c.row, t.images.c.col, t.images.c.subwell, t.images.c.image_name, t.images.c.id,
)  # fmt: skip
_SCORE = (
    t.scores.c.id.label("score_id"), t.scores.c.outcome, t.scores.c.probability, t.scores.c.p_crystal, t.scores.c.at,
    t.scores.c.sha256, t.scores.c.classifier, t.looks.c.p_new, t.looks.c.since, t.looks.c.uv,
)  # fmt: skip
_LOOKED = t.looks.c.score_id == t.scores.c.id
_FAILED = t.scores.c.outcome == str(Outcome.FAILED)
_LIGHT = (*_IMAGE, *_SCORE, sa.case((_FAILED, t.scores.c.answer), else_=None).label("answer"))
_FULL = (*_IMAGE, *_SCORE, t.scores.c.answer, t.scores.c.segmenter, t.scores.c.worker)


def newest_score() -> sa.ColumnElement[Any]:
    """Select the id of an image's newest score: of its file as it is now, or of an earlier one until that is scored.

    That an earlier file could not be scored says nothing of the one that replaced it.
    """
    scores = t.scores.alias()
    newest = sa.select(sa.func.max(scores.c.id)).where(scores.c.image_id == t.images.c.id)
    of_file = newest.where(scores.c.sha256 == t.images.c.sha256)
    of_earlier = newest.where(sa.or_(t.images.c.sha256 == "", scores.c.outcome != str(Outcome.FAILED)))
    return sa.func.coalesce(*(one.correlate(t.images).scalar_subquery() for one in (of_file, of_earlier)))


def select_images(answers: bool = False) -> sa.Select[Any]:
    """Select images for `drop_images`, also those that wait or failed."""
    columns = _FULL if answers else _LIGHT
    scored = t.images.outerjoin(t.scores, t.scores.c.id == newest_score())
    return sa.select(*columns).select_from(scored.outerjoin(t.looks, _LOOKED))


def has_artscore() -> sa.ColumnElement[bool]:
    """Select of `select_images` those whose newest score is no failure."""
    return t.scores.c.id.is_not(None) & ~_FAILED


def select_scored(answers: bool = False) -> sa.Select[Any]:
    """Select images whose newest score is no failure, for `drop_images` or, with answers, for `scored_image`."""
    columns = _FULL if answers else _LIGHT
    scored = sa.select(*columns).join_from(t.images, t.scores, t.scores.c.id == newest_score())
    return scored.outerjoin(t.looks, _LOOKED).where(~_FAILED)


def select_scores() -> sa.Select[Any]:
    """Select scores, older ones and failures too, for `scored_image`."""
    scores = sa.select(*_FULL).join_from(t.scores, t.images, t.images.c.id == t.scores.c.image_id)
    return scores.outerjoin(t.looks, _LOOKED)


def drop_images(
    database: LedgerDatabase,
    connection: sa.Connection,
    statement: sa.Select[Any],
    keep: Callable[[str, Well], bool] | None = None,
    answers: bool = False,
) -> list[DropImage]:
    """Read images, with answers those that have a score; look up why those without a score failed.

    Those that still wait for the rest of their file have not failed. `keep` tells whether a drop is wanted.
    """
    rows: Iterable[Any] = connection.execute(statement)
    rows = [row for row in rows if keep is None or keep(row.barcode, Well(row.row, row.col, row.subwell))]
    waiting = [row.id for row in rows if row.score_id is None]
    failures: dict[int, tuple[str, str]] = {}
    for part in chunks(waiting):
        of_images = t.failures.c.image_id.in_(part), t.failures.c.closed_at.is_(None)
        chosen = sa.select(t.failures, t.images.c.modified).join(t.images, t.images.c.id == t.failures.c.image_id)
        found = newest_failures(connection.execute(chosen.where(*of_images).order_by(t.failures.c.id)))
        failures |= {
            image_id: (row.reason, row.detail)
            for image_id, (row, since) in found.items()
            if not may_be_completed(row.reason, since, row.modified, database.held)
        }
    return [
        scored_image(database, row)
        if answers and row.score_id is not None
        else _drop_image(database, row, failures.get(row.id))
        for row in rows
    ]


def with_a_say(rules: LightRules, images: Sequence[D]) -> list[D]:
    """Leave out images that only an earlier version scored: those in other light, and slices of a scored composite."""
    without = not_scored(rules, (image for image in images if image.is_scored))
    return [
        image
        for image in images
        if (image.inspect_id, image.image_name) not in without
        and (image.is_scored or rules.is_scored(image.image_name))
    ]


def _drop_image(database: LedgerDatabase, row: Any, failure: tuple[str, str] | None) -> DropImage:
    """Make an image from a row; `failure` is that of an image without a score."""
    return DropImage(*_values(database, row, _failure(row.answer) if row.answer else failure))


def scored_image(database: LedgerDatabase, row: Any) -> ScoredImage:
    """Make an image with its answer from a row."""
    failure = _failure(row.answer) if row.outcome == Outcome.FAILED else None
    return ScoredImage(*_values(database, row, failure, row.segmenter, row.worker, row.answer))


def _values(database: LedgerDatabase, row: Any, failure: tuple[str, str] | None, *more: Any) -> tuple[Any, ...]:
    """Return the values of `DropImage`, and more, from a row; unpacked, since reading it by name takes longer."""
    (
        inspect_id, barcode, inspection, inspected, well_row, col, subwell, image_name, image_id,
        score_id, outcome, probability, p_crystal, at, sha256, classifier,
        p_new, since, uv, *_,
    ) = row  # fmt: skip
    return (
        inspect_id, barcode, inspection, inspected, Well(well_row, col, subwell), image_name, image_id, score_id,
        _OUTCOMES[outcome] if outcome else Outcome.FAILED if failure else None,
        probability or 0.0, p_crystal or 0.0, at, sha256 or "", classifier or "",
        p_new, since, uv, failure, (p_crystal or 0.0) >= database.crystal_from, *more,
    )  # fmt: skip


def _failure(answer_json: str) -> tuple[str, str] | None:
    answer = wire.decode_answer(answer_json.encode())
    return (str(answer.reason), answer.detail) if isinstance(answer, wire.Failed) else None
