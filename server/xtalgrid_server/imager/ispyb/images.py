"""Read the images of imagers' inspections from ISPyB, page by page, and convert their rows one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import sqlalchemy as sa

from ...config import Config
from ...domain.light import Light, light_in
from ...domain.wells import Well
from ...storage.engines import chunks
from . import tables as t
from .paths import to_here
from .plates import COLUMNS, TYPE_OF_CONTAINER, plate_format, well_at

PAGE = 1000
_BYTES_OF_BARCODE, _BYTES_OF_NAME = 30, 200

INSPECTED = sa.func.coalesce(t.inspections.c.blTimeStamp, t.inspections.c.completedTimeStamp)
"""When an inspection began, or ended."""
_ZEROS = datetime(1000, 1, 1)  # noqa: DTZ001  imagers' dates are naive local time
"""MySQL's first date, but for 0000-00-00, which stands for none."""


@dataclass(frozen=True, slots=True)
class IspybInspection:
    """An inspection of a plate in one kind of light, by the name of its type; `at` is naive local time."""

    id: int
    barcode: str
    light: str
    at: datetime


@dataclass(frozen=True, slots=True)
class IspybImage:
    """An image whose row can be used; `file` is its path here."""

    id: int
    path: str
    file: str
    name: str
    barcode: str
    inspection: int
    well: Well


def has_time(at: object) -> bool:
    """Tell whether a row has a time: of MySQL's 0000-00-00, its driver makes a text."""
    return isinstance(at, datetime)


def images_joined(columns: Sequence[Any]) -> sa.Select[Any]:
    """Select columns of images of inspections, with their samples, containers and types."""
    return (
        sa.select(*columns)
        .select_from(t.images)
        .join(t.inspections, t.inspections.c.containerInspectionId == t.images.c.containerInspectionId)
        .outerjoin(t.inspection_types, t.inspection_types.c.inspectionTypeId == t.inspections.c.inspectionTypeId)
        .join(t.samples, t.samples.c.blSampleId == t.images.c.blSampleId)
        .join(t.containers, t.containers.c.containerId == t.inspections.c.containerId)
        .outerjoin(t.types, TYPE_OF_CONTAINER)
    )


def read_page(connection: sa.Connection, config: Config, after: int) -> Sequence[sa.Row[Any]]:
    """Return the rows of the next images after an id."""
    statement = _select(config).where(t.images.c.blSampleImageId > after)
    return connection.execute(statement.order_by(t.images.c.blSampleImageId).limit(PAGE)).all()


def read_again(connection: sa.Connection, config: Config, image_ids: Sequence[int]) -> list[sa.Row[Any]]:
    """Return the rows of these images."""
    return [
        row
        for part in chunks(image_ids)
        for row in connection.execute(_select(config).where(t.images.c.blSampleImageId.in_(part)))
    ]


def _select(config: Config) -> sa.Select[Any]:
    columns = (
        t.images.c.blSampleImageId,
        t.images.c.imageFullPath,
        t.inspections.c.containerInspectionId,
        t.inspection_types.c.name.label("light"),
        t.samples.c.location,
        t.containers.c.containerId,
        t.containers.c.barcode,
        *COLUMNS,
    )
    since = config.imager.ispyb.since
    statement = images_joined(columns)
    taken = sa.func.coalesce(INSPECTED, t.images.c.blTimeStamp)  # as `inspections_of` dates them
    # What has no time may be old or new: it is read, and named as what can't be used.
    has_none = taken.is_(None) | (taken < _ZEROS)
    return statement.where((datetime.fromisoformat(since) <= taken) | has_none) if since else statement


def convert(config: Config, row: Any) -> IspybImage:
    """Convert a row.

    Raises
    ------
    ValueError
        If it can't be used; says why.
    """
    barcode, path = (row.barcode or "").strip(), row.imageFullPath or ""
    if not barcode:
        raise ValueError(f"its container {row.containerId} has no barcode")
    if len(barcode.encode()) > _BYTES_OF_BARCODE or "/" in barcode or barcode in (".", ".."):
        raise ValueError(f"the barcode {barcode!r} is no folder's name of at most {_BYTES_OF_BARCODE} bytes")
    name = PurePosixPath(path).name
    if not path.startswith("/") or name in ("", ".", "..") or "\0" in path:
        raise ValueError(f"imageFullPath is {path!r}, not a path")
    if light_in(row.light or "") not in (None, Light.VISIBLE):
        name = f"{row.light.replace('/', '_')}_{name}"  # by which the light is known
    if len(name.encode()) > _BYTES_OF_NAME:
        raise ValueError(f"an image name has at most {_BYTES_OF_NAME} bytes")
    well = well_at(row.location, plate_format(row, config.imager.ispyb.types))
    file = to_here(path, config.imager.ispyb.paths)
    return IspybImage(row.blSampleImageId, path, file, name, barcode, row.containerInspectionId, well)


def inspections_of(connection: sa.Connection, containers: Iterable[int]) -> Mapping[int, list[IspybInspection]]:
    """Return the inspections with images of these containers, by container, in order of time; none without it.

    MySQL's date of zeros is none.
    """
    at = sa.func.coalesce(INSPECTED, sa.func.min(t.images.c.blTimeStamp)).label("at")
    columns = (
        t.inspections.c.containerInspectionId,
        t.inspections.c.containerId,
        t.containers.c.barcode,
        t.inspection_types.c.name,
        t.inspections.c.blTimeStamp,
        t.inspections.c.completedTimeStamp,
    )
    statement = (
        sa.select(*columns, at)
        .join(t.images, t.images.c.containerInspectionId == t.inspections.c.containerInspectionId)
        .join(t.containers, t.containers.c.containerId == t.inspections.c.containerId)
        .outerjoin(t.inspection_types, t.inspection_types.c.inspectionTypeId == t.inspections.c.inspectionTypeId)
        .group_by(*columns)
        .order_by(at, t.inspections.c.containerInspectionId)
    )
    found: dict[int, list[IspybInspection]] = {}
    for part in chunks(sorted(containers)):
        for row in connection.execute(statement.where(t.inspections.c.containerId.in_(part))):
            if has_time(row.at):
                one = IspybInspection(row.containerInspectionId, (row.barcode or "").strip(), row.name or "", row.at)
                found.setdefault(row.containerId, []).append(one)
    return found
