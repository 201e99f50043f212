"""Read what ``sync`` needs from the imager database: the score table page by page, and the contents of plates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ...domain.images import ScoreRow
from ...domain.wells import Well
from ...storage.engines import chunks
from .database import ImagerDatabase
from .tables import CrystalTrak, named

PAGE = 1000

EVERYWHERE = Well(0, 0, 0)
"""Stands for a whole plate, because the sample tables don't say which well has which sample."""


def _select_score_page(tables: CrystalTrak, after: int, limit: int) -> sa.Select[Any]:
    """Select a page of the score table after a SCOREID, whoever wrote the rows."""
    scores = tables.scores.c
    return (
        sa.select(
            *named(scores.scoreid, scores.inspectid, scores.score, scores.scoredate, scores.scoredby, scores.imagename)
        )
        .where(scores.scoreid > after)
        .order_by(scores.scoreid)
        .limit(limit)
    )


def _select_projects(tables: CrystalTrak, barcodes: Sequence[str]) -> sa.Select[Any]:
    """Select (barcode, project name) of plates, the plate entered last at the end."""
    plates, projects = tables.plates.c, tables.projects.c
    return (
        sa.select(*named(plates.barcode, projects.name))
        .join_from(tables.plates, tables.projects, plates.project_id == projects.project_id)
        .where(plates.barcode.in_(barcodes))
        .order_by(plates.plate_id)
    )


def _select_samples(tables: CrystalTrak, barcodes: Sequence[str]) -> sa.Select[Any]:
    """Select (barcode, sample name) of the samples in the plates' drops, without duplicates."""
    plates, drops, samples = tables.plates.c, tables.plate_drops.c, tables.samples.c
    return (
        sa.select(*named(plates.barcode, samples.sample_name))
        .distinct()
        .join_from(tables.plates, tables.plate_drops, plates.plate_id == drops.fk_plate_id)
        .join(tables.samples, samples.sample_id == drops.fk_sample_id)
        .where(plates.barcode.in_(barcodes))
        .order_by(plates.barcode, samples.sample_name)
    )


class ScorePage(NamedTuple):
    """A page of the score table: the rows that can be used, the last row's SCOREID (None: no rows), if more follow."""

    scores: list[ScoreRow]
    last: int | None
    has_next: bool


def score_page(database: ImagerDatabase, after: int) -> ScorePage:
    """Return the page of the score table after a SCOREID."""
    rows = database.read_all(_select_score_page(database.tables, after, PAGE))
    last = int(rows[-1].scoreid) if rows else None
    return ScorePage(list(database.rows.scores(rows)), last, len(rows) == PAGE)


def plate_contents(
    database: ImagerDatabase, tables: CrystalTrak, barcodes: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Return (project, samples) by barcode; `tables` are those of `ImagerDatabase.sample_tables`.

    Several samples of a plate are joined by commas, because the database does not say which drop has which.
    """

    def read(connection: sa.Connection) -> dict[str, tuple[str, str]]:
        projects: dict[str, str] = {}
        samples: dict[str, list[str]] = {}
        for part in chunks(barcodes):
            for row in connection.execute(_select_projects(tables, part)):
                projects[row.barcode] = (row.name or "").strip()
            for row in connection.execute(_select_samples(tables, part)):
                samples.setdefault(row.barcode, []).append((row.sample_name or "").strip())
        return {
            barcode: (projects.get(barcode, ""), ", ".join(name for name in samples.get(barcode, []) if name))
            for barcode in sorted(projects.keys() | samples.keys())
        }

    return database.read(read)
