"""The vendor's tables under a lab's own names; the same on Oracle, PostgreSQL and the embedded SQLite.

Code uses our name for a column (``table.c.scoredby``) whatever the lab calls it. Names are in lower case because
SQLAlchemy does not quote those, so that they match Oracle's upper-case names.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from xtalgrid_core.errors import ImagerError

from ...config.vendor import TABLES


class VendorText(sa.types.TypeDecorator[str]):
    """Text in a VARCHAR2 column of `length` bytes.

    An empty string is written as NULL on every database, as Oracle does by itself. Text that is too long is rejected
    with an `ImagerError` before it is sent: SQLite would accept it, and Oracle's message would not show the text.
    """

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int, column: str) -> None:
        super().__init__(length)
        self.length = length
        self.column = column

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Return the value to write."""
        if not value:
            return None
        size = len(value.encode())
        if size > self.length:
            raise ImagerError(
                f"{self.column} holds {self.length} bytes, but {value[:80]!r} has {size}: "
                "nothing was written; shorten it"
            )
        return value

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Compare the column with text of any length, such as a pattern."""
        return sa.String()


class VendorDate(sa.types.TypeDecorator[datetime]):
    """Naive date in the imager's time zone, in whole seconds like Oracle's DATE."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the value to write."""
        if value is not None and value.tzinfo is not None:
            raise ImagerError(f"{value} has a time zone; the imager database holds naive dates of imager.time_zone")
        return value and value.replace(microsecond=0)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Compare dates unchanged, as they were read."""
        return sa.DateTime()


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
        Name of the sequence for new score ids, on databases that have sequences.
    tables, columns
        The lab's names where they differ from the vendor's: table → name, table → column → name.
    """

    def __init__(
        self,
        owner: str = "",
        sequence: str = "SEQ_JTNG_SCORE_ID",
        tables: Mapping[str, str] | None = None,
        columns: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.metadata = sa.MetaData(schema=owner.lower() or None)
        self._tables, self._columns = tables or {}, columns or {}
        number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite generates INTEGER keys only
        self.inspections = self._table(
            "inspections",
            inspectid=(number, sa.Identity(), {"primary_key": True}),
            barcodeid=(30, {"nullable": False, "index": True}),
            inspectnumber=(sa.Integer(), {"nullable": False}),
            inspectdate=(VendorDate(), {"nullable": False, "index": True}),
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
        self.score_ids = sa.Sequence(sequence.lower(), metadata=self.metadata)
        self.scores = self._table(
            "scores",
            scoreid=(number, self.score_ids, {"primary_key": True}),
            inspectid=(number, {"nullable": False, "index": True}),
            score=(2, {"nullable": False}),
            scoredate=(VendorDate(), {"nullable": False}),
            imagename=(255, {}),
            scoredby=(30, {}),
        )
        self.plate_inspections = self._table(
            "plate_inspections",
            barcodeid=(30, {"primary_key": True}),
            inspectnumber=(sa.Integer(), {"primary_key": True, "autoincrement": False}),
            inspectdate=(VendorDate(), {"nullable": False}),
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
            setup_date=(VendorDate(), {}),
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
            if isinstance(kind, int):
                kind = VendorText(kind, f"{name}.{own.upper()}")
            made.append(sa.Column(own.lower(), kind, *items, key=column, **arguments))
        return sa.Table(name.lower(), self.metadata, *made)
