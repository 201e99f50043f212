"""Marks in images, and notes and favourites of drops"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

    def entries(table: str, *columns: sa.schema.SchemaItem, indexed: str) -> None:
        op.create_table(
            table,
            sa.Column("id", key, autoincrement=True, nullable=False),
            *columns,
            sa.Column("who", sa.String(length=100), nullable=False),
            sa.Column("at", sa.DateTime(), nullable=False),
            sa.Column("key", sa.String(length=64), nullable=False),
            sa.Column("undoes", key, nullable=True),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
            sa.UniqueConstraint("key", name=op.f(f"uq_{table}_key")),
        )
        op.create_index(op.f(f"ix_{table}_{indexed}"), table, [indexed])

    entries(
        "marks",
        sa.Column("image_id", key, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("x", sa.Float(), nullable=True),
        sa.Column("y", sa.Float(), nullable=True),
        sa.Column("width", sa.Float(), nullable=True),
        sa.Column("height", sa.Float(), nullable=True),
        sa.Column("polygon", sa.Text(), nullable=False),
        sa.Column("word", sa.String(length=200), nullable=False),
        sa.Column("meaning", sa.String(length=40), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("given_by", sa.String(length=10), nullable=False),
        sa.Column("origin", sa.String(length=500), nullable=False),
        sa.Column("origin_id", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_marks_image_id")),
        indexed="image_id",
    )
    entries(
        "drop_notes",
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("barcode", sa.String(length=30), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("col", sa.Integer(), nullable=False),
        sa.Column("subwell", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("text", sa.String(length=1000), nullable=False),
        indexed="barcode",
    )
