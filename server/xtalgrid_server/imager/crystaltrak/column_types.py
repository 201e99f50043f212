"""Read the types that a lab's columns really have, where they matter for comparing and converting values.

A statement that returns no rows describes its columns on every database, through synonyms and views too.
"""

from __future__ import annotations

import itertools
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ...storage.engines import is_gone

NEVER: sa.ColumnElement[bool] = sa.literal_column("0") == sa.literal_column("1")
"""A condition that no row meets. For ``sa.false()`` SQLAlchemy may send ``WHERE 0``, which Oracle before 23 refuses."""

_NOT_READ = ("setup_date", "plate_name")

ColumnTypes = dict[str, dict[str, "ColumnType"]]
"""Table that can be read → column → type, by our names; columns of the expected type are left out."""

Tables = Mapping[str, sa.Table]
"""Our name for a table → table."""

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


def read_column_types(connection: sa.Connection, tables: Tables, time_zone: str) -> ColumnTypes:
    """Read the types of these tables' columns, with one statement if all can be read.

    Parameters
    ----------
    time_zone
        The imager's, for columns whose dates have one.

    Returns
    -------
    The types; a table that cannot be read, or lacks a column, is left out.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database cannot be reached.
    """
    zoneinfo.ZoneInfo(time_zone)
    described = _describe(connection, list(tables.values()))
    if described is None:
        each = {key: _describe(connection, [table]) for key, table in tables.items()}
        found = {key: columns for key, columns in each.items() if columns is not None}
    else:
        rest = iter(described)
        found = {key: list(itertools.islice(rest, len(read_columns(table)))) for key, table in tables.items()}
    types: ColumnTypes = {}
    for key, columns in found.items():
        kinds = {
            column.key: _column_type(item, time_zone)
            for column, item in zip(read_columns(tables[key]), columns, strict=True)
        }
        types[key] = {name: kind for name, kind in kinds.items() if kind != EXPECTED}
    return types


def read_columns(table: sa.Table) -> list[sa.Column[Any]]:
    """Return the columns that xtalgrid reads."""
    return [column for column in table.c if column.key not in _NOT_READ]


def _describe(connection: sa.Connection, tables: Sequence[sa.Table]) -> list[Any] | None:
    """Return the descriptions of the tables' columns, one after the other; None if one of them cannot be read."""
    joined: sa.FromClause = tables[0]
    for table in tables[1:]:
        joined = joined.join(table, NEVER)
    columns = [column for table in tables for column in read_columns(table)]
    try:
        with connection.execute(sa.select(*columns).select_from(joined).where(NEVER)) as result:
            return list(result.cursor.description)
    except sa.exc.DBAPIError as error:
        if is_gone(error):
            raise
        connection.rollback()  # PostgreSQL ends the transaction
        return None


def _column_type(description: Any, time_zone: str) -> ColumnType:
    """Make the type from an item of a cursor's ``description`` (PEP 249)."""
    code, display_size, internal_size = description[1], description[2], description[3]
    kind = _POSTGRESQL.get(code) if isinstance(code, int) else _ORACLE.get(getattr(code, "name", ""))
    if kind == "char":
        return ColumnType(padded=int(display_size or internal_size or 0))
    return ColumnType(number=kind == "number", timestamp=kind == "timestamp", zone=time_zone if kind == "zoned" else "")
