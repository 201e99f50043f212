"""People's scores, drops' contents, alerts, undone publications; the state of a unit in its row"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NEWEST = """
    UPDATE units SET state = (
        SELECT s.state FROM unit_states s WHERE s.unit_id = units.id ORDER BY s.id DESC LIMIT 1
    )
"""


def upgrade() -> None:
    op.create_table(
        "drops",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("barcode", sa.String(length=30), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("col", sa.Integer(), nullable=False),
        sa.Column("subwell", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("sample", sa.String(length=200), nullable=False),
        sa.Column("condition", sa.String(length=1000), nullable=False),
        sa.Column("origin", sa.String(length=500), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drops")),
    )
    with op.batch_alter_table("drops", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_drops_barcode"), ["barcode"], unique=False)

    op.create_table(
        "imager_scores",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("score_id", sa.BigInteger(), nullable=False),
        sa.Column("inspect_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=2), nullable=False),
        sa.Column("date", sa.DateTime(), nullable=False),
        sa.Column("by", sa.String(length=30), nullable=False),
        sa.Column("image_name", sa.String(length=255), nullable=True),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imager_scores")),
    )
    with op.batch_alter_table("imager_scores", schema=None) as batch_op:
        batch_op.create_index("ix_imager_scores_score_id", ["source", "score_id"], unique=False)
        batch_op.create_index("ix_imager_scores_source", ["source", "inspect_id"], unique=False)

    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("score_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("barcode", sa.String(length=30), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("col", sa.Integer(), nullable=False),
        sa.Column("subwell", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("sent_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name=op.f("fk_alerts_score_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("source", "barcode", "row", "col", "subwell", name=op.f("uq_alerts_source")),
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alerts_score_id"), ["score_id"], unique=False)

    op.create_table(
        "corrections",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("image_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("score_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("written_id", sa.BigInteger(), nullable=True),
        sa.Column("written_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_corrections_image_id")),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name=op.f("fk_corrections_score_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
    )
    with op.batch_alter_table("corrections", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_corrections_image_id"), ["image_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_corrections_score_id"), ["score_id"], unique=False)

    op.create_table(
        "undone",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("publication_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("who", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["publication_id"], ["publications.id"], name=op.f("fk_undone_publication_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_undone")),
        sa.UniqueConstraint("publication_id", name=op.f("uq_undone_publication_id")),
    )
    with op.batch_alter_table("units", schema=None) as batch_op:
        batch_op.add_column(sa.Column("state", sa.String(length=20), nullable=False, server_default="planned"))
        batch_op.create_index(batch_op.f("ix_units_state"), ["state"], unique=False)
    op.execute(NEWEST)
