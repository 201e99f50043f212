"""Images with their newest scores: by id, plate, drop or inspection, of the whole archive, and for a person to see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ..domain.images import ImageRow
from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, is_of
from .imported_scores import by_persons, scored_in_files
from .shapes import (
    DropImage,
    drop_images,
    has_artscore,
    image_row,
    newest_score,
    plate_order,
    select_images,
    select_scored,
    with_a_say,
)

BATCH = 5_000
"""Images read at once from the whole archive; a larger plate is still read in one go."""


@dataclass(frozen=True, slots=True)
class Range:
    """Which images: of these plates (None: all), inspected from `since` until just before `before`.

    Both are naive local times of the imager; None sets no limit.
    """

    barcodes: Collection[str] | None = None
    since: datetime | None = None
    before: datetime | None = None

    @property
    def dates(self) -> list[sa.ColumnElement[bool]]:
        """Conditions for the dates."""
        since = [] if self.since is None else [t.images.c.inspected >= self.since]
        return since if self.before is None else [*since, t.images.c.inspected < self.before]


class Images:
    """The part of the ledger that lists images."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def inspected(
        self, *, after: datetime | None = None, before: datetime | None = None
    ) -> list[tuple[str, int, datetime, int]]:
        """Return (barcode, inspection, first date, number of images) of inspections after, or before, a local time."""
        images = t.images.c
        columns = images.barcode, images.inspection, sa.func.min(images.inspected), sa.func.count()
        chosen = [is_of(self._db.source, images.source)]
        chosen += [] if after is None else [images.inspected > after]
        chosen += [] if before is None else [images.inspected < before]
        groups = images.barcode, images.inspection
        return [
            (row[0], row[1], row[2], row[3])
            for row in self._db.rows(sa.select(*columns).where(*chosen).group_by(*groups).order_by(*groups))
        ]

    def row(self, image_id: int) -> ImageRow | None:
        """Return the image of this id without its score, or None."""
        statement = sa.select(t.images).where(t.images.c.id == image_id, t.images.c.source == self._db.source)
        return next(map(image_row, self._db.rows(statement)), None)

    def by_id(self, image_ids: Sequence[int]) -> dict[int, DropImage]:
        """Return images by id."""
        return {image.image_id: image for image in self._in(t.images.c.id, image_ids)}

    def named(self, names: Sequence[str]) -> dict[str, list[DropImage]]:
        """Return the images with one of these file names, by name."""
        found: dict[str, list[DropImage]] = {}
        is_ours = is_of(self._db.source, t.images.c.source)
        with self._db.reading() as connection:
            for part in chunks(sorted(set(names))):
                statement = select_images().where(t.images.c.image_name.in_(part), is_ours)
                for image in drop_images(self._db, connection, statement):
                    found.setdefault(image.image_name, []).append(image)
        return found

    def of_scores(self, score_ids: Sequence[int]) -> list[DropImage]:
        """Return the image of each of these scores, with its newest score, in the same order."""
        scores = t.scores.c
        rows = self._db.rows_in(sa.select(scores.id, scores.image_id), scores.id, score_ids)
        pairs = {row.id: row.image_id for row in rows}
        images = self.by_id(list(set(pairs.values())))
        return [images[pairs[score_id]] for score_id in score_ids if pairs.get(score_id) in images]

    def of_inspections(self, inspect_ids: Sequence[int]) -> list[DropImage]:
        """Return the images of these inspections that have a say, in plate order."""
        found = self._in(t.images.c.inspect_id, inspect_ids, t.images.c.source == self._db.source)
        return sorted(with_a_say(self._db.light, found), key=plate_order)

    def of_plate(
        self,
        barcode: str,
        inspections: Sequence[int] | None = None,
        well: Well | None = None,
        *,
        all_lights: bool = False,
    ) -> list[DropImage]:
        """Return the images of a plate or of one drop, at all inspections or at these, in plate order.

        With `all_lights`, those too that have no say; see `with_a_say`.
        """
        images = t.images.c
        where = [images.source == self._db.source, images.barcode == barcode]
        if inspections is not None:
            where.append(images.inspection.in_(inspections))
        if well is not None:
            where += [images.row == well.row, images.col == well.col, images.subwell == well.subwell]
        order = images.inspection, images.col, images.row, images.subwell, images.id
        with self._db.reading() as connection:
            found = drop_images(self._db, connection, select_images().where(*where).order_by(*order))
        return found if all_lights else with_a_say(self._db.light, found)

    def have_second_opinion(self, chosen: Range) -> bool:
        """Tell whether the newest score of an image of a range has a second opinion.

        The options of one work unit of each kind say so; no answers are read.
        """
        scores = t.scores.c
        kinds = (
            select_scored()
            .with_only_columns(scores.options_hash, sa.func.min(scores.result_id).label("result_id"))
            .where(is_of(self._db.source, t.images.c.source), *chosen.dates)
            .group_by(scores.options_hash)
        )
        rows = (
            self._db.rows(kinds)
            if chosen.barcodes is None
            else self._db.rows_in(kinds, t.images.c.barcode, sorted(chosen.barcodes))
        )
        results = {row.options_hash: row.result_id for row in rows}
        units = sa.select(t.units.c.manifest).join(t.results, t.results.c.unit_id == t.units.c.id)
        found = self._db.rows_in(units, t.results.c.id, list(results.values()))
        return any(wire.decode_manifest(row.manifest).options.second_opinion is not None for row in found)

    def _in(self, column: sa.Column[int], ids: Sequence[int], *where: sa.ColumnElement[bool]) -> list[DropImage]:
        with self._db.reading() as connection:
            return [
                image
                for part in chunks(ids)
                for image in drop_images(self._db, connection, select_images().where(column.in_(part), *where))
            ]

    # ---- images of the whole archive, a few thousand at a time ---------------------------------------------------

    def of_plates(
        self,
        barcodes: Sequence[str],
        chosen: Range,
        keep: Callable[[str, Well], bool] | None = None,
        *,
        answers: bool = False,
        programs: Sequence[str] | None = None,
    ) -> list[DropImage]:
        """Return the scored images of plates that have a say: by barcode, column, row, subwell, date, inspection, name.

        Parameters
        ----------
        keep
            Tells whether a drop is wanted.
        answers
            Whether to return them as `ScoredImage`.
        programs
            SCOREDBY names of programs, whose scores are not people's: images that wait or failed are returned too if
            somebody else scored their inspection (also if it says "not scored"), as `DropImage`. None: they are not.
        """
        images = t.images.c
        where = is_of(self._db.source, images.source), images.barcode.in_(barcodes), *chosen.dates
        scored = select_scored(answers)
        if programs is not None:
            scored = select_images(answers).where(has_artscore() | scored_by_somebody(programs))
        statement = scored.where(*where).order_by(
            images.barcode, images.col, images.row, images.subwell,
            images.inspected, images.inspection, images.image_name,
        )  # fmt: skip
        with self._db.reading() as connection:
            found = drop_images(self._db, connection, statement, keep, answers)
        return with_a_say(self._db.light, found)

    def scored_by_people(self, programs: Sequence[str], chosen: Range) -> Iterator[list[DropImage]]:
        """Yield the images of inspections that people scored, in XtalTrak, the viewer or imported files, by inspect id.

        Images that wait or failed are among them.

        Parameters
        ----------
        programs
            SCOREDBY names of programs, whose scores are not people's.
        """
        imager, images, made, given = t.imager_scores.c, t.images.c, t.corrections.c, t.imported_scores.c
        after = -1
        while True:
            in_imager = sa.select(imager.inspect_id).where(
                imager.source == self._db.source, imager.inspect_id > after, imager.by.not_in(programs)
            )
            in_viewer = (
                sa.select(images.inspect_id)
                .join_from(t.images, t.corrections, images.id == made.image_id)
                .where(images.source == self._db.source, images.inspect_id > after)
            )
            in_files = (
                sa.select(images.inspect_id)
                .join_from(t.images, t.imported_scores, images.id == given.image_id)
                .where(images.source == self._db.source, images.inspect_id > after, *by_persons())
            )
            page = sa.union(
                in_imager.distinct().order_by(imager.inspect_id).limit(BATCH).subquery().select(),
                in_viewer.distinct().order_by(images.inspect_id).limit(BATCH).subquery().select(),
                in_files.distinct().order_by(images.inspect_id).limit(BATCH).subquery().select(),
            ).subquery()
            where = [images.source == self._db.source, *chosen.dates]
            if chosen.barcodes is not None:
                where.append(images.barcode.in_(chosen.barcodes))
            statement = select_images().where(*where).order_by(images.inspect_id, images.image_name)
            batch: list[DropImage] = []
            with self._db.reading() as connection:
                ids = list(connection.scalars(sa.select(page.c.inspect_id).order_by(page.c.inspect_id).limit(BATCH)))
                for part in chunks(ids):
                    batch += drop_images(self._db, connection, statement.where(images.inspect_id.in_(part)))
            if batch := with_a_say(self._db.light, batch):
                yield batch
            if len(ids) < BATCH:
                return
            after = ids[-1]

    def with_people(self, inspections: Sequence[tuple[str, int]], programs: Sequence[str]) -> list[DropImage]:
        """Return the images of drops that people scored, wherever they did, at these inspections of plates.

        All images of such a drop are returned, and a few whose scores people took back since.
        """
        images, made, imager = t.images.c, t.corrections.c, t.imager_scores.c
        in_viewer = sa.exists().where(made.image_id == images.id)
        in_imager = sa.exists().where(
            imager.source == images.source, imager.inspect_id == images.inspect_id, imager.by.not_in(programs)
        )
        found: list[DropImage] = []
        with self._db.reading() as connection:
            for barcode, number in inspections:  # one by one: SQLite uses no index for a list of pairs
                where = images.source == self._db.source, images.barcode == barcode, images.inspection == number
                ids = sa.select(images.inspect_id).where(*where, in_viewer | in_imager | scored_in_files(images.id))
                chosen = select_images().where(*where, images.inspect_id.in_(ids))
                found += drop_images(self._db, connection, chosen)
        return with_a_say(self._db.light, found)

    # ---- what needs a person -------------------------------------------------------------------------------------

    def undecided(self, before: int | None, limit: int, inspected_since: datetime | None = None) -> list[DropImage]:
        """Return the newest images whose newest score is undecided, whatever people said of them.

        `before` is a score's id: only images with earlier scores. `inspected_since` is the imager's naive local time.
        """
        chosen = t.scores.c.outcome == str(Outcome.UNDECIDED), t.scores.c.id == newest_score()
        statement = sa.select(t.scores.c.id).join(t.images, t.images.c.id == t.scores.c.image_id).where(*chosen)
        if before is not None:
            statement = statement.where(t.scores.c.id < before)
        if inspected_since is not None:
            statement = statement.where(t.images.c.inspected >= inspected_since)
        return self.of_scores([row.id for row in self._db.rows(statement.order_by(t.scores.c.id.desc()).limit(limit))])

    def scored_by_people_since(
        self, programs: Sequence[str], since: datetime, since_local: datetime, limit: int
    ) -> list[DropImage]:
        """Return the images of inspections that people scored since then, of the last `limit` scores of each kind.

        Parameters
        ----------
        programs
            SCOREDBY names of programs, whose scores are not people's.
        since, since_local
            The same moment in UTC and in the imager's naive local time.
        """
        images, made, imager, given = t.images.c, t.corrections.c, t.imager_scores.c, t.imported_scores.c
        in_files = sa.select(images.inspect_id).join_from(t.images, t.imported_scores, images.id == given.image_id)
        in_files = in_files.where(is_of(self._db.source, images.source), given.at >= since, *by_persons())
        in_files = in_files.order_by(given.id.desc())
        in_viewer = sa.select(images.inspect_id).join_from(t.images, t.corrections, images.id == made.image_id)
        in_viewer = in_viewer.where(is_of(self._db.source, images.source), made.at >= since).order_by(made.id.desc())
        persons = imager.source == self._db.source, imager.by.not_in(programs), imager.date >= since_local
        in_imager = sa.select(imager.inspect_id).where(*persons).order_by(imager.id.desc())
        rows = [row for each in (in_viewer, in_imager, in_files) for row in self._db.rows(each.limit(limit))]
        return self.of_inspections(sorted({row.inspect_id for row in rows}))

    def scored_by_several(self, programs: Sequence[str], since: datetime, limit: int) -> list[DropImage]:
        """Return the images of inspections that several people scored, the last scored in the viewer first.

        Parameters
        ----------
        programs
            SCOREDBY names of programs, whose scores are not people's.
        since
            Inspections without a score in the viewer only if one in the score table is dated since then (naive local
            time).
        """
        images, made, imager, given = t.images.c, t.corrections.c, t.imager_scores.c, t.imported_scores.c
        in_files = sa.select(images.inspect_id, given.who, sa.literal(0).label("place"))
        in_files = in_files.join_from(t.images, t.imported_scores, images.id == given.image_id)
        in_files = in_files.where(is_of(self._db.source, images.source), *by_persons())
        in_viewer = sa.select(images.inspect_id, made.who, made.id.label("place")).join_from(
            t.images, t.corrections, images.id == made.image_id
        )
        in_viewer = in_viewer.where(is_of(self._db.source, images.source), made.outcome != "")
        persons = imager.source == self._db.source, imager.by.not_in(programs)
        recent = sa.select(imager.inspect_id).where(*persons, imager.date >= since)
        in_imager = sa.select(imager.inspect_id, imager.by.label("who"), sa.literal(0).label("place"))
        touched = sa.union(*(each.with_only_columns(images.inspect_id) for each in (in_viewer, in_files)), recent)
        in_imager = in_imager.where(*persons, imager.inspect_id.in_(touched))
        said = sa.union_all(in_viewer, in_imager, in_files).subquery().c
        several = (
            sa.select(said.inspect_id)
            .group_by(said.inspect_id)
            .having(sa.func.count(said.who.distinct()) > 1)
            .order_by(sa.func.max(said.place).desc(), said.inspect_id.desc())
            .limit(limit)
        )
        ids = [row.inspect_id for row in self._db.rows(several)]
        found = with_a_say(self._db.light, self._in(images.inspect_id, ids, images.source == self._db.source))
        return sorted(found, key=lambda image: (ids.index(image.inspect_id), image.image_id))

    def rescored(self, who: str, limit: int) -> dict[int, int]:
        """Return inspections that a person scored in the viewer and that have a newer ARTscore than the one they saw.

        Returns
        -------
        dict
            Id of the person's newest score by inspect id.
        """
        made = t.corrections.c
        newest = sa.select(sa.func.max(made.id)).where(_is_name(made.who, who)).group_by(made.image_id)
        statement = (
            sa.select(t.images.c.inspect_id, made.id)
            .join(t.images, t.images.c.id == made.image_id)
            .where(is_of(self._db.source, t.images.c.source), made.id.in_(newest), made.outcome != "")
            .where(newest_score() > sa.func.coalesce(made.score_id, 0))
            .order_by(made.id.desc())
            .limit(limit)
        )
        return {row.inspect_id: row.id for row in reversed(self._db.rows(statement))}

    def scored_in_imager_by(
        self, who: str, programs: Sequence[str], since: datetime
    ) -> list[tuple[int, datetime, datetime]]:
        """Return the inspections with an ARTscore that a person scored in the imager's score table since then.

        Parameters
        ----------
        programs
            SCOREDBY names of programs, whose scores are not people's.
        since
            Naive local time of the imager.

        Returns
        -------
        list
            Each as (inspect id, date in naive local time, time of an image's newest ARTscore in UTC), newest first.
        """
        images, imager = t.images.c, t.imager_scores.c
        statement = (
            sa.select(imager.inspect_id, imager.date, t.scores.c.at)
            .join(t.images, sa.and_(images.source == imager.source, images.inspect_id == imager.inspect_id))
            .join(t.scores, t.scores.c.id == newest_score())
            .where(is_of(self._db.source, imager.source), imager.date >= since, _is_name(imager.by, who))
            .where(imager.by.not_in(programs))
            .order_by(imager.date.desc(), imager.id.desc())
        )
        return [(row.inspect_id, row.date, row.at) for row in self._db.rows(statement)]


def _is_name(column: sa.ColumnElement[str], who: str) -> sa.ColumnElement[bool]:
    """Select a person's name in any case; SQLite's `lower` knows only ASCII letters."""
    return sa.func.lower(column).in_([sa.func.lower(name) for name in sorted({who, who.lower(), who.upper()})])


def scored_by_somebody(programs: Sequence[str]) -> sa.ColumnElement[bool]:
    """Select images of inspections with a score in the viewer or an imported file, or by no program in the table."""
    images, made, imager, other = t.images.c, t.corrections.c, t.imager_scores.c, t.images.alias().c
    in_viewer = sa.exists().where(
        other.source == images.source, other.inspect_id == images.inspect_id, made.image_id == other.id
    )
    in_imager = sa.exists().where(
        imager.source == images.source, imager.inspect_id == images.inspect_id, imager.by.not_in(programs)
    )
    in_files = sa.exists().where(
        other.source == images.source, other.inspect_id == images.inspect_id, scored_in_files(other.id)
    )
    return in_viewer.correlate(t.images) | in_imager.correlate(t.images) | in_files.correlate(t.images)
