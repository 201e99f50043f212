"""What the database's dictionary says about names and accounts, and which grant is missing where it refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa

from ...storage.engines import is_gone

_ACCOUNT = {"oracle": "SELECT USER FROM DUAL", "postgresql": "SELECT current_user"}

_NAMES = {
    "oracle": """
        SELECT 'table', owner, table_name, NULL, NULL FROM all_tables WHERE table_name = :name
        UNION ALL SELECT 'view', owner, view_name, NULL, NULL FROM all_views WHERE view_name = :name
        UNION ALL SELECT 'synonym', owner, synonym_name, table_owner, table_name FROM all_synonyms
            WHERE synonym_name = :name""",
    "postgresql": """
        SELECT CASE WHEN table_type = 'VIEW' THEN 'view' ELSE 'table' END, table_schema, table_name,
            NULL, NULL FROM information_schema.tables WHERE upper(table_name) = :name""",
}
"""Database → SELECT of kind, owner and name of what an account sees under a name, and of what a synonym stands for."""

_REFUSALS = re.compile("ORA-(00942|01031|41900|02289)|permission denied")
"""Oracle says "does not exist" also of what an account may not see."""


@dataclass(frozen=True, slots=True)
class Known:
    """A table, view or synonym that an account sees.

    Attributes
    ----------
    owner
        Schema it is in; PUBLIC for a synonym of all accounts.
    target
        Schema and name of what it stands for, which is itself unless it is a synonym.
    words
        What it is, if it is no table.
    """

    owner: str
    target: str
    words: str


def account(connection: sa.Connection) -> str:
    """Return the account's name in the database, or an empty text if it has no accounts."""
    statement = _ACCOUNT.get(connection.dialect.name)
    return str(connection.exec_driver_sql(statement).scalar()) if statement else ""


def find(connection: sa.Connection, table: sa.Table) -> list[Known]:
    """Return everything under a table's name that this account sees, in whatever schema; nothing if it cannot tell."""
    statement = _NAMES.get(connection.dialect.name)
    if statement is None:
        return []
    try:
        rows = connection.execute(sa.text(statement), {"name": table.name.upper()}).all()
    except sa.exc.DBAPIError as error:
        if is_gone(error):
            raise
        connection.rollback()
        return []
    return [_known(*row) for row in rows]


def _known(kind: str, owner: str, name: str, other_owner: str | None, other_name: str | None) -> Known:
    target = f"{other_owner}.{other_name}" if other_name else f"{owner}.{name}"
    return Known(owner, target, {"view": ", a view", "synonym": f", a synonym for {target}"}.get(kind.strip(), ""))


def is_refusal(reason: str) -> bool:
    """Return whether a message means that a grant may be missing."""
    return _REFUSALS.search(reason) is not None


def grant(reason: str, privilege: str, item: sa.Table | sa.Sequence, who: str, connection: sa.Connection) -> list[str]:
    """Return the statements that let an account do what was refused with this message; none if no grant would help."""
    if not is_refusal(reason):
        return []
    name = _full_name(connection, item)
    if connection.dialect.name == "oracle":
        return [f"GRANT {privilege} ON {name.upper()} TO {who};"]
    usage = [f"GRANT USAGE ON SCHEMA {item.schema} TO {who};"] if "permission denied for schema" in reason else []
    if isinstance(item, sa.Sequence):
        return [*usage, f"GRANT USAGE ON SEQUENCE {name} TO {who};"]
    return [*usage, f"GRANT {privilege} ON {name} TO {who};"]


def admission(reason: str, who: str) -> list[str]:
    """Return the statements that let an account connect, if the database refused it with this message."""
    statements = {
        "ORA-01045": f"GRANT CREATE SESSION TO {who};",
        "ORA-28000": f"ALTER USER {who} ACCOUNT UNLOCK;",
        "ORA-28001": f"ALTER USER {who} IDENTIFIED BY new_password;",
    }
    return [statement for sign, statement in statements.items() if sign in reason]


def _full_name(connection: sa.Connection, item: sa.Table | sa.Sequence) -> str:
    """Return the name with its schema, which the dictionary may know if none is configured."""
    if item.schema:
        return f"{item.schema}.{item.name}"
    targets = {one.target for one in find(connection, item)} if isinstance(item, sa.Table) else set()
    return targets.pop() if len(targets) == 1 else item.name
