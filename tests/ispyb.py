"""An ISPyB to test against: the documented tables and columns that we use, or the real schema if it is there.

The real schema (github.com/DiamondLightSource/ispyb-database, LGPL) is never in this repository. `make test-peers
ISPYB=checkout/schemas/ispyb` runs these tests on it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from xtalgrid_server.imager.ispyb import tables as t

SCHEMA = os.environ.get("XTALGRID_ISPYB_SCHEMA", "")
"""Folder of the real schema's SQL files."""

# name, capacity, wells a row, drops x, drops y, cell of the reservoir: as shipped with the real schema
TYPES = {
    "CrystalQuickX": (192, 12, 2, 1, -1),
    "MRC 2 Drop": (192, 12, 1, 2, -1),
    "SWISSCI 3 Drop": (288, 12, 2, 2, 1),
    "SWISSCI 2 Drop": (192, 12, 1, 2, 1),
}
SCORES = (
    "Clear", "Contaminated", "Light Precipitate", "Phase Separation", "Spherulites", "Microcrystals", "1D Crystals",
    "2D Crystals", "3D Crystals", "Heavy Precipitate",
)  # fmt: skip


def load_real_schema(port: int) -> None:
    """Load the real schema into the database ispyb."""
    client = ["mariadb", "--no-defaults", "--host=127.0.0.1", f"--port={port}", "--user=root", "ispyb"]
    for name in ("tables", "lookups", "data", "routines"):
        with (Path(SCHEMA) / f"{name}.sql").open("rb") as file:
            subprocess.run(client, stdin=file, check=True, timeout=120)


class Lab:
    """Plates, inspections and images in an ISPyB."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        with self.engine.begin() as connection:
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
            yield connection
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")

    def empty(self) -> None:
        """Leave no plates and images, and the scores and schemas that are shipped."""
        with self.writing() as connection:
            for table in (
                t.queued, t.sub_samples, t.positions, t.auto_scores, t.images, t.inspections, t.samples, t.containers,
            ):  # fmt: skip
                connection.execute(table.delete())
            connection.execute(t.schemas.delete().where(t.schemas.c.schemaName.not_in(("MARCO", "CHIMP"))))
            connection.execute(t.classes.delete().where(t.classes.c.blSampleImageAutoScoreSchemaId > 2))
            if not connection.execute(t.types.select()).first():
                self._fill(connection)

    def _fill(self, connection: sa.Connection) -> None:
        columns = ("capacity", "wellPerRow", "dropPerWellX", "dropPerWellY", "wellDrop")
        rows = [{"name": name, **dict(zip(columns, numbers, strict=True))} for name, numbers in TYPES.items()]
        connection.execute(t.types.insert(), rows)
        connection.execute(t.inspection_types.insert(), [{"name": "Visible"}, {"name": "UV"}])
        connection.execute(t.scores.insert(), [{"name": name} for name in SCORES])
        connection.execute(t.schemas.insert(), [{"schemaName": name, "enabled": 1} for name in ("MARCO", "CHIMP")])
        names = ("clear", "crystal", "precipitant", "other")
        rows = [{"blSampleImageAutoScoreSchemaId": key, "scoreClass": name} for key in (1, 2) for name in names]
        connection.execute(t.classes.insert(), rows)

    def add(self, table: sa.Table, **values: object) -> int:
        with self.writing() as connection:
            key = connection.execute(table.insert().values(**values)).inserted_primary_key
            assert key is not None
            return int(key[0])

    def plate(self, barcode: str | None, kind: str = "MRC 2 Drop") -> int:
        with self.engine.connect() as connection:
            number = connection.scalar(sa.select(t.types.c.containerTypeId).where(t.types.c.name == kind))
        return self.add(t.containers, barcode=barcode, containerTypeId=number)

    def inspection(self, plate: int, at: datetime | None, kind: int = 1) -> int:
        """Kind 1 is visible, 2 is UV."""
        return self.add(t.inspections, containerId=plate, inspectionTypeId=kind, blTimeStamp=at)

    def image(
        self, plate: int, inspection: int | None, location: str | None, path: str | None, **values: object
    ) -> int:
        at = sa.select(t.samples.c.blSampleId).where(t.samples.c.containerId == plate, t.samples.c.location == location)
        with self.engine.connect() as connection:
            sample = connection.scalar(at)
        sample = sample or self.add(t.samples, containerId=plate, location=location)
        return self.add(t.images, blSampleId=sample, containerInspectionId=inspection, imageFullPath=path, **values)

    def schema(
        self, name: str = "ARTscore", classes: tuple[str, ...] = ("crystal", "precipitant", "other", "clear")
    ) -> None:
        key = self.add(t.schemas, schemaName=name, enabled=1)
        for each in classes:
            self.add(t.classes, blSampleImageAutoScoreSchemaId=key, scoreClass=each)

    def put(self, image: int, four: dict[str, float], schema: str = "ARTscore") -> None:
        """Write auto scores as another program does."""
        for name, probability in four.items():
            with self.engine.connect() as connection:
                number = connection.scalar(self._class(schema).where(t.classes.c.scoreClass == name))
            self.add(
                t.auto_scores, blSampleImageId=image, blSampleImageAutoScoreClassId=number, probability=probability
            )

    def four(self, image: int, schema: str = "ARTscore") -> dict[str, float]:
        """The auto scores of an image."""
        statement = (
            sa.select(t.classes.c.scoreClass, t.auto_scores.c.probability)
            .join(t.classes, t.classes.c.blSampleImageAutoScoreClassId == t.auto_scores.c.blSampleImageAutoScoreClassId)
            .join(t.schemas, t.schemas.c.blSampleImageAutoScoreSchemaId == t.classes.c.blSampleImageAutoScoreSchemaId)
            .where(t.auto_scores.c.blSampleImageId == image, t.schemas.c.schemaName == schema)
        )
        with self.engine.connect() as connection:
            return {row.scoreClass: round(row.probability, 6) for row in connection.execute(statement)}

    def sub_samples(self) -> list[tuple[int, float, float, float | None, float | None, str, str, str]]:
        """All sub-samples as (image, x, y, x2, y2, source, type, comments), in the order of their ids."""
        with self.engine.connect() as connection:
            statement = sa.text(
                "SELECT ss.blSampleImageId, po.posX, po.posY, po2.posX, po2.posY, ss.source, ss.type, ss.comments "
                "FROM BLSubSample ss JOIN Position po ON po.positionId = ss.positionId "
                "LEFT JOIN Position po2 ON po2.positionId = ss.position2Id ORDER BY ss.blSubSampleId"
            )
            return [tuple(row) for row in connection.execute(statement)]

    def _class(self, schema: str) -> sa.Select[tuple[int]]:
        return (
            sa.select(t.classes.c.blSampleImageAutoScoreClassId)
            .join(t.schemas, t.schemas.c.blSampleImageAutoScoreSchemaId == t.classes.c.blSampleImageAutoScoreSchemaId)
            .where(t.schemas.c.schemaName == schema)
        )
