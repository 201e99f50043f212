"""Read people's scores and programs' probabilities from ISPyB, page by page, each with the place of its image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import ConfigError

from ...config import Config
from ...domain.light import Light, light_in
from ...domain.wells import Well
from . import tables as t
from .auto_scores import classes_of, read_four
from .connection import Ispyb
from .images import INSPECTED, PAGE, has_time, images_joined
from .plates import COLUMNS, plate_format, well_at


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """An image with a score.

    Attributes
    ----------
    well
        None if it can't be told; `problem` says why.
    inspected
        Naive local time of the inspection.
    other_light
        The inspection's type if that is no visible light; else empty.
    word
        The name of the person's score.
    changed
        When its row was last changed, for whatever reason; naive local time.
    four
        A program's probabilities by class.
    """

    id: int
    barcode: str
    well: Well | None
    problem: str
    inspected: datetime | None
    other_light: str = ""
    word: str = ""
    changed: datetime | None = None
    four: Mapping[str, float] = field(default_factory=dict)


def open_scores(config: Config) -> Ispyb:
    """Open the ISPyB that scores are read from: the source of images, else the one that is written to.

    Raises
    ------
    ConfigError
        If there is none.
    """
    for key, settings in (("imager.ispyb.url", config.imager.ispyb), ("publish.ispyb.url", config.publish.ispyb)):
        if settings.url:
            return Ispyb(config, settings.url, settings.password_file, key)
    raise ConfigError("set imager.ispyb.url, or publish.ispyb.url, to read scores from ISPyB")


def read_people(config: Config, ispyb: Ispyb) -> Iterator[list[ScoredImage]]:
    """Yield the images that people scored, in pages in the order of their ids."""
    columns = (*_PLACE, t.scores.c.name.label("word"), t.images.c.modifiedTimeStamp.label("changed"))
    joined = images_joined(columns)
    joined = joined.join(t.scores, t.scores.c.blSampleImageScoreId == t.images.c.blSampleImageScoreId)
    for rows in _pages(ispyb, joined):
        yield [_converted(config, row, (row.word or "").strip(), row.changed, {}) for row in rows]


def read_program(config: Config, ispyb: Ispyb, schema: str) -> Iterator[list[ScoredImage]]:
    """Yield the images that a schema has probabilities of, in pages in the order of their ids.

    Raises
    ------
    ConfigError
        If there is no such schema.
    """
    classes = ispyb.read(partial(classes_of, schema=schema))
    if not classes:
        raise ConfigError(
            f"ISPyB has no auto-score schema {schema!r}; its table BLSampleImageAutoScoreSchema lists them"
        )
    of_schema = t.auto_scores.c.blSampleImageAutoScoreClassId.in_(list(classes.values()))
    has_any = sa.exists().where(t.auto_scores.c.blSampleImageId == t.images.c.blSampleImageId, of_schema)
    for rows in _pages(ispyb, images_joined(_PLACE).where(has_any)):
        ids = [row.blSampleImageId for row in rows]
        fours = ispyb.read(partial(read_four, image_ids=ids, classes=classes))
        yield [_converted(config, row, "", None, fours[row.blSampleImageId]) for row in rows]


_PLACE = (
    t.images.c.blSampleImageId,
    t.containers.c.barcode,
    t.samples.c.location,
    INSPECTED.label("inspected"),
    t.inspection_types.c.name.label("light"),
    *COLUMNS,
)


def _pages(ispyb: Ispyb, statement: sa.Select[Any]) -> Iterator[Sequence[sa.Row[Any]]]:
    after = 0
    while True:
        page = statement.where(t.images.c.blSampleImageId > after).order_by(t.images.c.blSampleImageId).limit(PAGE)
        rows = ispyb.read(partial(_all, page))
        yield rows
        if len(rows) < PAGE:
            return
        after = rows[-1].blSampleImageId


def _all(statement: sa.Select[Any], connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    return connection.execute(statement).all()


def _converted(config: Config, row: Any, word: str, changed: datetime | None, four: Mapping[str, float]) -> ScoredImage:
    well, problem = None, ""
    try:
        well = well_at(row.location, plate_format(row, config.imager.ispyb.types))
    except ValueError as error:
        problem = str(error)
    barcode = (row.barcode or "").strip()
    light = row.light or ""
    other_light = "" if light_in(light) in (None, Light.VISIBLE) else light
    inspected, changed = (at if has_time(at) else None for at in (row.inspected, changed))
    return ScoredImage(row.blSampleImageId, barcode, well, problem, inspected, other_light, word, changed, four)
