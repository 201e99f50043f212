"""Where a sample is on its plate: ISPyB counts drops from 1 along the rows, and a container type says how many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.lines import toml_text

from ...config.sections import Plate
from ...domain.wells import FORMATS, PlateFormat, Well
from . import tables as t

COLUMNS = (
    t.types.c.name.label("type"),
    sa.func.coalesce(t.types.c.capacity, t.containers.c.capacity).label("capacity"),
    t.types.c.wellPerRow,
    t.types.c.dropPerWellX,
    t.types.c.dropPerWellY,
    t.types.c.wellDrop,
    t.containers.c.containerType,
)
"""What `plate_format` needs of a container, joined by `TYPE_OF_CONTAINER`."""

TYPE_OF_CONTAINER = sa.or_(
    t.types.c.containerTypeId == t.containers.c.containerTypeId,
    sa.and_(t.containers.c.containerTypeId.is_(None), t.types.c.name == t.containers.c.containerType),
)


def plate_format(row: Any, known: Mapping[str, Plate]) -> PlateFormat:
    """Return the format of a container's plate.

    A well's cells are X × Y, less one where `wellDrop` says that one of them is the reservoir, as SynchWeb counts.

    Parameters
    ----------
    row
        With `COLUMNS`.
    known
        Formats by name of the type, which come first: what a type says may be wrong, such as the 16 rows of "SWISSCI 2
        Drop".

    Raises
    ------
    ValueError
        If it doesn't say enough, or gives no usual number of rows.
    """
    name = row.type or row.containerType or ""
    if name in known:
        return PlateFormat(known[name].rows, known[name].columns, known[name].drops)
    numbers = row.capacity, row.wellPerRow, row.dropPerWellX, row.dropPerWellY
    if None in numbers or min(numbers) < 1:
        raise ValueError(f"container type {name!r} does not say how many wells and drops it has; {_remedy(name)}")
    capacity, columns, x, y = map(int, numbers)
    drops = x * y - (row.wellDrop is not None and row.wellDrop >= 0)
    rows, rest = divmod(capacity, columns * drops) if drops else (0, 0)
    if rest or (rows, columns) not in {plate[:2] for plate in FORMATS}:
        raise ValueError(
            f"container type {name!r} has {capacity} drops in {columns} columns with {drops} a well, which is no usual "
            f"plate; {_remedy(name)}"
        )
    return PlateFormat(rows, columns, drops)


def well_at(location: str | None, plate: PlateFormat) -> Well:
    """Return the well of a location.

    Raises
    ------
    ValueError
        If it is no number from 1, or not on the plate.
    """
    text = (location or "").strip()
    number = int(text) - 1 if text.isascii() and text.isdecimal() and len(text) < 8 else -1
    well, drop = divmod(number, plate.drops)
    if not 0 <= number < plate.wells * plate.drops:
        raise ValueError(f"location {location!r} is not on the plate, which has {plate} with {plate.drops} drops each")
    return Well(well // plate.columns + 1, well % plate.columns + 1, drop + 1)


def _remedy(name: str) -> str:
    return f"give its format: [imager.ispyb.types] {toml_text(name)} = {{ rows = 8, columns = 12, drops = 2 }}"
