"""Write the migration that brings the ledger from its newest migration to ledger/tables.py.

    python scripts/dev/make_migration.py "What changes"

Read what it wrote before you commit it: SQLite, PostgreSQL and old data must all survive it.
"""

import sys
from pathlib import Path

import alembic.command
import alembic.config
import sqlalchemy as sa

FOLDER = Path(__file__).parents[2] / "server" / "xtalgrid_server" / "ledger" / "migrations"


def main(message: str) -> None:
    """Write the next migration's file."""
    settings = alembic.config.Config()
    settings.set_main_option("script_location", str(FOLDER))
    number = len(list((FOLDER / "versions").glob("[0-9]*.py"))) + 1
    with sa.create_engine("sqlite://").begin() as connection:
        settings.attributes["connection"] = connection
        alembic.command.upgrade(settings, "head")
        alembic.command.revision(settings, message, autogenerate=True, rev_id=f"{number:04d}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or sys.exit(__doc__))
