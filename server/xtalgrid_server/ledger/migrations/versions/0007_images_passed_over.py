"""Images passed over, such as those in UV light"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "passed_over",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("source", sa.String(40), nullable=False),
        sa.Column("inspect_id", sa.BigInteger, nullable=False),
        sa.Column("image_name", sa.String(255), nullable=False),
        sa.Column("reason", sa.String(60), nullable=False),
        sa.Column("seen_at", sa.DateTime, nullable=False),
        sa.UniqueConstraint("source", "inspect_id", "image_name", name="uq_passed_over_source"),
    )
