"""The state of each image's file, so that a change is found; when a failure was mended"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

PLANNED = """
    UPDATE images SET sha256 = COALESCE((
        SELECT u.sha256 FROM unit_images u WHERE u.image_id = images.id ORDER BY u.unit_id DESC LIMIT 1
    ), '')
"""


def upgrade() -> None:
    op.add_column("images", sa.Column("sha256", sa.String(64), nullable=False, server_default=""))
    op.add_column("images", sa.Column("size", sa.BigInteger))
    op.add_column("images", sa.Column("modified", sa.BigInteger))
    op.add_column("images", sa.Column("changed_at", sa.DateTime))
    op.create_index("ix_images_changed_at", "images", ["changed_at"])
    op.add_column("failures", sa.Column("closed_at", sa.DateTime))
    op.execute(PLANNED)
