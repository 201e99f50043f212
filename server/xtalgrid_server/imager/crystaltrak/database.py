"""Queries of the imager database, and the transactions that write to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from xtalgrid_core.errors import ImagerError

from ...config import Config
from ...domain.images import ImageRow, Moment, ScoredDrop, ScoreRow
from ...domain.wells import Well
from ...storage.engines import chunks
from ..source import image_path
from .connection import Connections
from .tables import CrystalTrak, named
from .writer import ScoreWriter

T = TypeVar("T")

_PAGE = 1000
_ESCAPE = "\\"


def like_pattern(wildcards: str) -> str:
    """Convert the wildcards ``*`` and ``?`` to those of LIKE, and escape ``_``, ``%`` and backslashes."""
    for special in (_ESCAPE, "%", "_"):
        wildcards = wildcards.replace(special, _ESCAPE + special)
    return wildcards.replace("*", "%").replace("?", "_")


class ImagerDatabase(Connections):
    """Imager database of one configuration, an `ImageSource`; database errors are raised as `ImagerError`.

    An image *matches* if its name matches ``imager.patterns`` and not ``imager.exclude``.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        settings = config.imager
        self._config = config
        self.tables = CrystalTrak(settings.owner, settings.sequence, settings.tables, settings.columns)
        if not settings.url:  # embedded: we create the tables
            own = [self.tables.autoscores] if config.publish.autoscores else []
            with self.errors():
                self.tables.metadata.create_all(self._engine, [*self.tables.needed, *own])

    # ---- reading -----------------------------------------------------------------------------------------------

    def refresh(self) -> list[ImageRow]:
        """Return nothing, because the imager itself enters new images."""
        return []

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
        while True:
            page = self.read(partial(self._page, self.select_images(after, before).limit(_PAGE)))
            whole = _drop_last_inspection(page) if len(page) == _PAGE else page
            group: list[ImageRow] = []
            for row in whole:
                if group and group[0].inspect_id != row.inspect_id:
                    yield group
                    group = []
                group.append(row)
            if group:
                yield group
            if len(page) < _PAGE:
                return
            before = whole[-1].moment

    def _page(self, statement: sa.Select[Any], connection: sa.Connection) -> list[ImageRow]:
        return [_image_row(row) for row in connection.execute(statement)]

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

    def count_images(self, before: Moment) -> int:
        """Count the matching images of earlier inspections."""
        return self.read(lambda connection: connection.scalar(self.select_count(before)) or 0)

    def select_count(self, before: Moment) -> sa.Select[Any]:
        """Build the statement of `count_images`."""
        inspections = self.tables.inspections.c
        earlier = _earlier((inspections.inspectdate, inspections.inspectid), before)
        return self._select_fitting().with_only_columns(sa.func.count(), maintain_column_froms=True).where(earlier)

    def of_plate(self, barcode: str) -> Iterator[list[ImageRow]]:
        """Yield the matching images of one plate by inspection, newest first."""
        inspections = self.tables.inspections
        statement = (
            self._select_fitting()
            .where(inspections.c.barcodeid == barcode)
            .order_by(inspections.c.inspectdate.desc(), inspections.c.inspectid.desc(), self.tables.images.c.imagename)
        )
        groups: dict[int, list[ImageRow]] = {}
        for row in self.read(partial(self._page, statement)):
            groups.setdefault(row.inspect_id, []).append(row)
        yield from groups.values()

    def _select_fitting(self) -> sa.Select[Any]:
        inspections, images = self.tables.inspections, self.tables.images
        name = images.c.imagename
        fits = sa.or_(*(name.like(like_pattern(p), escape=_ESCAPE) for p in self._settings.patterns))
        ours = [name.not_like(like_pattern(p), escape=_ESCAPE) for p in self._settings.exclude]
        return (
            sa.select(
                *named(
                    inspections.c.inspectid,
                    inspections.c.barcodeid,
                    inspections.c.inspectnumber,
                    inspections.c.inspectdate,
                    inspections.c.i_row,
                    inspections.c.col,
                    inspections.c.subwell,
                    name,
                )
            )
            .join_from(inspections, images, inspections.c.inspectid == images.c.inspectid)
            .where(fits, *ours)
        )

    def scores_of_drops(self, inspect_ids: Sequence[int]) -> dict[int, list[ScoreRow]]:
        """Return all scores of each inspection's drop, from any inspection of the drop, oldest first."""
        return self.read(lambda connection: self._scores_of_drops(connection, inspect_ids))

    def _scores_of_drops(self, connection: sa.Connection, inspect_ids: Sequence[int]) -> dict[int, list[ScoreRow]]:
        found: dict[int, list[ScoreRow]] = {inspect_id: [] for inspect_id in inspect_ids}
        inspections, scores = self.tables.inspections, self.tables.scores.c
        place = (inspections.c.barcodeid, inspections.c.col, inspections.c.i_row, inspections.c.subwell)
        for part in chunks(inspect_ids):
            asked = sa.select(*named(inspections.c.inspectid, *place)).where(inspections.c.inspectid.in_(part))
            drops: dict[tuple[Any, ...], list[int]] = {}
            for inspect_id, *drop in connection.execute(asked):
                drops.setdefault(tuple(drop), []).append(int(inspect_id))
            # The drops of a batch are on few plates, so their scores are read at once and assigned to drops here;
            # joining the table with itself would scan a plate's inspections again for each drop.
            barcodes, cols, rows, _ = (
                (sorted(set(values)) for values in zip(*drops, strict=True)) if drops else [[]] * 4
            )
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
                .join_from(inspections, self.tables.scores, scores.inspectid == inspections.c.inspectid)
                .where(place[0].in_(barcodes), place[1].in_(cols), place[2].in_(rows))
                .order_by(scores.scoredate, scores.scoreid)
            )
            for row in connection.execute(statement) if drops else []:
                for inspect_id in drops.get(tuple(row[:4]), ()):
                    found[inspect_id].append(score_row(row))
        return found

    def scored_by_people(self, mates: Sequence[str] = ()) -> Iterator[ScoredDrop]:
        """Yield every drop at an inspection at which a person scored it, in the order of inspect ids.

        Parameters
        ----------
        mates
            Names of UV images, with ``*`` and ``?``; they are not returned as bright-field images even if they match.
        """
        after = -1
        while True:
            drops, last = self.read(partial(self._scored_page, after, mates))
            yield from drops
            if last is None:
                return
            after = last

    def _scored_page(
        self, after: int, mates: Sequence[str], connection: sa.Connection
    ) -> tuple[list[ScoredDrop], int | None]:
        """Return a page of scored drops after an inspect id, and the id to continue from; None on the last page."""
        page = [score_row(row) for row in connection.execute(self.select_scores(after).limit(_PAGE))]
        whole = _drop_last_scored(page) if len(page) == _PAGE else page
        is_persons = self._settings.is_persons
        # Scores are sorted by date, so the newest one remains.
        newest = {score.inspect_id: score for score in whole if is_persons(score.by, score.code)}
        images, others = self._images_of(connection, list(newest), mates)
        drops = [ScoredDrop(score, images[inspect_id], others[inspect_id]) for inspect_id, score in newest.items()]
        return drops, whole[-1].inspect_id if len(page) == _PAGE else None

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
        is_mate = sa.or_(sa.false(), *(table.imagename.like(like_pattern(p), escape=_ESCAPE) for p in mates))
        for part in chunks(inspect_ids):
            fitting = self._select_fitting().where(table.inspectid.in_(part), sa.not_(is_mate))
            for row in connection.execute(fitting.order_by(table.inspectid, table.imagename)):
                images[int(row.inspectid)].append(_image_row(row))
            mates_of = sa.select(*named(table.inspectid, table.imagename)).where(table.inspectid.in_(part), is_mate)
            for row in connection.execute(mates_of.order_by(table.inspectid, table.imagename)):
                others[int(row.inspectid)].append(row.imagename)
        return images, others

    def mates(self, inspect_id: int, names: Sequence[str]) -> list[str]:
        """Return the names of an inspection's images that match wildcards such as ``*_UV_*``, sorted.

        The configured patterns do not apply.
        """
        table = self.tables.images.c
        fits = sa.or_(sa.false(), *(table.imagename.like(like_pattern(name), escape=_ESCAPE) for name in names))
        statement = sa.select(table.imagename).where(table.inspectid == inspect_id, fits).order_by(table.imagename)
        return self.read(lambda connection: list(connection.scalars(statement)))

    def is_ours(self, score: ScoreRow) -> bool:
        """Return whether we wrote the row."""
        return score.by == self._settings.scored_by

    # ---- writing scores ----------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[ScoreWriter]:
        """Open a transaction on the score table; roll back if an error leaves the block."""
        with self.transaction() as connection:
            yield ScoreWriter(self.tables, connection, self._scores_of_drops)

    def write(self, work: Callable[[ScoreWriter], T]) -> T:
        """Call `work` in a transaction on the score table, with the retries and errors of `transact`."""
        return self.transact(lambda connection: work(ScoreWriter(self.tables, connection, self._scores_of_drops)))

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
                found = connection.execute(
                    sa.select(*named(inspections.c.inspectid, inspections.c.inspectdate)).where(*same)
                ).first()
                if found is None:
                    inserted = connection.execute(inspections.insert().values(inspectdate=image.inspected, **place))
                    key = inserted.inserted_primary_key
                    inspect_id, inspected = int(key[0]) if key else 0, image.inspected
                else:
                    inspect_id, inspected = int(found.inspectid), found.inspectdate
                known = sa.select(table.c.inspectid).where(
                    table.c.inspectid == inspect_id, table.c.imagename == image.image_name
                )
                if connection.execute(known).first() is None:
                    connection.execute(table.insert().values(inspectid=inspect_id, imagename=image.image_name))
                entered.append(
                    ImageRow(inspect_id, image.barcode, image.inspection, inspected, image.well, image.image_name)
                )
        return entered

    def wells_taken(self, barcode: str) -> dict[str, Well]:
        """Return the wells of a plate of the embedded database that have images, by image name."""
        return {row.image_name: row.well for group in self.of_plate(barcode) for row in group}


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


def _drop_last_inspection(page: list[ImageRow]) -> list[ImageRow]:
    """Drop the last inspection of a full page, which may be incomplete; the next page starts with it."""
    last = page[-1].inspect_id
    whole = [row for row in page if row.inspect_id != last]
    if not whole:
        raise ImagerError(
            f"inspection {last} has {_PAGE} or more images that match imager.patterns; make the patterns narrower"
        )
    return whole


def _drop_last_scored(page: list[ScoreRow]) -> list[ScoreRow]:
    """Drop the last inspection of a full page of scores; the next page starts with it."""
    whole = [score for score in page if score.inspect_id != page[-1].inspect_id]
    if not whole:
        raise ImagerError(
            f"inspection {page[-1].inspect_id} has {_PAGE} or more scores; some program seems to write there in a loop"
        )
    return whole


def _image_row(row: Any) -> ImageRow:
    return ImageRow(
        inspect_id=int(row.inspectid),
        barcode=row.barcodeid,
        inspection=int(row.inspectnumber),
        inspected=row.inspectdate,
        well=Well(int(row.i_row), int(row.col), int(row.subwell)),
        image_name=row.imagename,
    )


def score_row(row: Any) -> ScoreRow:
    """Convert a row of the vendor's score table."""
    return ScoreRow(
        score_id=int(row.scoreid),
        inspect_id=int(row.inspectid),
        code=str(row.score).strip(),
        date=row.scoredate,
        by=row.scoredby or "",
        image_name=row.imagename,
    )
