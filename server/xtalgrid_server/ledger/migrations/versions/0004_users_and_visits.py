"""Users of the viewer and what they have seen; indexes for its pages"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "users",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=30), nullable=False),
        sa.Column("password", sa.String(length=200), nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index(op.f("ix_users_name"), "users", ["name"])
    op.create_table(
        "visits",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visits")),
    )
    op.create_index(op.f("ix_visits_who"), "visits", ["who"])
    op.drop_index("ix_images_barcode", "images")
    op.create_index("ix_images_barcode", "images", ["barcode", "inspection", "row", "col", "subwell"])
    op.create_index("ix_scores_outcome", "scores", ["outcome", "id"])
    op.create_index(op.f("ix_finalizations_action"), "finalizations", ["action"])
