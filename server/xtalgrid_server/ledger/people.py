"""People's scores and drops' contents: the imager's score table as it was seen, the viewer's corrections, and contents.

All of it is append-only. A row of the score table is recorded when first seen, and again whenever it is found changed
or deleted, no matter who wrote it, so that no score is lost that XtalTrak no longer shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import LedgerError
from xtalgrid_core.outcomes import CLASSES, Outcome

from ..config import Config
from ..domain.images import ScoreRow
from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, insert, is_of
from .records import now

_GONE = ""
"""Code of a row that was deleted from the score table."""


@dataclass(frozen=True, slots=True)
class SeenScore:
    """A row of the imager's score table as it was at `seen_at` (UTC); `gone` means that it was deleted."""

    row: ScoreRow
    seen_at: datetime

    @property
    def gone(self) -> bool:
        """Whether the row had been deleted by then; its other columns are as they were before."""
        return self.row.code == _GONE


@dataclass(frozen=True, slots=True)
class Correction:
    """A score that a person gave in the viewer at `at` (UTC); `outcome` None takes their earlier score back.

    `score_id` is the ARTscore they saw. `written_id` is the SCOREID of the row written for it into the imager's score
    table.
    """

    id: int
    image_id: int
    score_id: int | None
    outcome: Outcome | None
    note: str
    who: str
    at: datetime
    written_id: int | None
    written_at: datetime | None


@dataclass(frozen=True, slots=True)
class Said:
    """A person's score of a drop at an inspection, given in XtalTrak or in the viewer.

    `outcome` is None for a code of the score table that the lab's map has no outcome for. `at` is UTC. `correction` is
    the id of a score given in the viewer, None for one given in XtalTrak.
    """

    inspect_id: int
    outcome: Outcome | None
    code: str
    who: str
    at: datetime
    correction: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What was put into a drop. In `well`, 0 for row, col or subwell means all of them; empty texts mean unknown."""

    barcode: str
    well: Well
    project: str = ""
    sample: str = ""
    condition: str = ""
    origin: str = ""


class People:
    """The part of the ledger that keeps people's scores and drops' contents."""

    def __init__(self, database: LedgerDatabase, config: Config) -> None:
        self._db = database
        self._config = config

    # ---- the imager's score table, as it was seen ----------------------------------------------------------------

    def record(self, rows: Iterable[ScoreRow], between: tuple[int, int, datetime] | None = None) -> int:
        """Record rows of the score table that are new or have changed; return how many.

        Parameters
        ----------
        between
            ``(after, upto, at)``: `rows` are all rows with after < SCOREID ≤ upto that existed at this time (UTC). Rows
            recorded before it that are not among them are recorded as deleted.
        """
        given = {row.score_id: _as_kept(row) for row in rows if row.code}  # a row without a code is not a score
        added = 0
        with self._db.writing() as connection:
            if between is not None:
                after, upto, at = between
                ids = t.imager_scores.c.score_id
                seen = self._newest(connection, ids > after, ids <= upto)
                known = {score_id: one.row for score_id, one in seen.items()}
                missing = [seen[score_id] for score_id in sorted(seen.keys() - given.keys())]
                gone = [_gone(one.row) for one in missing if one.seen_at < at and not one.gone]
                return self._add(connection, [*given.values(), *gone], known)
            for part in chunks(sorted(given)):
                seen = self._newest(connection, t.imager_scores.c.score_id.in_(part))
                known = {score_id: one.row for score_id, one in seen.items()}
                added += self._add(connection, [given[score_id] for score_id in part], known)
        return added

    def _newest(self, connection: sa.Connection, *where: sa.ColumnElement[bool]) -> dict[int, SeenScore]:
        chosen = t.imager_scores.c.source == self._db.source, *where
        rows = connection.execute(sa.select(t.imager_scores).where(*chosen).order_by(t.imager_scores.c.id))
        return {row.score_id: SeenScore(_score_row(row), row.seen_at) for row in rows}

    def _add(self, connection: sa.Connection, rows: Iterable[ScoreRow], known: Mapping[int, ScoreRow]) -> int:
        values = [
            {
                "source": self._db.source,
                "score_id": row.score_id,
                "inspect_id": row.inspect_id,
                "code": row.code,
                "date": row.date,
                "by": row.by,
                "image_name": row.image_name,
                "seen_at": now(),
            }
            for new in rows
            for row in _changes(known.get(new.score_id), new)
        ]
        if values:
            connection.execute(t.imager_scores.insert(), values)
        return len(values)

    def history(self, inspect_ids: Sequence[int]) -> list[SeenScore]:
        """Return every recorded version of these inspections' rows in the score table, in the order seen."""
        found: list[tuple[int, SeenScore]] = []
        with self._db.reading() as connection:
            for part in chunks(sorted(set(inspect_ids))):
                found += [(row.id, SeenScore(_score_row(row), row.seen_at)) for row in self._of(connection, part)]
        last: dict[int, ScoreRow] = {}
        told = []
        for _, seen in sorted(found, key=lambda pair: pair[0]):
            if last.get(seen.row.score_id) != seen.row:  # two programs may have recorded the same version at once
                told.append(seen)
            last[seen.row.score_id] = seen.row
        return told

    def scores(self, inspect_ids: Sequence[int], besides: Sequence[str] = ()) -> dict[int, list[ScoreRow]]:
        """Return the rows of each of these inspections as last seen, without deleted ones, oldest SCOREDATE first.

        Parameters
        ----------
        besides
            SCOREDBY names whose rows are left out.
        """
        newest: dict[int, ScoreRow] = {}
        with self._db.reading() as connection:
            for part in chunks(sorted(set(inspect_ids))):
                rows = self._of(connection, part, t.imager_scores.c.by.not_in(besides))
                newest.update({row.score_id: _score_row(row) for row in rows})
        return _standing(newest.values(), inspect_ids)

    def _of(
        self, connection: sa.Connection, inspect_ids: Sequence[int], *where: sa.ColumnElement[bool]
    ) -> Iterator[Any]:
        chosen = t.imager_scores.c.source == self._db.source, t.imager_scores.c.inspect_id.in_(inspect_ids), *where
        yield from connection.execute(sa.select(t.imager_scores).where(*chosen).order_by(t.imager_scores.c.id))

    def first_dated(self, since: datetime) -> int | None:
        """Return the lowest recorded SCOREID with a SCOREDATE from `since` on (naive local time), or None."""
        chosen = is_of(self._db.source, t.imager_scores.c.source), t.imager_scores.c.date >= since
        with self._db.reading() as connection:
            found: int | None = connection.scalar(sa.select(sa.func.min(t.imager_scores.c.score_id)).where(*chosen))
        return found

    # ---- corrections: what people say in the viewer --------------------------------------------------------------

    def correct(
        self, image_id: int, outcome: Outcome | None, who: str, *, score_id: int | None = None, note: str = ""
    ) -> Correction | None:
        """Record a person's score of an image, unless it is the same as before.

        Parameters
        ----------
        outcome
            One of the 13 classes; None takes their earlier score back.
        score_id
            The ARTscore they saw.

        Returns
        -------
        Correction or None
            The person's current score; None if there was nothing to take back.

        Raises
        ------
        LedgerError
            If there is no such image, or `who` is empty.
        ValueError
            If the outcome is not one that a person can give.
        """
        if outcome is not None and outcome not in CLASSES:
            raise ValueError(f"{outcome}: a person's score must be one of {', '.join(CLASSES)}")
        who, note = who.strip()[:100], note.strip()[:500]
        if not who:
            raise LedgerError("a correction needs the name of the person who made it")
        with self._db.writing() as connection:
            theirs = sa.select(t.corrections).where(t.corrections.c.image_id == image_id, t.corrections.c.who == who)
            row = connection.execute(theirs.order_by(t.corrections.c.id.desc()).limit(1)).first()
            before = None if row is None else _correction(row)
            if before is None and outcome is None:
                return None
            if before is not None and before.outcome is outcome and (before.note == note or outcome is None):
                return before
            here = (t.images.c.id == image_id, t.images.c.source == self._db.source)
            if connection.scalar(sa.select(t.images.c.id).where(*here)) is None:
                raise LedgerError(f"there is no image {image_id} in the ledger; nothing was recorded")
            values = {"image_id": image_id, "score_id": score_id, "note": note, "who": who, "at": now()}
            added = insert(connection, t.corrections, outcome=str(outcome or ""), **values)
            return _correction(connection.execute(sa.select(t.corrections).where(t.corrections.c.id == added)).one())

    def corrections(self, image_ids: Sequence[int]) -> dict[int, list[Correction]]:
        """Return all scores that people gave these images in the viewer, even if taken back, oldest first."""
        found: dict[int, list[Correction]] = {image_id: [] for image_id in image_ids}
        with self._db.reading() as connection:
            for part in chunks(sorted(found)):
                chosen = sa.select(t.corrections).where(t.corrections.c.image_id.in_(part)).order_by(t.corrections.c.id)
                for row in connection.execute(chosen):
                    found[row.image_id].append(_correction(row))
        return found

    def last_said(self, who: str) -> Correction | None:
        """Return the last score that a person gave or took back in the viewer, or None."""
        theirs = sa.select(t.corrections).where(t.corrections.c.who == who).order_by(t.corrections.c.id.desc()).limit(1)
        with self._db.reading() as connection:
            row = connection.execute(theirs).first()
        return None if row is None else _correction(row)

    def set_written(self, correction: int, score_id: int) -> None:
        """Record that a correction is in the imager's score table, as the row with this SCOREID."""
        with self._db.writing() as connection:
            chosen = t.corrections.update().where(t.corrections.c.id == correction)
            connection.execute(chosen.values(written_id=score_id, written_at=now()))

    # ---- both together -------------------------------------------------------------------------------------------

    def said(self, images: Mapping[int, int], barcodes: Sequence[str] = ()) -> dict[int, list[Said]]:
        """Return people's scores of drops, oldest first: the last counts. Those taken back or replaced are left out.

        Parameters
        ----------
        images
            Inspect id by image id.
        barcodes
            If `images` are most images of whole plates, these plates: they are then queried by plate, not by image.

        Returns
        -------
        dict
            By inspect id, the scores given in XtalTrak, as last seen, and in the viewer. A correction that was written
            into the score table appears once.
        """
        settings = self._config.imager
        programs = settings.programs
        inspect_ids = list(dict.fromkeys(images.values()))
        if barcodes:
            corrections, scores = self._of_plates(images, inspect_ids, barcodes, programs)
        else:
            corrections, scores = self.corrections(list(images)), self.scores(inspect_ids, besides=programs)
        found: dict[int, list[Said]] = {inspect_id: [] for inspect_id in inspect_ids}
        written: set[int] = set()
        for image_id, made in corrections.items():
            newest = {correction.who: correction for correction in made}
            for one in newest.values():
                if one.outcome is not None:
                    code = self._config.score_code(one.outcome) or ""
                    found[images[image_id]].append(Said(images[image_id], one.outcome, code, one.who, one.at, one.id))
            written.update(one.written_id for one in made if one.written_id is not None)
        for inspect_id, rows in scores.items():
            for row in rows:
                if settings.is_persons(row.by, row.code) and row.score_id not in written:
                    outcome = self._config.outcome(row.code)
                    found[inspect_id].append(Said(inspect_id, outcome, row.code, row.by, settings.utc(row.date)))
        for each in found.values():
            if len(each) > 1:
                each.sort(key=lambda said: said.at)
        return found

    def _of_plates(
        self, images: Mapping[int, int], inspect_ids: Sequence[int], barcodes: Sequence[str], programs: Sequence[str]
    ) -> tuple[dict[int, list[Correction]], dict[int, list[ScoreRow]]]:
        """Return `corrections` of these images and `scores` of these inspections, all on these plates."""
        seen, made, here = t.imager_scores, t.corrections, t.images.c
        source = is_of(self._db.source, here.source)
        corrections: dict[int, list[Correction]] = {}
        newest: dict[int, ScoreRow] = {}
        with self._db.reading() as connection:
            for part in chunks(barcodes):
                of_plates = (
                    sa.select(made).join(t.images, here.id == made.c.image_id).where(source, here.barcode.in_(part))
                )
                for row in connection.execute(of_plates.order_by(made.c.id)):
                    if row.image_id in images:
                        corrections.setdefault(row.image_id, []).append(_correction(row))
                rows = (
                    sa.select(seen)
                    .join(t.images, sa.and_(here.source == seen.c.source, here.inspect_id == seen.c.inspect_id))
                    .where(source, here.barcode.in_(part), seen.c.by.not_in(programs))
                    .order_by(seen.c.id)
                )
                newest.update({row.score_id: _score_row(row) for row in connection.execute(rows)})
        return corrections, _standing(newest.values(), inspect_ids)

    # ---- what is in the drops ------------------------------------------------------------------------------------

    def set_contents(self, contents: Iterable[Contents]) -> int:
        """Record contents of drops that are new or have changed; return how many rows were added.

        The newest row of a place (`Contents.well`) counts; empty texts record that a drop's contents are unknown.
        """
        plates: dict[str, dict[Well, Contents]] = {}
        for one in contents:
            plates.setdefault(one.barcode, {})[one.well] = one
        added = 0
        for barcodes in chunks(sorted(plates)):
            with self._db.writing() as connection:
                known = self._contents(connection, barcodes)
                values = [
                    {
                        "source": self._db.source,
                        "barcode": barcode[:30],
                        **one.well._asdict(),
                        **dict(zip(("project", "sample", "condition"), _texts(one), strict=True)),
                        "origin": one.origin[:500],
                        "at": now(),
                    }
                    for barcode in barcodes
                    for well, one in plates[barcode].items()
                    if _texts(one) != _texts(known.get(barcode, {}).get(well, Contents(barcode, well)))
                ]
                if values:
                    connection.execute(t.drops.insert(), values)
                added += len(values)
        return added

    def barcodes(self) -> list[str]:
        """Return the plates with images in the ledger, sorted by barcode."""
        images = t.images.c
        statement = sa.select(images.barcode).distinct().where(images.source == self._db.source)
        with self._db.reading() as connection:
            return list(connection.scalars(statement.order_by(images.barcode)))

    def plates_with(self, project: str = "", sample: str = "", condition: str = "") -> set[str]:
        """Return plates that may have a drop whose texts contain these parts, ignoring case; an empty part fits all."""
        found: set[str] | None = None
        with self._db.reading() as connection:
            for name, part in (("project", project), ("sample", sample), ("condition", condition)):
                if part:
                    fits = t.drops.c[name].icontains(part, autoescape=True)
                    statement = sa.select(t.drops.c.barcode).distinct().where(t.drops.c.source == self._db.source, fits)
                    plates = set(connection.scalars(statement))
                    found = plates if found is None else found & plates
        return set(self.barcodes()) if found is None else found

    def contents(self, barcodes: Iterable[str]) -> Recipes:
        """Return what is known about the drops of these plates."""
        found: dict[str, dict[Well, Contents]] = {}
        with self._db.reading() as connection:
            for part in chunks(sorted(set(barcodes))):
                found.update(self._contents(connection, part))
        return Recipes(found)

    def _contents(self, connection: sa.Connection, barcodes: Sequence[str]) -> dict[str, dict[Well, Contents]]:
        chosen = t.drops.c.source == self._db.source, t.drops.c.barcode.in_(barcodes)
        found: dict[str, dict[Well, Contents]] = {}
        for row in connection.execute(sa.select(t.drops).where(*chosen).order_by(t.drops.c.id)):
            well = Well(row.row, row.col, row.subwell)
            one = Contents(row.barcode, well, row.project, row.sample, row.condition, row.origin)
            found.setdefault(row.barcode, {})[well] = one
        return found


class Recipes:
    """What is in the drops of some plates."""

    def __init__(self, plates: Mapping[str, Mapping[Well, Contents]]) -> None:
        self._plates = plates
        self._found: dict[tuple[str, Well], Contents] = {}

    def __call__(self, barcode: str, well: Well) -> Contents:
        """Return a drop's contents: each text from the most specific place that has one (drop, then well … plate)."""
        found = self._found.get((barcode, well))
        if found is None:
            found = self._found[barcode, well] = _inside(barcode, well, self._plates.get(barcode, {}))
        return found


def _inside(barcode: str, well: Well, places: Mapping[Well, Contents]) -> Contents:
    row, col, subwell = well
    covering = [
        places[place]
        for place in (
            Well(row, col, subwell),
            Well(row, col, 0),
            Well(0, col, subwell),
            Well(row, 0, subwell),
            Well(0, col, 0),
            Well(row, 0, 0),
            Well(0, 0, subwell),
            Well(0, 0, 0),
        )
        if place in places
    ]

    def first(name: str) -> str:
        return next((text for one in covering if (text := getattr(one, name))), "")

    return Contents(barcode, well, first("project"), first("sample"), first("condition"), first("origin"))


def _standing(rows: Iterable[ScoreRow], inspect_ids: Iterable[int]) -> dict[int, list[ScoreRow]]:
    """Return the rows of each inspection that are not deleted, oldest first."""
    found: dict[int, list[ScoreRow]] = {inspect_id: [] for inspect_id in inspect_ids}
    for row in sorted(rows, key=lambda row: (row.date, row.score_id)):
        if row.code != _GONE and row.inspect_id in found:
            found[row.inspect_id].append(row)
    return found


def _texts(contents: Contents) -> tuple[str, str, str]:
    """Return project, sample and condition as they are stored."""
    return contents.project[:200], contents.sample[:200], contents.condition[:1000]


def _as_kept(row: ScoreRow) -> ScoreRow:
    """Return a row in the ledger's column lengths; a missing image name is always None."""
    return ScoreRow(
        row.score_id, row.inspect_id, row.code[:2], row.date, row.by[:30], (row.image_name or "")[:255] or None
    )


def _changes(before: ScoreRow | None, row: ScoreRow) -> list[ScoreRow]:
    """Return what to record for a row; if its SCOREID was another inspection's, also that row as deleted."""
    if before == row:
        return []
    moved = before is not None and before.inspect_id != row.inspect_id and before.code != _GONE
    return [_gone(before), row] if before is not None and moved else [row]


def _gone(row: ScoreRow) -> ScoreRow:
    return ScoreRow(row.score_id, row.inspect_id, _GONE, row.date, row.by, row.image_name)


def _score_row(row: Any) -> ScoreRow:
    return ScoreRow(row.score_id, row.inspect_id, row.code, row.date, row.by, row.image_name)


def _correction(row: Any) -> Correction:
    outcome = Outcome(row.outcome) if row.outcome else None
    return Correction(
        row.id, row.image_id, row.score_id, outcome, row.note, row.who, row.at, row.written_id, row.written_at
    )
