"""What people want to be told of, and what they were told"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "notification_settings",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_settings")),
    )
    op.create_index(op.f("ix_notification_settings_who"), "notification_settings", ["who"])
    op.create_table(
        "notices",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=60), nullable=False),
        sa.Column("score_id", key, nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("barcode", sa.String(length=30), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("col", sa.Integer(), nullable=False),
        sa.Column("subwell", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("sent_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name=op.f("fk_notices_score_id")),
        sa.UniqueConstraint(
            "who", "channel", "source", "barcode", "row", "col", "subwell", name=op.f("uq_notices_who")
        ),
    )
    op.create_index(op.f("ix_notices_score_id"), "notices", ["score_id"])
    op.create_index(op.f("ix_notices_sent_at"), "notices", ["sent_at"])
    op.create_table(
        "deliveries",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=60), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("problem", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_who", "deliveries", ["who", "channel"])
