"""Find our images in ISPyB: by path, or by barcode, well and time of inspection."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import ImageError

from ...config import Config
from ...config.sections import Plate
from ...domain.images import ImageRow, earlier
from ...domain.light import Light, light_in
from ...storage.engines import chunks
from ..source import image_path
from . import tables as t
from .images import INSPECTED, images_joined
from .paths import to_ispyb
from .plates import COLUMNS, plate_format, well_at

_NEAR = timedelta(hours=1)
"""How far the times of one inspection may differ between two databases; no plate is inspected twice in it."""
_LAST = datetime(9999, 12, 31)  # noqa: DTZ001  imagers' dates are naive local time


def find_images(
    config: Config, connection: sa.Connection, images: Mapping[int, ImageRow]
) -> tuple[dict[int, int], dict[int, str]]:
    """Return the blSampleImageId of each image that is found, and why each other one is not, by the given keys."""
    found, why = find_files(config, connection, images)
    rest = {key: image for key, image in images.items() if key not in found}
    plates = _of_plates(
        connection, {each.barcode for each in rest.values()}, [each.inspected for each in rest.values()]
    )
    for key, image in rest.items():
        try:
            found[key] = _of_drop(image, plates.get(image.barcode, []), config.imager.ispyb.types)
            del why[key]
        except ValueError as error:
            why[key] += f", {error}"
    return found, why


def find_files(
    config: Config, connection: sa.Connection, images: Mapping[int, ImageRow]
) -> tuple[dict[int, int], dict[int, str]]:
    """Return the same by the paths of the images' files alone."""
    found: dict[int, int] = {}
    why: dict[int, str] = {}
    paths = {key: _paths(config, image) for key, image in images.items()}
    ids = _ids_of(connection, sorted({path for each in paths.values() for path in each}))
    for key, image in images.items():
        here = next((ids[path] for path in paths[key] if path in ids), None)
        if here is not None:
            found[key] = here
        else:
            name = paths[key][0] if paths[key] else image.image_name
            why[key] = f"plate {image.barcode} inspection {image.inspection} {image.well}: {name} is not there"
    return found, why


def _paths(config: Config, image: ImageRow) -> list[str]:
    """Return the paths that ISPyB may have for an image's file: under the image root, and where a link there leads."""
    try:
        path = image_path(config, image)
    except ImageError:
        return []
    here = [str(path)]
    if path.is_symlink():
        here.insert(0, os.fspath(path.readlink()))
    paths = config.imager.ispyb.paths
    return list(dict.fromkeys(path for each in here for path in (to_ispyb(each, paths), each)))


def _ids_of(connection: sa.Connection, paths: Sequence[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    table = t.images.c
    for part in chunks(paths):
        chosen = sa.select(table.blSampleImageId, table.imageFullPath).where(table.imageFullPath.in_(part))
        ids.update((row.imageFullPath, row.blSampleImageId) for row in connection.execute(chosen))
    return ids  # which may hold paths in other case too, because the database compares without it


def _of_plates(connection: sa.Connection, barcodes: Iterable[str], times: Sequence[datetime]) -> dict[str, list[Any]]:
    """Return the images of these plates that were inspected about these times, by barcode."""
    plates: dict[str, list[Any]] = defaultdict(list)
    if not times:
        return plates
    columns = (
        t.images.c.blSampleImageId,
        t.containers.c.barcode,
        t.samples.c.location,
        t.inspection_types.c.name.label("light"),
        INSPECTED.label("inspected"),
        *COLUMNS,
    )
    last = max(times)
    until = last + min(_NEAR, _LAST - last)
    statement = images_joined(columns).where(INSPECTED.between(earlier(min(times), _NEAR), until))
    for part in chunks(sorted(barcodes)):
        for row in connection.execute(statement.where(t.containers.c.barcode.in_(part))):
            plates[row.barcode].append(row)
    return plates


def _of_drop(image: ImageRow, rows: Sequence[Any], types: Mapping[str, Plate]) -> int:
    """Return the one visible image of a drop at its inspection.

    Raises
    ------
    ValueError
        If there is none, or several.
    """
    near = [row for row in rows if abs(row.inspected - image.inspected) <= _NEAR and _is_visible(row.light)]
    if not near:
        raise ValueError(f"and the plate has no visible images of {image.inspected:%Y-%m-%d %H:%M}")
    found: list[int] = []
    mistake: ValueError | None = None
    for row in near:
        try:
            if well_at(row.location, plate_format(row, types)) == image.well:
                found.append(row.blSampleImageId)
        except ValueError as error:
            mistake = error
    if not found and mistake is not None:
        raise mistake
    if len(found) != 1:
        raise ValueError(f"and the plate has {len(found)} images of this well of {image.inspected:%Y-%m-%d %H:%M}")
    return found[0]


def _is_visible(name: str | None) -> bool:
    return light_in(name or "") in (None, Light.VISIBLE)
