"""Scores of people and programs that were imported from files of other programs"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "imported_scores",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("image_id", key, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("at_is", sa.String(length=10), nullable=False),
        sa.Column("word", sa.String(length=200), nullable=False),
        sa.Column("meaning", sa.String(length=40), nullable=False),
        sa.Column("numbers", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=500), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("imported_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imported_scores")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_imported_scores_image_id")),
        sa.UniqueConstraint("key", name=op.f("uq_imported_scores_key")),
    )
    op.create_index(op.f("ix_imported_scores_image_id"), "imported_scores", ["image_id"])
    op.create_index("ix_images_image_name", "images", ["image_name"])
