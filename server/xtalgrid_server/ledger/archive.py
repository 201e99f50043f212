"""The whole archive as a stream: the newest score of each image, by plate, or of inspections that people scored.

A million scores are read a few thousand at a time; answers (boxes, outlines) are read only on request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.outcomes import Outcome

from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, is_of
from .plates import DropImage, drop_image
from .records import newest_score

BATCH = 5_000
"""Images read at once; a larger plate is still read in one go."""


@dataclass(frozen=True, slots=True)
class Archived:
    """An image with its newest score. `answer` is JSON of `wire.Scored`, empty if not requested."""

    image: DropImage
    outcome: Outcome
    sha256: str
    classifier: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """Which images: of these plates (None: all), inspected from `since` until just before `before`.

    Both are naive local times of the imager; None sets no limit.
    """

    barcodes: Collection[str] | None = None
    since: datetime | None = None
    before: datetime | None = None


class Archive:
    """The part of the ledger that searches, reports and exports read. Images without a score are left out."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def plates(self, chosen: Range) -> Iterator[list[Archived]]:
        """Yield the images of whole plates, about `BATCH` at a time; see `images`."""
        for barcodes in self.batches(chosen):
            yield self.images(barcodes, chosen)

    def images(
        self,
        barcodes: Sequence[str],
        chosen: Range,
        answers: bool = False,
        keep: Callable[[str, Well], bool] | None = None,
    ) -> list[Archived]:
        """Return the images of these plates: by barcode, column, row, subwell, date, inspection, name.

        Parameters
        ----------
        answers
            Whether to fill in `Archived.answer`.
        keep
            Tells whether a drop is wanted.
        """
        images = t.images.c
        order = (
            images.barcode, images.col, images.row, images.subwell,
            images.inspected, images.inspection, images.image_name,
        )  # fmt: skip
        here = is_of(self._db.source, images.source), images.barcode.in_(barcodes)
        statement = self._select(answers).where(*here, *_dates(chosen)).order_by(*order)
        with self._db.reading() as connection:
            return [
                _archived(row)
                for row in connection.execute(statement)
                if keep is None or keep(row.barcode, Well(row.row, row.col, row.subwell))
            ]

    def batches(self, chosen: Range) -> Iterator[list[str]]:
        """Yield the plates of a range, as many at a time as have about `BATCH` images."""
        barcode = t.images.c.barcode
        statement = sa.select(barcode, sa.func.count()).where(t.images.c.source == self._db.source, *_dates(chosen))
        statement = statement.group_by(barcode).order_by(barcode)
        sizes: list[tuple[str, int]] = []
        with self._db.reading() as connection:
            if chosen.barcodes is None:
                sizes = [(row[0], row[1]) for row in connection.execute(statement)]
            else:
                for part in chunks(sorted(chosen.barcodes)):
                    sizes += [(row[0], row[1]) for row in connection.execute(statement.where(barcode.in_(part)))]
        batch, size = list[str](), 0
        for name, number in sizes:
            if batch and (size + number > BATCH or len(batch) == 500):
                yield batch
                batch, size = [], 0
            batch.append(name)
            size += number
        if batch:
            yield batch

    def judged(self, programs: Sequence[str], chosen: Range) -> Iterator[list[Archived]]:
        """Yield the scored images of inspections that people scored, in XtalTrak or in the viewer, by inspect id.

        Parameters
        ----------
        programs
            SCOREDBY names of programs, whose scores are not people's.
        """
        seen, images, made = t.imager_scores.c, t.images.c, t.corrections.c
        after = -1
        while True:
            in_imager = sa.select(seen.inspect_id).where(
                seen.source == self._db.source, seen.inspect_id > after, seen.by.not_in(programs)
            )
            in_viewer = (
                sa.select(images.inspect_id)
                .join_from(t.images, t.corrections, images.id == made.image_id)
                .where(images.source == self._db.source, images.inspect_id > after)
            )
            page = sa.union(
                in_imager.distinct().order_by(seen.inspect_id).limit(BATCH).subquery().select(),
                in_viewer.distinct().order_by(images.inspect_id).limit(BATCH).subquery().select(),
            ).subquery()
            found: list[Archived] = []
            with self._db.reading() as connection:
                ids = list(connection.scalars(sa.select(page.c.inspect_id).order_by(page.c.inspect_id).limit(BATCH)))
                for part in chunks(ids):
                    here = images.source == self._db.source, images.inspect_id.in_(part)
                    statement = self._select().where(*here, *_dates(chosen))
                    if chosen.barcodes is not None:
                        statement = statement.where(images.barcode.in_(chosen.barcodes))
                    rows = connection.execute(statement.order_by(images.inspect_id, images.image_name))
                    found += [_archived(row) for row in rows]
            if found:
                yield found
            if len(ids) < BATCH:
                return
            after = ids[-1]

    def with_crystals(
        self, p_crystal: float, inspected_since: datetime | None = None, scored_since: datetime | None = None
    ) -> set[str]:
        """Return plates with an image of at least this `p_crystal`.

        `inspected_since` (naive local time) and `scored_since` (UTC) leave out older images and scores.
        """
        statement = (
            sa.select(t.images.c.barcode)  # not DISTINCT: SQLite would scan the plate index for it
            .join_from(t.images, t.scores, t.scores.c.image_id == t.images.c.id)
            .where(is_of(self._db.source, t.images.c.source), t.scores.c.p_crystal >= p_crystal)
        )
        if inspected_since is not None:
            statement = statement.where(t.images.c.inspected >= inspected_since)
        if scored_since is not None:
            statement = statement.where(t.scores.c.at >= scored_since)
        with self._db.reading() as connection:
            return set(connection.scalars(statement))

    def _select(self, answers: bool = False) -> sa.Select[Any]:
        images, scores = t.images.c, t.scores.c
        columns: list[Any] = [
            images.id, images.inspect_id, images.barcode, images.inspection, images.inspected,
            images.row, images.col, images.subwell, images.image_name,
            scores.id.label("score_id"), scores.outcome, scores.probability, scores.p_crystal, scores.at,
            scores.sha256, scores.classifier, scores.answer if answers else sa.literal("").label("answer"),
        ]  # fmt: skip
        return (
            sa.select(*columns)
            .join_from(t.images, t.scores, scores.id == newest_score())
            .where(scores.outcome != str(Outcome.FAILED))
        )


def _dates(chosen: Range) -> list[sa.ColumnElement[bool]]:
    inspected = t.images.c.inspected
    found = [] if chosen.since is None else [inspected >= chosen.since]
    return found if chosen.before is None else [*found, inspected < chosen.before]


_OUTCOMES = {str(outcome): outcome for outcome in Outcome}


def _archived(row: Any) -> Archived:
    outcome = _OUTCOMES[row.outcome]
    return Archived(drop_image(row, outcome, None), outcome, row.sha256, row.classifier, row.answer)
