"""Try what production does with ISPyB, and undo it: for `check-imager`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from xtalgrid_core.errors import ConfigError, ImageError, ImagerError

from ...config import Config
from ...storage.originals import original_status
from ..crystaltrak.finding import Finding
from . import tables as t
from .auto_scores import class_ids, read_four, schema_sql, write_four
from .connection import Ispyb
from .images import convert, images_joined, read_again
from .sub_samples import SubSample, delete_sub_sample, insert_sub_sample, read_sub_samples

_NEWEST = 5
"""How many of the newest images are looked at."""


def check_ispyb(config: Config) -> Iterator[Finding]:
    """Try to read images, and to write scores, where ISPyB is configured for that."""
    source, target = config.imager.ispyb, config.publish.ispyb
    for tried, key, settings, is_wanted, check in (
        ("images in ISPyB", "imager.ispyb.url", source, True, _images),
        ("scores for ISPyB", "publish.ispyb.url", target, True, _scores),
        ("marks for ISPyB", "publish.ispyb.url", target, target.marks, _marks),
    ):
        if settings.url and is_wanted:
            try:
                with Ispyb(config, settings.url, settings.password_file, key) as ispyb:
                    yield check(config, ispyb, tried)
            except (ConfigError, ImagerError) as error:
                statements = () if check is _images else tuple(schema_sql(target).splitlines())
                yield Finding(False, tried, str(error), statements=tuple(line for line in statements if line))


def _images(config: Config, ispyb: Ispyb, tried: str) -> Finding:
    """Read the newest images as `refresh` does, and look for their files."""
    newest = ispyb.read(_newest)
    rows = ispyb.read(partial(read_again, config=config, image_ids=newest))
    if not rows:
        return Finding(True, tried, "there are none of inspections yet")
    reasons = []
    for row in rows:
        try:
            original_status(config, Path(convert(config, row).file))
        except (ValueError, ImageError) as error:
            reasons.append(f"image {row.blSampleImageId}: {error}")
    if reasons:
        todo = "see imager.ispyb.paths, imager.ispyb.types and imager.linked_folders"
        return Finding(len(reasons) < len(rows), tried, f"{len(reasons)} of the newest {len(rows)}: {reasons[0]}", todo)
    return Finding(True, tried, f"the newest {len(rows)} can be read, with their files")


def _scores(config: Config, ispyb: Ispyb, tried: str) -> Finding:
    """Write numbers for the newest image, and roll back."""

    def write(connection: sa.Connection) -> str:
        classes = class_ids(connection, config.publish.ispyb)
        newest = _newest(connection)[:1]
        for image_id, four in read_four(connection, newest, classes, lock=True).items():
            write_four(connection, {image_id: four or dict.fromkeys(classes, 0.0)}, classes)
        return ", ".join(classes)

    names = ispyb.trying(write)
    return Finding(True, tried, f"schema {config.publish.ispyb.schema} with the classes {names}; writing was undone")


def _marks(config: Config, ispyb: Ispyb, tried: str) -> Finding:
    """Write a sub-sample of the newest image, read and delete it, and roll back."""

    def write(connection: sa.Connection) -> None:
        for image_id in _newest(connection)[:1]:
            rows = insert_sub_sample(connection, SubSample(image_id, (0.0, 0.0), (1.0, 1.0), "tried by check-imager"))
            read_sub_samples(connection, [rows.sub_sample], lock=True)
            delete_sub_sample(connection, rows)

    ispyb.trying(write)
    return Finding(True, tried, "sub-samples can be written and deleted; writing was undone")


def _newest(connection: sa.Connection) -> list[int]:
    newest = images_joined([t.images.c.blSampleImageId]).order_by(t.images.c.blSampleImageId.desc()).limit(_NEWEST)
    return list(connection.scalars(newest))
