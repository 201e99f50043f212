"""Read the types that a lab's columns really have, where they matter for comparing and converting values.

A statement that returns no rows describes its columns on every database, through synonyms and views too.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

ColumnTypes = dict[str, dict[str, "ColumnType"]]
"""Table → column → type, by our names; columns of the expected type are left out."""

_POSTGRESQL = {1042: "char", 20: "number", 21: "number", 23: "number", 1700: "number", 1114: "timestamp", 1184: "zoned"}
_ORACLE = {
    "DB_TYPE_CHAR": "char",
    "DB_TYPE_NCHAR": "char",
    "DB_TYPE_NUMBER": "number",
    "DB_TYPE_TIMESTAMP": "timestamp",
    "DB_TYPE_TIMESTAMP_TZ": "zoned",
    "DB_TYPE_TIMESTAMP_LTZ": "zoned",
}


@dataclass(frozen=True, slots=True)
class ColumnType:
    """How a column differs from the one we expect.

    Attributes
    ----------
    padded
        Length of a CHAR column, whose values are padded with blanks; 0 for other columns.
    number
        Whether it holds numbers; matters for texts only.
    timestamp
        Whether its dates have fractions of a second.
    zone
        The imager's time zone if the column's dates have a zone of their own; empty otherwise.
    """

    padded: int = 0
    number: bool = False
    timestamp: bool = False
    zone: str = ""


EXPECTED = ColumnType()


def read_column_types(engine: sa.Engine, tables: Iterable[tuple[str, sa.Table]], time_zone: str) -> ColumnTypes:
    """Read the types of these tables' columns; a table that cannot be read is left out.

    Parameters
    ----------
    tables
        (our name, table).
    time_zone
        The imager's, for columns whose dates have one.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database cannot be reached.
    """
    zoneinfo.ZoneInfo(time_zone)
    types: ColumnTypes = {}
    with engine.connect() as connection:
        for key, table in tables:
            try:
                with connection.execute(sa.select(*table.c).where(sa.false())) as result:
                    description = list(result.cursor.description)
            except sa.exc.DBAPIError as error:
                if error.connection_invalidated:
                    raise
                connection.rollback()  # PostgreSQL ends the transaction
                continue
            columns = zip(table.c.keys(), description, strict=True)
            found = {name: _column_type(item, time_zone) for name, item in columns}
            types[key] = {name: kind for name, kind in found.items() if kind != EXPECTED}
    return types


def _column_type(description: Any, time_zone: str) -> ColumnType:
    """Make the type from an item of a cursor's ``description`` (PEP 249)."""
    code, display_size, internal_size = description[1], description[2], description[3]
    kind = _POSTGRESQL.get(code) if isinstance(code, int) else _ORACLE.get(getattr(code, "name", ""))
    if kind == "char":
        return ColumnType(padded=int(display_size or internal_size or 0))
    return ColumnType(number=kind == "number", timestamp=kind == "timestamp", zone=time_zone if kind == "zoned" else "")
