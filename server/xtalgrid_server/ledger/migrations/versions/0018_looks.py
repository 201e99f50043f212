"""What a second look at crystals told: at the drop's first inspection, and in UV light"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "looks",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("score_id", key, nullable=False),
        sa.Column("earlier_id", key, nullable=True),
        sa.Column("since", sa.DateTime(), nullable=True),
        sa.Column("p_new", sa.Float(), nullable=True),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("uv_image", sa.String(length=255), nullable=False),
        sa.Column("uv", sa.String(length=20), nullable=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_looks")),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name=op.f("fk_looks_score_id")),
        sa.ForeignKeyConstraint(["earlier_id"], ["images.id"], name=op.f("fk_looks_earlier_id")),
        sa.UniqueConstraint("score_id", name=op.f("uq_looks_score_id")),
    )
    op.create_index(op.f("ix_looks_at"), "looks", ["at"])
