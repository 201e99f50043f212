"""docs/reference/ledger.md: the ledger's tables, from SQLAlchemy's metadata and the docstrings in ledger/tables.py."""

from __future__ import annotations

import inspect

import sqlalchemy as sa

from xtalgrid_server.ledger import tables

from .text import docs_of_assignments, plain, table

HEAD = f"""# {plain(tables.__doc__ or "").replace(". ", chr(10) * 2, 1)}

Types have their SQL names; on SQLite a BIGINT key is an INTEGER. The layout changes by Alembic's migrations, which run
when a newer xtalgrid opens the ledger. Read it as you like; write nothing.
"""


def documented() -> dict[str, str]:
    """Return what each table holds, by its name; empty if nothing says so."""
    docs = docs_of_assignments(inspect.getsource(tables))
    return {name: docs.get(name, "") for name in tables.metadata.tables}


def page() -> str:
    """Write the page."""
    parts = [HEAD.strip()]
    for name, said in documented().items():
        parts += [f"## {name}", said, _columns(tables.metadata.tables[name])]
        parts += _keys(tables.metadata.tables[name])
    return "\n\n".join(parts) + "\n"


def _columns(of: sa.Table) -> str:
    rows = []
    for column in of.columns:
        kind = (
            str(column.type) + ("" if column.nullable else " NOT NULL") + (" PRIMARY KEY" if column.primary_key else "")
        )
        to = [f"→ [{key.column.table.name}](#{key.column.table.name}).{key.column.name}" for key in column.foreign_keys]
        rows.append((f"`{column.name}`", kind, "; ".join(filter(None, [*to, column.doc or ""]))))
    return table(("column", "type", ""), rows)


def _keys(of: sa.Table) -> list[str]:
    unique = [c for c in of.constraints if isinstance(c, sa.UniqueConstraint)]
    lines = sorted(f"* unique: {_names(c)}" for c in unique) + sorted(f"* index: {_names(i)}" for i in of.indexes)
    return ["\n".join(lines)] if lines else []


def _names(key: sa.UniqueConstraint | sa.Index) -> str:
    return ", ".join(f"`{column.name}`" for column in key.columns)
