"""What the viewer's pages list: plates, the drops of a plate, a drop over time, undecided and held images.

The queries read few columns and leave answers (boxes, outlines) in the database, so that one statement reads a plate of
1,536 wells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase
from .records import newest_score, now

Inspection = tuple[str, int]
"""A plate's barcode and the inspection's number."""


@dataclass(frozen=True, slots=True)
class DropImage:
    """An image of a drop with its newest score.

    `outcome` is None while the image waits; `failure` is (reason, detail) of one that could not be scored. `at` is when
    it was scored (UTC); `inspected` is the imager's naive local time.
    """

    image_id: int
    inspect_id: int
    barcode: str
    inspection: int
    inspected: datetime
    well: Well
    image_name: str
    score_id: int | None
    outcome: Outcome | None
    probability: float
    p_crystal: float
    at: datetime | None
    failure: tuple[str, str] | None

    @property
    def is_scored(self) -> bool:
        """Whether the image has a score from a worker."""
        return self.outcome is not None and self.failure is None


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One ARTscore of an image, the newest or an older one; `at` is UTC, the models are SHA-256."""

    score_id: int
    image_id: int
    at: datetime
    outcome: Outcome
    probability: float
    p_crystal: float
    classifier: str
    segmenter: str
    worker: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Images of an inspection by newest outcome; `waiting` counts those with neither a score nor a failure."""

    images: int
    outcomes: dict[Outcome, int]

    @property
    def waiting(self) -> int:
        """Number of images with neither a score nor a failure."""
        return max(self.images - sum(self.outcomes.values()), 0)


@dataclass(frozen=True, slots=True)
class HostWork:
    """What computers of one kind did recently; `name` is the worker's description of its computer."""

    name: str
    units: int
    last: datetime


class Plates:
    """The part of the ledger that the viewer's lists read."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    # ---- plates ---------------------------------------------------------------------------------------------------

    def highest_image(self) -> int:
        """Return the highest image id, or 0 if there are no images."""
        with self._db.reading() as connection:
            return connection.scalar(sa.select(sa.func.max(t.images.c.id))) or 0

    def state(self) -> tuple[int, ...]:
        """Return the newest ids of all tables that drops are shown from: while they are the same, nothing came in."""
        tables = t.images, t.scores, t.failures, t.corrections, t.imager_scores, t.drops
        newest = (sa.select(sa.func.max(table.c.id)).scalar_subquery() for table in tables)
        with self._db.reading() as connection:
            return tuple(number or 0 for number in connection.execute(sa.select(*newest)).one())

    def inspections_since(self, image_id: int) -> dict[Inspection, datetime]:
        """Return the times (imager's local time) of the inspections with images of a higher id; 0: of all.

        An inspection's time is that of its newest image in the ledger.
        """
        images = t.images.c
        columns = images.source, images.barcode, images.inspection
        with self._db.reading() as connection:
            if image_id:  # not grouped in SQL: SQLite would read a whole index to get the order
                later = sa.select(*columns, images.inspected).where(images.id > image_id).order_by(images.inspected)
                rows = list(connection.execute(later))
            else:  # one row per inspection from the plate index: half a second for a million images
                newest = sa.select(sa.func.max(images.id)).group_by(images.barcode, images.inspection)
                dates = sa.select(*columns, images.inspected)
                rows = [
                    row
                    for part in chunks(list(connection.scalars(newest)))
                    for row in connection.execute(dates.where(images.id.in_(part)))
                ]
        # source is filtered here: in the statement, SQLite would use the index on the source instead
        return {(row.barcode, row.inspection): row.inspected for row in rows if row.source == self._db.source}

    def counts(self, inspections: Sequence[Inspection]) -> dict[Inspection, Counts]:
        """Count the images of each outcome in these inspections."""
        images = t.images.c
        failed = sa.exists().where(t.failures.c.image_id == images.id)
        is_failed = sa.case((t.scores.c.outcome.is_(None) & failed, 1), else_=0)
        statement = (
            sa.select(t.scores.c.outcome, is_failed.label("failed"), sa.func.count().label("number"))
            .select_from(t.images.outerjoin(t.scores, t.scores.c.id == newest_score()))
            .group_by(t.scores.c.outcome, is_failed)
        )
        found: dict[Inspection, Counts] = {}
        with self._db.reading() as connection:
            for barcode, number in inspections:  # one by one: SQLite uses no index for a list of pairs
                here = images.source == self._db.source, images.barcode == barcode, images.inspection == number
                total, outcomes = 0, dict[Outcome, int]()
                for row in connection.execute(statement.where(*here)):
                    total += row.number
                    outcome = Outcome(row.outcome) if row.outcome else Outcome.FAILED if row.failed else None
                    if outcome is not None:
                        outcomes[outcome] = outcomes.get(outcome, 0) + row.number
                found[barcode, number] = Counts(total, outcomes)
        return found

    def contents(self, barcodes: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """Return the (project, sample) pairs of these plates, as far as they are known."""
        found: dict[str, list[tuple[str, str]]] = {}
        drops = t.drops.c
        statement = (
            sa.select(drops.barcode, drops.project, drops.sample).where(drops.source == self._db.source).distinct()
        )
        with self._db.reading() as connection:
            for part in chunks(barcodes):
                for row in connection.execute(statement.where(drops.barcode.in_(part)).order_by(drops.sample)):
                    if row.project or row.sample:
                        found.setdefault(row.barcode, []).append((row.project, row.sample))
        return found

    def with_contents(self, part: str) -> set[str]:
        """Return the barcodes of plates whose project, sample or condition contains `part`, ignoring case."""
        drops = t.drops.c
        fits = (column.icontains(part, autoescape=True) for column in (drops.project, drops.sample, drops.condition))
        statement = sa.select(drops.barcode).where(drops.source == self._db.source, sa.or_(*fits)).distinct()
        with self._db.reading() as connection:
            return set(connection.scalars(statement))

    # ---- drops ----------------------------------------------------------------------------------------------------

    def drops(self, barcode: str, inspections: Sequence[int], well: Well | None = None) -> list[DropImage]:
        """Return the images of a plate, or of one drop, at these inspections: by inspection, column, row, subwell."""
        images = t.images.c
        where = [images.source == self._db.source, images.barcode == barcode, images.inspection.in_(inspections)]
        if well is not None:
            where += [images.row == well.row, images.col == well.col, images.subwell == well.subwell]
        order = images.inspection, images.col, images.row, images.subwell, images.id
        with self._db.reading() as connection:
            return self._images(connection, *where, order=order)

    def images(self, image_ids: Sequence[int]) -> dict[int, DropImage]:
        """Return images by id."""
        with self._db.reading() as connection:
            found = [
                image
                for part in chunks(image_ids)
                for image in self._images(connection, t.images.c.id.in_(part), order=())
            ]
        return {image.image_id: image for image in found}

    def scores_ever(self, image_ids: Sequence[int]) -> list[ImageScore]:
        """Return every ARTscore that these images ever got, oldest first."""
        scores = t.scores.c
        statement = sa.select(
            scores.id, scores.image_id, scores.at, scores.outcome, scores.probability, scores.p_crystal,
            scores.classifier, scores.segmenter, scores.worker,
        ).order_by(scores.id)  # fmt: skip
        with self._db.reading() as connection:
            rows = [
                row
                for part in chunks(image_ids)
                for row in connection.execute(statement.where(scores.image_id.in_(part)))
            ]
        return [
            ImageScore(
                r.id,
                r.image_id,
                r.at,
                Outcome(r.outcome),
                r.probability,
                r.p_crystal,
                r.classifier,
                r.segmenter,
                r.worker,
            )
            for r in rows
        ]

    def undecided(self, limit: int) -> list[DropImage]:
        """Return the newest images whose newest score is undecided and that nobody has scored in the viewer."""
        said = sa.exists().where(t.corrections.c.image_id == t.images.c.id)
        statement = (
            sa.select(t.scores.c.image_id)
            .join(t.images, t.images.c.id == t.scores.c.image_id)
            .where(t.scores.c.outcome == str(Outcome.UNDECIDED), t.scores.c.id == newest_score(), ~said)
            .order_by(t.scores.c.id.desc())
            .limit(limit)
        )
        with self._db.reading() as connection:
            ids = list(connection.scalars(statement))
        found = self.images(ids)
        return [found[image_id] for image_id in ids if image_id in found]

    def rescored(self, who: str, limit: int) -> list[tuple[DropImage, Outcome, datetime]]:
        """Return images that a person scored in the viewer and whose newer ARTscore is of another group, newest first.

        Each comes as (image, the person's outcome, when they gave it in UTC).
        """
        newest = sa.select(sa.func.max(t.corrections.c.id)).where(t.corrections.c.who == who)
        theirs = newest.group_by(t.corrections.c.image_id)
        statement = (
            sa.select(t.corrections.c.image_id, t.corrections.c.outcome, t.corrections.c.at)
            .join(t.images, t.images.c.id == t.corrections.c.image_id)
            .where(
                t.corrections.c.id.in_(theirs),
                t.corrections.c.outcome != "",
                newest_score() > sa.func.coalesce(t.corrections.c.score_id, 0),
            )
            .order_by(t.corrections.c.id.desc())
            .limit(10 * limit)
        )
        with self._db.reading() as connection:
            rows = connection.execute(statement).all()
        images = self.images([row.image_id for row in rows])
        found = []
        for row in rows:
            image, said = images.get(row.image_id), Outcome(row.outcome)
            if image and image.is_scored and image.outcome and image.outcome.group is not said.group:
                found.append((image, said, row.at))
        return found[:limit]

    def _images(self, connection: sa.Connection, *where: sa.ColumnElement[bool], order: Any) -> list[DropImage]:
        images, scores = t.images.c, t.scores.c
        is_failed = scores.outcome == str(Outcome.FAILED)
        columns: list[Any] = [
            images.id, images.inspect_id, images.barcode, images.inspection, images.inspected,
            images.row, images.col, images.subwell, images.image_name,
            scores.id.label("score_id"), scores.outcome, scores.probability, scores.p_crystal, scores.at,
            sa.case((is_failed, scores.answer), else_=None).label("answer"),
        ]  # fmt: skip
        joined = t.images.outerjoin(t.scores, t.scores.c.id == newest_score())
        rows = connection.execute(sa.select(*columns).select_from(joined).where(*where).order_by(*order)).all()
        waiting = [row.id for row in rows if row.score_id is None]
        failures: dict[int, tuple[str, str]] = {}
        for part in chunks(waiting):
            statement = sa.select(t.failures).where(t.failures.c.image_id.in_(part)).order_by(t.failures.c.id)
            failures.update({row.image_id: (row.reason, row.detail) for row in connection.execute(statement)})
        return [_drop_image(row, failures.get(row.id)) for row in rows]

    # ---- what needs a person --------------------------------------------------------------------------------------

    def held(self) -> list[int]:
        """Return the ids of scores that the finalizer holds back and nobody has reviewed since, newest first."""
        later, decided = t.finalizations.alias(), t.finalizations
        newer = sa.exists().where(later.c.score_id == decided.c.score_id, later.c.id > decided.c.id)
        reviewed = sa.exists().where(t.reviews.c.score_id == decided.c.score_id, t.reviews.c.at >= decided.c.at)
        statement = sa.select(decided.c.score_id).where(decided.c.action == "hold", ~newer, ~reviewed)
        with self._db.reading() as connection:
            return list(connection.scalars(statement.order_by(decided.c.id.desc())))

    def images_of_scores(self, score_ids: Sequence[int]) -> list[DropImage]:
        """Return the image of each of these scores, in the same order."""
        pairs: dict[int, int] = {}
        with self._db.reading() as connection:
            for part in chunks(score_ids):
                rows = connection.execute(sa.select(t.scores.c.id, t.scores.c.image_id).where(t.scores.c.id.in_(part)))
                pairs.update({row.id: row.image_id for row in rows})
        images = self.images(list(set(pairs.values())))
        return [images[pairs[score_id]] for score_id in score_ids if pairs.get(score_id) in images]

    def failures(self, limit: int) -> tuple[dict[str, int], list[tuple[datetime, str, str, str, str]]]:
        """Return how many files without a score failed for each reason, and the newest of them.

        These come as (at, step, file, reason, detail).
        """
        scored = sa.exists().where(t.scores.c.image_id == t.failures.c.image_id)
        reasons = sa.select(t.failures.c.reason, sa.func.count(sa.distinct(t.failures.c.file))).where(~scored)
        newest = sa.select(t.failures).where(~scored).order_by(t.failures.c.id.desc()).limit(limit)
        with self._db.reading() as connection:
            counts = {row[0]: int(row[1]) for row in connection.execute(reasons.group_by(t.failures.c.reason))}
            rows = [(r.at, r.step, r.file, r.reason, r.detail) for r in connection.execute(newest)]
        return counts, rows

    def throughput(self, hours: float) -> tuple[int, list[HostWork]]:
        """Return how many scores came in during the last hours, and which computers sent them, busiest first."""
        since = now() - timedelta(hours=hours)
        results = t.results.c
        lately = results.received_at >= since, results.accepted == 1
        ids = sa.select(results.id).where(*lately)
        number = sa.select(sa.func.count()).select_from(t.scores).where(t.scores.c.result_id.in_(ids))
        hosts = (
            sa.select(results.host, sa.func.count().label("units"), sa.func.max(results.received_at).label("last"))
            .where(*lately)
            .group_by(results.host)
            .order_by(sa.func.count().desc())
        )
        with self._db.reading() as connection:
            found = [HostWork(row.host or "unnamed", row.units, row.last) for row in connection.execute(hosts)]
            return connection.scalar(number) or 0, found

    def waiting_images(self) -> int:
        """Count the images in units that have not come back."""
        statement = (
            sa.select(sa.func.count())
            .select_from(t.unit_images.join(t.units, t.units.c.id == t.unit_images.c.unit_id))
            .where(t.units.c.state.in_(("planned", "sent")))
        )
        with self._db.reading() as connection:
            return connection.scalar(statement) or 0


def drop_image(row: Any, outcome: Outcome | None, failure: tuple[str, str] | None) -> DropImage:
    """Make an image from a row with the columns of `tables.images`, and of its newest score if it has one."""
    return DropImage(
        image_id=row.id,
        inspect_id=row.inspect_id,
        barcode=row.barcode,
        inspection=row.inspection,
        inspected=row.inspected,
        well=Well(row.row, row.col, row.subwell),
        image_name=row.image_name,
        score_id=row.score_id,
        outcome=outcome,
        probability=row.probability or 0.0,
        p_crystal=row.p_crystal or 0.0,
        at=row.at,
        failure=failure,
    )


def _drop_image(row: Any, failure: tuple[str, str] | None) -> DropImage:
    outcome = Outcome(row.outcome) if row.outcome else None
    if row.answer:
        answer = wire.decode_answer(row.answer.encode())
        failure = (str(answer.reason), answer.detail) if isinstance(answer, wire.Failed) else None
    elif outcome is not None:
        failure = None
    elif failure is not None:
        outcome = Outcome.FAILED
    return drop_image(row, outcome, failure)
