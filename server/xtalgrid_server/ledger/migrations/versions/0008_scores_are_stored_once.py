"""The key of a score given in the viewer, so that a score sent twice is stored once"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("corrections", sa.Column("key", sa.String(length=64), nullable=True))
    op.create_index("ix_corrections_key", "corrections", ["key"], unique=True)
