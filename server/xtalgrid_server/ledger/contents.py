"""What was put into the drops: project, sample and condition. The newest row of a place counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ..domain.letters import composed, folded, sure_part
from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, now


@dataclass(frozen=True, slots=True)
class Contents:
    """What was put into a drop. In `well`, 0 for row, col or subwell means all of them; empty texts mean unknown."""

    barcode: str
    well: Well
    project: str = ""
    sample: str = ""
    condition: str = ""
    origin: str = ""


class ContentsRecords:
    """The part of the ledger that records the contents of drops."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def record(self, contents: Iterable[Contents]) -> int:
        """Record contents of drops that are new or have changed; return how many rows were added.

        Empty texts record that a drop's contents are unknown.
        """
        plates: dict[str, dict[Well, Contents]] = {}
        for one in contents:
            plates.setdefault(one.barcode, {})[one.well] = one
        added = 0
        for barcodes in chunks(sorted(plates)):
            with self._db.writing() as connection:
                known = self._of_plates(connection, barcodes)
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

    def of_plates(self, barcodes: Iterable[str]) -> PlateContents:
        """Return what is known about the drops of these plates."""
        plates: dict[str, dict[Well, Contents]] = {}
        with self._db.reading() as connection:
            for part in chunks(sorted(set(barcodes))):
                plates.update(self._of_plates(connection, part))
        return PlateContents(plates)

    def _of_plates(self, connection: sa.Connection, barcodes: Sequence[str]) -> dict[str, dict[Well, Contents]]:
        chosen = t.drops.c.source == self._db.source, t.drops.c.barcode.in_(barcodes)
        plates: dict[str, dict[Well, Contents]] = {}
        for row in connection.execute(sa.select(t.drops).where(*chosen).order_by(t.drops.c.id)):
            well = Well(row.row, row.col, row.subwell)
            contents = Contents(row.barcode, well, row.project, row.sample, row.condition, row.origin)
            plates.setdefault(row.barcode, {})[well] = contents
        return plates

    def samples(self, barcodes: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """Return the (project, sample) pairs of these plates, as far as they are known."""
        drops = t.drops.c
        statement = (
            sa.select(drops.barcode, drops.project, drops.sample).where(drops.source == self._db.source).distinct()
        )
        pairs: dict[str, list[tuple[str, str]]] = {}
        for row in self._db.rows_in(statement.order_by(drops.sample), drops.barcode, barcodes):
            if row.project or row.sample:
                pairs.setdefault(row.barcode, []).append((row.project, row.sample))
        return pairs

    def plates_with(self, part: str, *names: str) -> set[str]:
        """Return plates with a drop whose project, sample or condition contains `part`, ignoring case.

        `names` are the texts to search; default: all three.
        """
        texts = [t.drops.c[name] for name in names or ("project", "sample", "condition")]
        fits = sa.or_(*(text.icontains(sure_part(part), autoescape=True) for text in texts))
        # SQLite folds ASCII letters only, and no database knows two ways to write a letter: these are compared here.
        compared = () if part.isascii() else texts
        statement = sa.select(t.drops.c.barcode, *compared).where(t.drops.c.source == self._db.source, fits).distinct()
        rows, wanted = self._db.rows(statement), folded(part)
        return {row.barcode for row in rows if part.isascii() or any(wanted in folded(text) for text in row[1:])}


class PlateContents:
    """What is in the drops of some plates."""

    def __init__(self, plates: Mapping[str, Mapping[Well, Contents]]) -> None:
        self._plates = plates
        self._drops: dict[tuple[str, Well], Contents] = {}

    def __call__(self, barcode: str, well: Well) -> Contents:
        """Return a drop's contents: each text from the most specific place that has one (drop, then well … plate)."""
        contents = self._drops.get((barcode, well))
        if contents is None:
            contents = self._drops[barcode, well] = _inside(barcode, well, self._plates.get(barcode, {}))
        return contents


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


def _texts(contents: Contents) -> tuple[str, str, str]:
    """Return project, sample and condition as they are stored."""
    return composed(contents.project)[:200], composed(contents.sample)[:200], composed(contents.condition)[:1000]
