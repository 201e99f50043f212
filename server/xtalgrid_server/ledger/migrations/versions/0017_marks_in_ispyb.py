"""Marks that were written into ISPyB"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "ispyb_marks",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("mark_id", key, nullable=False),
        sa.Column("run", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("sub_sample", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("position2", sa.BigInteger(), nullable=True),
        sa.Column("written", sa.Text(), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("intended_at", sa.DateTime(), nullable=False),
        sa.Column("done_at", sa.DateTime(), nullable=True),
        sa.Column("undone_at", sa.DateTime(), nullable=True),
        sa.Column("undone_by", sa.String(length=100), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ispyb_marks")),
        sa.ForeignKeyConstraint(["mark_id"], ["marks.id"], name=op.f("fk_ispyb_marks_mark_id")),
        sa.UniqueConstraint("mark_id", name=op.f("uq_ispyb_marks_mark_id")),
    )
    op.create_index(op.f("ix_ispyb_marks_run"), "ispyb_marks", ["run"])
