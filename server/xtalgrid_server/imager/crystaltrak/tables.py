"""The vendor's tables under a lab's own names; the same on Oracle, PostgreSQL and the embedded SQLite.

Code uses our name for a column (``table.c.scoredby``) whatever the lab calls it. Names are in lower case because
SQLAlchemy does not quote those, so that they match Oracle's upper-case names.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from xtalgrid_core.errors import ImagerError

from ...config.vendor import TABLES
from .column_types import EXPECTED, ColumnType, ColumnTypes

_CODE_LENGTH = 2


class VendorText(sa.types.TypeDecorator[str]):
    """Text in a VARCHAR2 column of `length` bytes (0: any); `found` says how the lab's column differs.

    An empty string is written as NULL on every database, as Oracle does by itself. Text that is too long is rejected
    with an `ImagerError` before it is sent: SQLite would accept it, and Oracle's message would not show the text.
    The blanks that fill a CHAR column are no part of the text, and a number is read as text.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int, column: str, found: ColumnType = EXPECTED) -> None:
        super().__init__(length)
        self.length = length
        self.column = column
        self.found = found

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the type that the driver sees."""
        return dialect.type_descriptor(sa.Integer() if self.found.number else sa.String(self.length or None))

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> Any:
        """Return the value to write or to compare with."""
        if not value:
            return None
        if self.found.number:
            if not value.isdecimal():
                raise ImagerError(f"{self.column} holds numbers, and {value[:80]!r} is none; nothing was written")
            return int(value)
        size = len(value.encode())
        if self.length and size > self.length:
            raise ImagerError(
                f"{self.column} holds {self.length} bytes, but {value[:80]!r} has {size}: "
                "nothing was written; shorten it"
            )
        return value.ljust(self.found.padded)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return the text without padding, and a number in digits: at least two where it is a code."""
        if isinstance(value, str):
            return value.rstrip(" ")
        if isinstance(value, int | float | Decimal) and value == int(value):
            return str(int(value)).zfill(_CODE_LENGTH if self.length == _CODE_LENGTH else 1)
        return value

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Compare the column with text of any length, such as a pattern."""
        return sa.String() if self.found == EXPECTED else VendorText(0, self.column, self.found)


class VendorDate(sa.types.TypeDecorator[datetime]):
    """Naive date in the imager's time zone, in whole seconds like Oracle's DATE; `found` says how the column differs.

    A text that is no naive date, as SQLite can hold, is returned as it is.
    """

    impl = sa.DateTime
    cache_ok = True

    def __init__(self, found: ColumnType = EXPECTED) -> None:
        super().__init__()
        self.found = found

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the type that the driver sees; SQLite's would end a query at the first text that is no date."""
        return dialect.type_descriptor(sa.String() if dialect.name == "sqlite" else sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Return the value to write."""
        if value is not None and value.tzinfo is not None:
            raise ImagerError(f"{value} has a time zone; the imager database holds naive dates of imager.time_zone")
        return _bound(value and value.replace(microsecond=0), dialect)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Return the date."""
        if dialect.name == "sqlite" and isinstance(value, str):
            with suppress(ValueError):
                date = datetime.fromisoformat(value)
                return value if date.tzinfo else date
        return value

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Compare dates unchanged, as they were read."""
        return _Compared(self.found)


class _Compared(VendorDate):
    """A date to compare a column with. Oracle drops its fraction of a second unless it is sent as TIMESTAMP."""

    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the type that the driver sees."""
        return dialect.type_descriptor(sa.TIMESTAMP()) if self.found.timestamp else super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Return the value to send."""
        return _bound(value, dialect)


class ZonedDate(VendorDate):
    """Naive date in the imager's time zone, in a column whose dates have a zone.

    The database converts them, because Oracle's driver returns them without their zone.
    """

    cache_ok = True

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Select a date as local time."""
        return _Local(column, self.found.zone)

    def bind_expression(self, bindvalue: sa.BindParameter[Any]) -> sa.ColumnElement[Any]:
        """Write or compare local time as a date with the zone."""
        return _Zoned(bindvalue, self.found.zone)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Compare local time."""
        return self


def _bound(value: datetime | None, dialect: sa.Dialect) -> Any:
    """Return a date as the driver takes it: SQLite's in the form in which SQLAlchemy stores dates there."""
    return f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) and dialect.name == "sqlite" else value


class _Local(sa.sql.functions.GenericFunction[datetime]):
    """A date with a zone as local time in another zone."""

    inherit_cache = True
    type = sa.DateTime()

    def __init__(self, date: sa.ColumnElement[Any], zone: str) -> None:
        super().__init__(date, sa.literal_column(f"'{zone}'"))


class _Zoned(_Local):
    """Local time in a zone as a date with that zone."""

    inherit_cache = True


@compiles(_Local)
def _compile_local(element: _Local, compiler: Any, **arguments: Any) -> str:
    date, zone = (compiler.process(clause, **arguments) for clause in element.clauses)
    return f"CAST({date} AT TIME ZONE {zone} AS TIMESTAMP)"


@compiles(_Zoned)
def _compile_zoned(element: _Zoned, compiler: Any, **arguments: Any) -> str:
    date, zone = (compiler.process(clause, **arguments) for clause in element.clauses)
    return f"CAST({date} AS TIMESTAMP) AT TIME ZONE {zone}"


@compiles(_Zoned, "oracle")
def _compile_zoned_on_oracle(element: _Zoned, compiler: Any, **arguments: Any) -> str:
    date, zone = (compiler.process(clause, **arguments) for clause in element.clauses)
    return f"FROM_TZ(CAST({date} AS TIMESTAMP), {zone})"


def found_type(column: sa.ColumnElement[Any]) -> ColumnType:
    """Return how a lab's column differs from the one we expect."""
    found: ColumnType = getattr(column.type, "found", EXPECTED)
    return found


def trimmed(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return a column of texts for comparison with a pattern, without blanks at their end; see `VendorText`."""
    found = found_type(column)
    return column if found.number else sa.func.rtrim(column, type_=sa.String())


def is_name(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column of texts holds a name, whatever its case and the blanks behind it."""
    text = trimmed(column)
    found = found_type(column)
    return (
        text == name if found.number else sa.or_(text == name, sa.func.upper(text, type_=sa.String()) == name.upper())
    )


def as_it_stands(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Select a text with its blanks, which belong to it where the database compares it, unless they fill a column."""
    found = found_type(column)
    return (sa.type_coerce(column, sa.String()) if found == EXPECTED else sa.null()).label("as_it_stands")


class _IsNoText(FunctionElement[bool]):
    """Whether a column of texts holds none; SQLite's columns hold any type."""

    inherit_cache = True
    type = sa.Boolean()

    def self_group(self, against: Any = None) -> _IsNoText:
        """Stay a condition: for Oracle before 23, SQLAlchemy would compare it with 1, as a column of booleans."""
        return self


@compiles(_IsNoText)
def _is_null(element: _IsNoText, compiler: sa.sql.compiler.SQLCompiler, **options: Any) -> str:
    return f"{compiler.process(element.clauses, **options)} IS NULL"


@compiles(_IsNoText, "sqlite")
def _is_of_another_type(element: _IsNoText, compiler: sa.sql.compiler.SQLCompiler, **options: Any) -> str:
    return f"typeof({compiler.process(element.clauses, **options)}) <> 'text'"


def is_no_text(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a column of texts holds none, so that LIKE matches nothing, not even ``%``."""
    return _IsNoText(column)


def named(*columns: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
    """Label columns so that selected rows have them under our names, even where the lab's differ."""
    return [
        column.label(column.key) if isinstance(column, sa.ColumnClause) and column.key != column.name else column
        for column in columns
    ]


class CrystalTrak:
    """The tables under one schema owner.

    Parameters
    ----------
    owner
        Schema owner; empty for none.
    sequence
        Name of the sequence for new score ids, on databases that have sequences; empty: the database fills SCOREID.
    tables, columns
        The lab's names where they differ from the vendor's: table → name, table → column → name.
    types
        Types of the lab's columns where they differ.
    """

    def __init__(
        self,
        owner: str = "",
        sequence: str = "SEQ_JTNG_SCORE_ID",
        tables: Mapping[str, str] | None = None,
        columns: Mapping[str, Mapping[str, str]] | None = None,
        types: ColumnTypes | None = None,
    ) -> None:
        self.metadata = sa.MetaData(schema=owner.lower() or None)
        self._tables, self._columns, self._types = tables or {}, columns or {}, types or {}
        number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite generates INTEGER keys only
        self.inspections = self._table(
            "inspections",
            inspectid=(number, sa.Identity(), {"primary_key": True}),
            barcodeid=(30, {"nullable": False, "index": True}),
            inspectnumber=(sa.Integer(), {"nullable": False}),
            inspectdate=(VendorDate, {"nullable": False, "index": True}),
            col=(sa.Integer(), {"nullable": False}),
            i_row=(sa.Integer(), {"nullable": False}),
            subwell=(sa.Integer(), {"nullable": False}),
        )
        self.images = self._table(
            "images",
            inspectid=(number, {"nullable": False, "index": True}),
            imagename=(255, {"nullable": False}),
        )
        self.images.append_constraint(sa.UniqueConstraint(self.images.c.inspectid, self.images.c.imagename))
        self.score_ids = sa.Sequence(sequence.lower(), metadata=self.metadata) if sequence else None
        self.scores = self._table(
            "scores",
            scoreid=(number, sa.Identity() if self.score_ids is None else self.score_ids, {"primary_key": True}),
            inspectid=(number, {"nullable": False, "index": True}),
            score=(2, {"nullable": False}),
            scoredate=(VendorDate, {"nullable": False}),
            imagename=(255, {}),
            scoredby=(30, {}),
        )
        self.plate_inspections = self._table(
            "plate_inspections",
            barcodeid=(30, {"primary_key": True}),
            inspectnumber=(sa.Integer(), {"primary_key": True, "autoincrement": False}),
            inspectdate=(VendorDate, {"nullable": False}),
            dropscorecount=(sa.Integer(), {"nullable": False, "default": 0}),
            dropviewcount=(sa.Integer(), {"nullable": False, "default": 0}),
        )
        self.needed = (self.inspections, self.images, self.scores, self.plate_inspections)
        """Tables of every CrystalTrak; a lab may lack the others."""
        self.autoscores = self._table(
            "autoscores",
            inspectid=(number, {"primary_key": True, "autoincrement": False}),
            xtal_rank_score=(sa.Float(), {}),
            xtal_clear_score=(sa.Float(), {}),
            xtal_good_bad_score=(sa.Integer(), {}),
        )
        self.plates = self._table(
            "plates",
            plate_id=(number, {"primary_key": True, "autoincrement": False}),
            barcode=(30, {"index": True}),
            project_id=(number, {}),
            setup_date=(VendorDate, {}),
            plate_name=(255, {}),
        )
        self.plate_drops = self._table(
            "plate_drops",
            fk_plate_id=(number, {"nullable": False, "index": True}),
            fk_sample_id=(number, {}),
        )
        self.samples = self._table(
            "samples",
            sample_id=(number, {"primary_key": True, "autoincrement": False}),
            sample_name=(255, {}),
        )
        self.projects = self._table(
            "projects",
            project_id=(number, {"primary_key": True, "autoincrement": False}),
            name=(255, {}),
        )

    def by_key(self, *keys: str) -> dict[str, sa.Table]:
        """Return tables by our names."""
        return {key: getattr(self, key) for key in keys}

    def _table(self, key: str, **columns: tuple[Any, ...]) -> sa.Table:
        """Build a table.

        Each column is a tuple: its type (a number stands for text of that many bytes), further schema items, and a dict
        of arguments of `sqlalchemy.Column`.
        """
        vendors_name, vendors_columns = TABLES[key]
        assert tuple(columns) == tuple(name.lower() for name in vendors_columns), key
        name = self._tables.get(key, vendors_name)
        made = []
        for column, (kind, *items, arguments) in columns.items():
            own = self._columns.get(key, {}).get(column, column)
            found = self._types.get(key, {}).get(column, EXPECTED)
            if isinstance(kind, int):
                kind = VendorText(kind, f"{name}.{own.upper()}", found)
            elif kind is VendorDate:
                kind = ZonedDate(found) if found.zone else VendorDate(found)
            made.append(sa.Column(own.lower(), kind, *items, key=column, **arguments))
        return sa.Table(name.lower(), self.metadata, *made)
