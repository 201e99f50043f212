"""Indexes for new crystals: images by inspection, scores by arrival, people's scores by date"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("ix_images_inspected", "images", ["inspected"])
    op.create_index("ix_scores_at", "scores", ["at"])
    op.create_index("ix_imager_scores_date", "imager_scores", ["date"])
