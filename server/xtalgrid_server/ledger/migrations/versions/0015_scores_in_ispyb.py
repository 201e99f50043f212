"""ARTscores that were written into ISPyB"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "ispyb_publications",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("publication_id", key, nullable=False),
        sa.Column("schema", sa.String(length=25), nullable=False),
        sa.Column("image", sa.BigInteger(), nullable=True),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("four", sa.String(length=200), nullable=False),
        sa.Column("previous", sa.String(length=200), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("intended_at", sa.DateTime(), nullable=False),
        sa.Column("done_at", sa.DateTime(), nullable=True),
        sa.Column("undone_at", sa.DateTime(), nullable=True),
        sa.Column("undone_by", sa.String(length=100), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ispyb_publications")),
        sa.ForeignKeyConstraint(
            ["publication_id"], ["publications.id"], name=op.f("fk_ispyb_publications_publication_id")
        ),
        sa.UniqueConstraint("publication_id", "schema", name=op.f("uq_ispyb_publications_publication_id")),
    )
    op.create_index(op.f("ix_ispyb_publications_image"), "ispyb_publications", ["image"])
