"""Which score an undo undoes, in which session of a browser a score was given, and the code of a lab's own score"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("corrections", sa.Column("code", sa.String(length=2), nullable=True))
    op.add_column("corrections", sa.Column("undoes", key, nullable=True))
    op.add_column("corrections", sa.Column("session", sa.String(length=16), nullable=True))
    for column in ("undoes", "session"):
        op.create_index(op.f(f"ix_corrections_{column}"), "corrections", [column])
