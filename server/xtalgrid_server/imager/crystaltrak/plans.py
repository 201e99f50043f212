"""Ask a database how it would execute a statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def read_whole(
    connection: sa.Connection, statement: sa.Select[Any], tables: Sequence[sa.Table]
) -> list[sa.Table] | None:
    """Return those of a statement's tables that it would read from end to end; None if the database does not tell.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If this account may not ask.
    """
    words = str(statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    match connection.dialect.name:
        case "oracle":
            connection.execute(_text(f"EXPLAIN PLAN SET STATEMENT_ID = 'xtalgrid' FOR {words}"))
            asked = "SELECT operation, options, object_name FROM plan_table WHERE statement_id = 'xtalgrid'"
            steps = [f"{step[0]} {step[1]} {step[2]}" for step in connection.execute(sa.text(asked))]
            sign = "TABLE ACCESS FULL {}"
        case "postgresql":
            steps = list(connection.scalars(_text(f"EXPLAIN {words}")))
            sign = "Seq Scan on {}"
        case "sqlite":
            steps = [row.detail for row in connection.execute(_text(f"EXPLAIN QUERY PLAN {words}"))]
            sign = "SCAN {}"
        case _:
            steps = []
    # A view or synonym does not appear under its own name, so it is never among them.
    return [table for table in tables if _is_in(sign.format(table.name), steps)] if steps else None


def _is_in(sign: str, steps: Sequence[str]) -> bool:
    return any(f"{sign} ".upper() in f"{step} ".upper() for step in steps)


def _text(words: str) -> sa.TextClause:
    """Return SQL whose colons are not names of parameters."""
    return sa.text(words.replace(":", "\\:"))
