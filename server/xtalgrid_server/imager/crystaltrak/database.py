"""Queries of the imager database, and the transactions that write to it."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from xtalgrid_core.errors import ImagerError

from ...config import Config
from ...domain.images import FIRST_DATE, ImageRow, Moment, ScoredDrop, ScoreRow, UnusableRow, earlier
from ...domain.light import Light, Mate
from ...storage.engines import chunks
from ...storage.originals import note_earlier_imports
from ..source import image_path
from .column_types import EXPECTED, NEVER, ColumnTypes
from .connection import Connections
from .rows import RowReader
from .tables import CrystalTrak, as_it_stands, found_type, is_no_text, named, trimmed
from .writer import ScoreWriter

T = TypeVar("T")

_PAGE = 1000
_WINDOW = timedelta(days=7)
_BELOW_ALL = -2
"""Below all ids of inspections."""
_HIGHEST = 2**63 - 1
"""The highest id that is used, as `rows` has it."""
ESCAPE = "\\"


def like_pattern(wildcards: str) -> str:
    """Convert the wildcards ``*`` and ``?`` to those of LIKE, and escape ``_``, ``%`` and backslashes."""
    for special in (ESCAPE, "%", "_"):
        wildcards = wildcards.replace(special, ESCAPE + special)
    return wildcards.replace("*", "%").replace("?", "_")


class ImagerDatabase(Connections):
    """Imager database of one configuration, an `ImageSource`; database errors are raised as `ImagerError`.

    An image *matches* if its name matches ``imager.patterns`` and not ``imager.exclude``.
    """

    def __init__(self, config: Config) -> None:
        settings = config.imager
        if not settings.url:
            note_earlier_imports(config)
        super().__init__(config)
        self._config, self._light = config, config.light
        self.rows = RowReader(programs=settings.programs)
        if not settings.url:  # embedded: we create the tables
            own = [self.tables.autoscores] if config.publish.autoscores else []
            with self.errors():
                self.tables.metadata.create_all(self._engine, [*self.tables.needed, *own])

    @cached_property
    def tables(self) -> CrystalTrak:
        """The vendor's tables, those that every command uses with the types that a lab's columns really have."""
        if self.dialect_name == "sqlite":  # its columns hold any type
            return self._crystaltrak()
        used = ("inspections", "images", "scores", *(["autoscores"] if self._config.publish.autoscores else []))
        return self._crystaltrak(self.read_types(self._crystaltrak().by_key(*used)))

    def sample_tables(self) -> tuple[CrystalTrak, list[str]]:
        """Return the tables with the types of the sample tables, and the names of those that cannot be read."""
        expected = self._crystaltrak().by_key("plates", "plate_drops", "samples", "projects")
        types = self.read_types(expected)
        return self._crystaltrak(types), [table.fullname.upper() for key, table in expected.items() if key not in types]

    def _crystaltrak(self, types: ColumnTypes | None = None) -> CrystalTrak:
        settings = self._settings
        return CrystalTrak(settings.owner, settings.sequence, settings.tables, settings.columns, types)

    # ---- reading -----------------------------------------------------------------------------------------------

    def refresh(self) -> list[ImageRow]:
        """Return nothing, because the imager itself enters new images."""
        return []

    def latest_date(self) -> datetime:
        """Return the latest date that an inspection can have; those dated later are an imager's clock's."""
        return self._settings.latest_date()

    def newest_inspection(self) -> datetime | None:
        """Return the date of the newest inspection with images that match, of those not dated ahead of now."""
        newest = self.newest_first(None, Moment(self.latest_date(), 0))
        return next((images[0].inspected for images in newest), None)

    def path(self, image: ImageRow) -> Path:
        """Return the path of an image's file; see `image_path`."""
        return image_path(self._config, image)

    def newest_first(self, after: Moment | None, before: Moment | None) -> Iterator[list[ImageRow]]:
        """Yield the matching images by inspection, newest first.

        Parameters
        ----------
        after, before
            Only inspections strictly between these moments; None for no bound on that side.

        Yields
        ------
        All matching images of one inspection of one drop, at least one.
        """
        if after is not None:
            yield from self._between(after, before)
            return
        dates = self.read_all(self.select_dates())[0]
        first, last = dates.first, dates.last
        if not isinstance(first, datetime) or not isinstance(last, datetime):  # no inspections, or texts on SQLite
            yield from self._between(None, before)
            return
        end = min(last, before.inspected) if before is not None else last
        width = _WINDOW
        # Without a lower bound, some databases sort the whole table for each page.
        while end >= first:
            end = earlier(end, width)
            count = 0
            for images in self._between(Moment(end, _BELOW_ALL), before):
                count += len(images)
                yield images
            if end == FIRST_DATE:
                return
            before = Moment(end, _BELOW_ALL + 1)
            width *= 2 if count < _PAGE else 1

    def _between(self, after: Moment | None, before: Moment | None) -> Iterator[list[ImageRow]]:
        """Yield as `newest_first` does, page by page."""
        while True:
            page = self.read_all(self.select_images(after, before).limit(_PAGE))
            whole = _drop_last_inspection(page) if len(page) == _PAGE else page
            for _, images in itertools.groupby(self.rows.images(whole), key=attrgetter("inspect_id")):
                yield list(images)
            if len(page) < _PAGE:
                return
            before = Moment(whole[-1].inspectdate, int(whole[-1].inspectid))

    def select_dates(self) -> sa.Select[Any]:
        """Select the dates of the first and the last inspection, each by the index."""
        dates = self.tables.inspections.c.inspectdate
        ends = (sa.select(end(dates, type_=dates.type)).scalar_subquery() for end in (sa.func.min, sa.func.max))
        return sa.select(*(end.label(name) for name, end in zip(("first", "last"), ends, strict=True)))

    def entered_after(self, inspect_id: int) -> Iterator[list[ImageRow]]:
        """Yield the matching images of inspections with higher ids by inspection, in the order of ids.

        Ids rise as rows are entered, whatever dates the rows have.
        """
        while True:
            page = self.read_all(self.select_entered(inspect_id).limit(_PAGE))
            whole = _drop_last_inspection(page) if len(page) == _PAGE else page
            for _, images in itertools.groupby(self.rows.images(whole), key=attrgetter("inspect_id")):
                yield list(images)
            if len(page) < _PAGE:
                return
            inspect_id = int(whole[-1].inspectid)

    def of_inspections(self, inspect_ids: Sequence[int]) -> Iterator[list[ImageRow]]:
        """Yield the matching images of these inspections by inspection; rows that were unusable may be corrected."""
        self.rows.forget(inspect_ids)
        inspect_id = self.tables.inspections.c.inspectid
        for part in chunks(inspect_ids):
            chosen = self._select_fitting(unusable=True).where(inspect_id.in_(part))
            rows = self.read_all(chosen.order_by(inspect_id, self.tables.images.c.imagename))
            for _, images in itertools.groupby(self.rows.images(rows), key=attrgetter("inspect_id")):
                yield list(images)

    def select_entered(self, inspect_id: int) -> sa.Select[Any]:
        """Build the statement of `entered_after`."""
        inspections = self.tables.inspections.c
        later = self._select_fitting(unusable=True).where(inspections.inspectid > inspect_id)
        return later.order_by(inspections.inspectid, self.tables.images.c.imagename)

    def find_incomplete(self) -> None:
        """Add the rows without a date or an image's name to `unusable`; queries by date or pattern pass over them.

        This reads the whole table, because an index does not hold what is NULL.
        """
        after = _BELOW_ALL
        while page := self.read_all(self.select_incomplete(after).limit(_PAGE)):
            for _ in self.rows.images(page):
                pass
            after = int(page[-1].inspectid)

    def select_incomplete(self, after: int) -> sa.Select[Any]:
        """Build the statement of `find_incomplete`: rows of inspections with higher ids."""
        inspections, images = self.tables.inspections.c, self.tables.images.c
        is_incomplete = inspections.inspectdate.is_(None) | is_no_text(images.imagename)
        rows = self._select_fitting(unusable=True).where(is_incomplete, inspections.inspectid > after)
        return rows.order_by(inspections.inspectid)

    def count_unusable(self, inspect_ids: Sequence[int]) -> int:
        """Count the matching images of these inspections whose rows cannot be used."""
        number = 0
        for part in chunks(inspect_ids):
            rows = self.read_all(self._select_fitting().where(self.tables.inspections.c.inspectid.in_(part)))
            number += len(rows) - sum(1 for _ in RowReader(is_quiet=True).images(rows))
        return number

    def highest_ids(self, number: int) -> list[int]:
        """Return the highest ids of inspections, the highest first; none without any."""
        ids = self.tables.inspections.c.inspectid
        # A parameter would have the type of the column, which may be smaller.
        limit: sa.ColumnElement[int] = sa.literal_column(str(_HIGHEST))
        # SQLite can hold texts, which are larger.
        statement = sa.select(*named(ids)).where(ids <= limit).order_by(ids.desc()).limit(number)
        return [int(row.inspectid) for row in self.read_all(statement)]

    @property
    def unusable(self) -> list[UnusableRow]:
        """The rows that could not be used so far, each once."""
        return list(self.rows.unusable)

    def select_images(self, after: Moment | None, before: Moment | None) -> sa.Select[Any]:
        """Build the statement of `newest_first`."""
        inspections = self.tables.inspections
        statement = self._select_fitting()
        moment = (inspections.c.inspectdate, inspections.c.inspectid)
        if after is not None:
            statement = statement.where(_later(moment, after))
        if before is not None:
            statement = statement.where(_earlier(moment, before))
        return statement.order_by(*(column.desc() for column in moment), self.tables.images.c.imagename)

    def count_images(self, before: Moment | None = None) -> int:
        """Count the matching images of earlier inspections; None: of all."""
        statement = self.select_count(before)
        return self.read(lambda connection: connection.scalar(statement) or 0)

    def select_count(self, before: Moment | None) -> sa.Select[Any]:
        """Build the statement of `count_images`."""
        inspections = self.tables.inspections.c
        earlier = [] if before is None else [_earlier((inspections.inspectdate, inspections.inspectid), before)]
        return self._select_fitting().with_only_columns(sa.func.count(), maintain_column_froms=True).where(*earlier)

    def of_plate(self, barcode: str) -> Iterator[list[ImageRow]]:
        """Yield the matching images of one plate by inspection, newest first."""
        inspections = self.tables.inspections
        is_barcode = inspections.c.barcodeid == barcode
        if found_type(inspections.c.barcodeid) == EXPECTED:  # blanks may have been entered behind it
            is_barcode |= inspections.c.barcodeid.like(like_pattern(barcode) + " %", escape=ESCAPE)
        statement = (
            self._select_fitting(unusable=True)
            .where(is_barcode)
            .order_by(inspections.c.inspectdate.desc(), inspections.c.inspectid.desc(), self.tables.images.c.imagename)
        )
        groups: dict[int, list[ImageRow]] = {}
        for row in self.rows.images(self.read_all(statement)):
            if row.barcode == barcode:
                groups.setdefault(row.inspect_id, []).append(row)
        yield from groups.values()

    def _select_fitting(self, *, unusable: bool = False) -> sa.Select[Any]:
        """Select the matching images, with `unusable` also those whose name no pattern can match."""
        name = self.tables.images.c.imagename
        text = trimmed(name)
        ours = [text.not_like(like_pattern(p), escape=ESCAPE) for p in self._settings.exclude]
        fitting = [_fits(name, self._settings.patterns), *ours]
        return self._select_images().where(*[sa.and_(*fitting) | is_no_text(name)] if unusable else fitting)

    def _select_images(self) -> sa.Select[Any]:
        inspections, images = self.tables.inspections, self.tables.images
        return sa.select(
            *named(
                inspections.c.inspectid,
                inspections.c.barcodeid,
                inspections.c.inspectnumber,
                inspections.c.inspectdate,
                inspections.c.i_row,
                inspections.c.col,
                inspections.c.subwell,
                images.c.imagename,
            )
        ).join_from(inspections, images, inspections.c.inspectid == images.c.inspectid)

    def scores_of_drops(self, inspect_ids: Sequence[int]) -> dict[int, list[ScoreRow]]:
        """Return all scores of each inspection's drop, from any inspection of the drop, oldest first."""
        return self.read(partial(self._scores_of_drops, self.tables, inspect_ids=inspect_ids))

    def _scores_of_drops(
        self, tables: CrystalTrak, connection: sa.Connection, inspect_ids: Sequence[int]
    ) -> dict[int, list[ScoreRow]]:
        rows_by_id: dict[int, list[ScoreRow]] = {inspect_id: [] for inspect_id in inspect_ids}
        inspections, scores = tables.inspections, tables.scores.c
        place = (inspections.c.barcodeid, inspections.c.col, inspections.c.i_row, inspections.c.subwell)
        for part in chunks(inspect_ids):
            asked = sa.select(*named(inspections.c.inspectid, *place), as_it_stands(place[0])).where(
                inspections.c.inspectid.in_(part)
            )
            drops: dict[tuple[Any, ...], list[int]] = {}
            stored: set[str] = set()
            for inspect_id, *drop, barcode in connection.execute(asked):
                drops.setdefault(tuple(drop), []).append(int(inspect_id))
                if isinstance(barcode, str):
                    stored.add(barcode)
            # The drops of a batch are on few plates, so their scores are read at once and assigned to drops here;
            # joining the table with itself would scan a plate's inspections again for each drop.
            barcodes, cols, rows, _ = (
                ({value for value in values if value is not None} for values in zip(*drops, strict=True))
                if drops
                else [set()] * 4
            )
            barcodes |= stored
            statement = (
                sa.select(
                    *named(
                        *place,
                        scores.scoreid,
                        scores.inspectid,
                        scores.score,
                        scores.scoredate,
                        scores.scoredby,
                        scores.imagename,
                    )
                )
                .join_from(inspections, tables.scores, scores.inspectid == inspections.c.inspectid)
                .where(place[0].in_(sorted(barcodes)), place[1].in_(sorted(cols)), place[2].in_(sorted(rows)))
                .order_by(scores.scoredate, scores.scoreid)
            )
            for row in connection.execute(statement) if drops else []:
                for score in self.rows.scores([row]):
                    for inspect_id in drops.get(tuple(row[:4]), ()):
                        rows_by_id[inspect_id].append(score)
        return rows_by_id

    def scored_by_people(self, mates: Sequence[str] = (), also: Iterable[int] = ()) -> Iterator[ScoredDrop]:
        """Yield every drop at an inspection at which a person scored it, in the order of inspect ids.

        Parameters
        ----------
        mates
            Names of UV images, with ``*`` and ``?``; they are not returned as bright-field images even if they match.
        also
            Inspect ids that are returned even if no person scored them in the score table.
        """
        after, further = -1, sorted(also)
        while True:
            page = self.select_scores(after).limit(_PAGE)
            drops, last = self.read(partial(self._scored_page, page, mates, further[bisect_right(further, after) :]))
            yield from drops
            if last is None:
                return
            after = last

    def _scored_page(
        self, statement: sa.Select[Any], mates: Sequence[str], also: Sequence[int], connection: sa.Connection
    ) -> tuple[list[ScoredDrop], int | None]:
        """Return a page of scored drops, and the inspect id to continue from; None on the last page."""
        page = connection.execute(statement).all()
        whole = _drop_last_scored(page) if len(page) == _PAGE else page
        last = int(whole[-1].inspectid) if len(page) == _PAGE else None
        scores: dict[int, list[ScoreRow]] = {
            inspect_id: [] for inspect_id in (also if last is None else also[: bisect_right(also, last)])
        }
        for score in self.rows.scores(whole):
            if self._settings.is_persons(score.by, score.code):
                scores.setdefault(score.inspect_id, []).append(score)
        images, others = self._images_of(connection, list(scores), mates)
        return [ScoredDrop(each, scores[each], images[each], others[each]) for each in sorted(scores)], last

    def select_scores(self, after: int) -> sa.Select[Any]:
        """Build the statement of `scored_by_people`: scores after an inspect id, except those of programs."""
        scores = self.tables.scores.c
        programs = self._settings.programs
        return (
            sa.select(
                *named(
                    scores.scoreid, scores.inspectid, scores.score, scores.scoredate, scores.scoredby, scores.imagename
                )
            )
            .where(scores.inspectid > after, sa.or_(scores.scoredby.is_(None), scores.scoredby.not_in(programs)))
            .order_by(scores.inspectid, scores.scoredate, scores.scoreid)
        )

    def _images_of(
        self, connection: sa.Connection, inspect_ids: Sequence[int], mates: Sequence[str]
    ) -> tuple[dict[int, list[ImageRow]], dict[int, list[str]]]:
        """Return the matching images of these inspections, and the names of their UV images, by inspect id."""
        images: dict[int, list[ImageRow]] = {inspect_id: [] for inspect_id in inspect_ids}
        others: dict[int, list[str]] = {inspect_id: [] for inspect_id in inspect_ids}
        table = self.tables.images.c
        is_mate = _fits(table.imagename, mates)
        for part in chunks(inspect_ids):
            fitting = self._select_fitting().where(table.inspectid.in_(part), sa.not_(is_mate))
            for image in self.rows.images(connection.execute(fitting.order_by(table.inspectid, table.imagename))):
                if self._light.is_scored(image.image_name):
                    images[image.inspect_id].append(image)
            mates_of = sa.select(*named(table.inspectid, table.imagename)).where(table.inspectid.in_(part), is_mate)
            for row in connection.execute(mates_of.order_by(table.inspectid, table.imagename)):
                others[int(row.inspectid)].append(row.imagename)
        return images, others

    def gone(self, images: Sequence[ImageRow]) -> dict[int, str]:
        """Return, by inspect id, why a score of these images has no inspection to be written for.

        It was deleted, or its id is another drop's now, as in a database that was restored. An inspection whose well or
        barcode was corrected still has the image.
        """
        known = {image.inspect_id: image for image in images}
        why = {number: f"inspection {number} is not in the imager database any more" for number in known}
        doubtful: dict[int, str] = {}
        inspections, table = self.tables.inspections.c, self.tables.images.c
        place = (
            inspections.barcodeid,
            inspections.inspectnumber,
            inspections.i_row,
            inspections.col,
            inspections.subwell,
        )
        for part in chunks(list(known)):
            asked = sa.select(*named(inspections.inspectid, *place)).where(inspections.inspectid.in_(part))
            for row in self.read_all(asked):
                number = int(row.inspectid)
                found: list[Any] = list(row)[1:]
                why.pop(number, None)
                image = known[number]
                if [*map(str, found)] != [*map(str, (image.barcode, image.inspection, *image.well))]:
                    doubtful[number] = f"inspection {number} is of another drop now, {found[0]} number {found[1]}"
        for part in chunks(list(doubtful)):
            names = sa.select(*named(table.inspectid, table.imagename)).where(table.inspectid.in_(part))
            for row in self.read_all(names):
                if row.imagename == known[int(row.inspectid)].image_name:
                    doubtful.pop(int(row.inspectid), None)
        return why | doubtful

    def mates(self, inspect_id: int) -> list[Mate]:
        """Return an inspection's images in UV and other light, whatever the configured patterns, by name."""
        table = self.tables.images.c
        statement = sa.select(table.imagename).where(table.inspectid == inspect_id).order_by(table.imagename)
        names = self.read(lambda connection: connection.scalars(statement).all())
        lights = ((name.rstrip(), self._light.of(name.rstrip())) for name in names if name)
        return [Mate(name, light) for name, light in lights if light not in (None, Light.VISIBLE)]

    def is_ours(self, score: ScoreRow) -> bool:
        """Return whether we wrote the row."""
        return score.by == self._settings.scored_by

    # ---- writing scores ----------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[ScoreWriter]:
        """Open a transaction on the score table; roll back if an error leaves the block."""
        tables = self.tables  # read before the connection is taken: the pool may have one only
        with self.transaction() as connection:
            yield self.writer(tables, connection)

    def writer(self, tables: CrystalTrak, connection: sa.Connection) -> ScoreWriter:
        """Return what writes on a connection."""
        return ScoreWriter(tables, connection, partial(self._scores_of_drops, tables))

    def write(self, work: Callable[[ScoreWriter], T]) -> T:
        """Call `work` in a transaction on the score table, with the retries and errors of `transact`."""
        tables = self.tables
        return self.transact(lambda connection: work(self.writer(tables, connection)))

    # ---- the embedded database ---------------------------------------------------------------------------------

    def register(self, images: Iterable[ImageRow]) -> list[ImageRow]:
        """Enter images into the embedded database, except those that are already there.

        `inspect_id` of the given rows is ignored; the returned rows have the real one. An existing inspection keeps its
        date.
        """
        inspections, table = self.tables.inspections, self.tables.images
        entered = []
        with self.errors(), self._writer.begin() as connection:
            for image in images:
                place = {
                    "barcodeid": image.barcode,
                    "inspectnumber": image.inspection,
                    "col": image.well.col,
                    "i_row": image.well.row,
                    "subwell": image.well.subwell,
                }
                same = [inspections.c[name] == value for name, value in place.items()]
                newest = connection.execute(
                    sa.select(*named(inspections.c.inspectid, inspections.c.inspectdate)).where(*same)
                ).first()
                if newest is None:
                    inserted = connection.execute(inspections.insert().values(inspectdate=image.inspected, **place))
                    key = inserted.inserted_primary_key
                    inspect_id, inspected = int(key[0]) if key else 0, image.inspected
                else:
                    inspect_id, inspected = int(newest.inspectid), newest.inspectdate
                known = sa.select(table.c.inspectid).where(
                    table.c.inspectid == inspect_id, table.c.imagename == image.image_name
                )
                if connection.execute(known).first() is None:
                    connection.execute(table.insert().values(inspectid=inspect_id, imagename=image.image_name))
                entered.append(
                    ImageRow(inspect_id, image.barcode, image.inspection, inspected, image.well, image.image_name)
                )
        return entered

    def barcodes(self) -> list[str]:
        """Return the plates of the embedded database."""
        plates = self.tables.inspections.c.barcodeid
        return [row.barcodeid for row in self.read_all(sa.select(*named(plates)).distinct().order_by(plates))]

    def entered(self, barcode: str) -> list[ImageRow]:
        """Return all images of a plate of the embedded database, whatever the configured patterns."""
        plate = self.tables.inspections.c.barcodeid == barcode
        return list(self.rows.images(self.read_all(self._select_images().where(plate))))


def _fits(name: sa.ColumnElement[Any], patterns: Sequence[str]) -> sa.ColumnElement[bool]:
    """Return the condition that an image's name matches one of the patterns."""
    text = trimmed(name)
    return sa.or_(*(text.like(like_pattern(p), escape=ESCAPE) for p in patterns)) if patterns else NEVER


def _later(columns: tuple[Any, Any], moment: Moment) -> sa.ColumnElement[bool]:
    date, inspect_id = columns  # the first condition is implied by the second, but lets the database use an index
    return sa.and_(
        date >= moment.inspected,
        sa.or_(date > moment.inspected, sa.and_(date == moment.inspected, inspect_id > moment.inspect_id)),
    )


def _earlier(columns: tuple[Any, Any], moment: Moment) -> sa.ColumnElement[bool]:
    date, inspect_id = columns
    return sa.and_(
        date <= moment.inspected,
        sa.or_(date < moment.inspected, sa.and_(date == moment.inspected, inspect_id < moment.inspect_id)),
    )


def _drop_last_inspection(page: Sequence[sa.Row[Any]]) -> Sequence[sa.Row[Any]]:
    """Drop the last inspection of a full page, which may be incomplete; the next page starts with it."""
    last = page[-1].inspectid
    whole = [row for row in page if row.inspectid != last]
    if not whole:
        raise ImagerError(
            f"inspection {last} has {_PAGE} or more images that match imager.patterns; make the patterns narrower"
        )
    return whole


def _drop_last_scored(page: Sequence[sa.Row[Any]]) -> Sequence[sa.Row[Any]]:
    """Drop the last inspection of a full page of scores; the next page starts with it."""
    whole = [row for row in page if row.inspectid != page[-1].inspectid]
    if not whole:
        raise ImagerError(
            f"inspection {page[-1].inspectid} has {_PAGE} or more scores; some program seems to write there in a loop"
        )
    return whole
