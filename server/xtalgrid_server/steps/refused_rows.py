"""Write rows into another program's table so that one that it refuses, by a foreign key or a rule, costs no other.

Nor does one that somebody changed between reading and writing it; both are tried again by later runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa

from xtalgrid_core.errors import ImagerError

from ..imager.crystaltrak.writer import ChangedRow
from ..storage.engines import chunks, is_refused_row, short_reason

Row = TypeVar("Row")

TRY_AGAIN = timedelta(days=14)
"""How long a row is tried that a table refuses."""

_BATCH = 500


def write_rows(rows: Sequence[Row], write: Callable[[Sequence[Row]], None], most: int | None) -> list[tuple[Row, str]]:
    """Write rows in batches, in halves where a row is refused, and return those that are, with the database's reason.

    Parameters
    ----------
    write
        Writes a batch in one transaction.
    most
        How many rows may be refused; if there are more, it is not the rows' fault. None: all of them.

    Raises
    ------
    ImagerError
        If `write` raises it for another reason, or more rows are refused.
    """
    refused: list[tuple[Row, str]] = []
    todo = list(reversed(list(chunks(rows, _BATCH))))
    while todo:
        batch = todo.pop()
        try:
            write(batch)
        except ImagerError as error:
            cause, is_changed = error.__cause__, isinstance(error, ChangedRow)
            is_refused = isinstance(cause, sa.exc.DBAPIError) and is_refused_row(cause)
            if not (is_changed or is_refused) or len(refused) == most:
                raise
            if len(batch) > 1:
                half = len(batch) // 2
                todo += [batch[half:], batch[:half]]
            else:
                why = short_reason(cause) if isinstance(cause, sa.exc.DBAPIError) else str(error)
                refused.append((batch[0], why))
    return refused
