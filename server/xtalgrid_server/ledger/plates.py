"""Plates and their inspections: which there are, when they were inspected, and how many images have which outcome."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from xtalgrid_core.outcomes import Outcome

from ..domain.images import FIRST_IMAGED
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, is_of
from .images import BATCH, Range
from .shapes import drop_images, newest_score, select_images, with_a_say
from .waiting import has_failed

Inspection = tuple[str, int]
"""A plate's barcode and the inspection's number."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Images of an inspection by newest outcome; `waiting` counts those with neither a score nor a failure."""

    images: int
    outcomes: dict[Outcome, int]

    @property
    def waiting(self) -> int:
        """Number of images with neither a score nor a failure."""
        return max(self.images - sum(self.outcomes.values()), 0)


class Plates:
    """The part of the ledger that lists plates and inspections."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def highest_image(self) -> int:
        """Return the highest image id, or 0 if there are no images."""
        return int(self._db.scalar(sa.select(sa.func.max(t.images.c.id))) or 0)

    def last_change(self) -> datetime | None:
        """Return when a row of an image was last corrected, or its file found with another content; None: never."""
        at: datetime | None = self._db.scalar(sa.select(sa.func.max(t.images.c.changed_at)))
        return at

    def state(self) -> tuple[object, ...]:
        """Return what stays the same as long as nothing came in that changes how drops are shown.

        These are the newest ids of all tables that drops are shown from, and when a failure was last mended, a file
        last found changed, or crystals looked at again.
        """
        tables = t.images, t.scores, t.failures, t.corrections, t.imager_scores, t.imported_scores, t.drops
        newest = (sa.select(sa.func.max(table.c.id)).scalar_subquery() for table in tables)
        mended = sa.select(sa.func.max(t.failures.c.closed_at)).scalar_subquery()
        changed = sa.select(sa.func.max(t.images.c.changed_at)).scalar_subquery()
        looked = sa.select(sa.func.max(t.looks.c.at)).scalar_subquery()
        return tuple(self._db.rows(sa.select(*newest, mended, changed, looked))[0])

    def barcodes(self) -> list[str]:
        """Return the plates with images, sorted by barcode."""
        images = t.images.c
        statement = sa.select(images.barcode).distinct().where(images.source == self._db.source)
        return [row.barcode for row in self._db.rows(statement.order_by(images.barcode))]

    def changed_since(self, image_id: int, date: datetime) -> set[str]:
        """Return the plates with an image of a higher id, or inspected or scored since a date (imager's local time)."""
        images, seen = t.images.c, t.imager_scores.c
        recent = sa.select(images.barcode).where(sa.or_(images.id > image_id, images.inspected >= date))
        scored = (
            sa.select(images.barcode)
            .join(t.imager_scores, sa.and_(seen.source == images.source, seen.inspect_id == images.inspect_id))
            .where(seen.date >= date)
        )
        statements = (chosen.where(images.source == self._db.source).distinct() for chosen in (recent, scored))
        return {row.barcode for statement in statements for row in self._db.rows(statement)}

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
        """Count the images of each outcome in these inspections, those that have a say."""
        images = t.images.c
        is_failed = sa.case((t.scores.c.outcome.is_(None) & has_failed(self._db.held), 1), else_=0)
        statement = (
            sa.select(t.scores.c.outcome, is_failed.label("failed"), sa.func.count().label("number"))
            .select_from(t.images.outerjoin(t.scores, t.scores.c.id == newest_score()))
            .group_by(t.scores.c.outcome, is_failed)
        )
        ends = sa.func.min(images.image_name), sa.func.max(images.image_name)
        number_of = sa.select(sa.func.count(), sa.func.count(images.inspect_id.distinct()), *ends)
        counts: dict[Inspection, Counts] = {}
        with self._db.reading() as connection:
            for barcode, number in inspections:  # one by one: SQLite uses no index for a list of pairs
                where = images.source == self._db.source, images.barcode == barcode, images.inspection == number
                total, drops, *names = connection.execute(number_of.where(*where)).one()
                if total != drops or not all(self._db.light.is_scored(name) for name in names if name):
                    read = drop_images(self._db, connection, select_images().where(*where))
                    shown = with_a_say(self._db.light, read)
                    known = collections.Counter(image.outcome for image in shown if image.outcome is not None)
                    counts[barcode, number] = Counts(len(shown), known)
                    continue
                total, outcomes = 0, dict[Outcome, int]()
                for row in connection.execute(statement.where(*where)):
                    total += row.number
                    outcome = Outcome(row.outcome) if row.outcome else Outcome.FAILED if row.failed else None
                    if outcome is not None:
                        outcomes[outcome] = outcomes.get(outcome, 0) + row.number
                counts[barcode, number] = Counts(total, outcomes)
        return counts

    def batches(self, chosen: Range) -> Iterator[list[str]]:
        """Yield the plates of a range, as many at a time as have about `BATCH` images."""
        barcode = t.images.c.barcode
        statement = sa.select(barcode, sa.func.count()).where(t.images.c.source == self._db.source, *chosen.dates)
        statement = statement.group_by(barcode).order_by(barcode)
        if chosen.barcodes is None:
            sizes = self._db.rows(statement)
        else:
            sizes = self._db.rows_in(statement, barcode, sorted(chosen.barcodes))
        batch, size = list[str](), 0
        for name, number in sizes:
            if batch and (size + number > BATCH or len(batch) == 500):
                yield batch
                batch, size = [], 0
            batch.append(name)
            size += number
        if batch:
            yield batch

    def with_crystals(
        self, p_crystal: float, inspected_since: datetime | None = None, scored_since: datetime | None = None
    ) -> set[str]:
        """Return plates with an image of at least this `p_crystal`.

        `inspected_since` (naive local time) and `scored_since` (UTC) leave out older images and scores; what was taken
        by a clock that had lost its time (`FIRST_IMAGED`) may be of any age, and stays.
        """
        statement = (
            sa.select(t.images.c.barcode)  # not DISTINCT: SQLite would scan the plate index for it
            .join_from(t.images, t.scores, t.scores.c.image_id == t.images.c.id)
            .where(is_of(self._db.source, t.images.c.source), t.scores.c.p_crystal >= p_crystal)
        )
        if inspected_since is not None:
            inspected = t.images.c.inspected
            statement = statement.where(sa.or_(inspected >= inspected_since, inspected < FIRST_IMAGED))
        if scored_since is not None:
            statement = statement.where(t.scores.c.at >= scored_since)
        return {row.barcode for row in self._db.rows(statement)}
