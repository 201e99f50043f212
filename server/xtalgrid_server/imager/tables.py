"""The vendor's tables, as CrystalTrak has them; the same on Oracle, PostgreSQL and the embedded SQLite.

Source: what published client programs select, insert and update. Names in lower case are not quoted by SQLAlchemy, so
that Oracle finds its upper-case ones.
"""

from __future__ import annotations

import sqlalchemy as sa


class CrystalTrak:
    """The tables under one schema owner.

    Parameters
    ----------
    owner
        Schema owner; empty for none.
    sequence
        Name of the sequence that new score ids come from, where the database has sequences.
    """

    def __init__(self, owner: str = "", sequence: str = "SEQ_JTNG_SCORE_ID") -> None:
        self.metadata = sa.MetaData(schema=owner.lower() or None)
        number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up INTEGER keys only
        self.inspections = sa.Table(
            "i_inspections",
            self.metadata,
            sa.Column("inspectid", number, primary_key=True),
            sa.Column("barcodeid", sa.String(30), nullable=False, index=True),
            sa.Column("inspectnumber", sa.Integer, nullable=False),
            sa.Column("inspectdate", sa.DateTime, nullable=False, index=True),
            sa.Column("col", sa.Integer, nullable=False),
            sa.Column("i_row", sa.Integer, nullable=False),
            sa.Column("subwell", sa.Integer, nullable=False),
        )
        self.images = sa.Table(
            "i_images",
            self.metadata,
            sa.Column("inspectid", number, nullable=False, index=True),
            sa.Column("imagename", sa.String(255), nullable=False),
            sa.UniqueConstraint("inspectid", "imagename"),
        )
        self.score_ids = sa.Sequence(sequence.lower(), metadata=self.metadata)
        self.scores = sa.Table(
            "i_scores",
            self.metadata,
            sa.Column("scoreid", number, self.score_ids, primary_key=True),
            sa.Column("inspectid", number, nullable=False, index=True),
            sa.Column("score", sa.String(2), nullable=False),
            sa.Column("scoredate", sa.DateTime, nullable=False),
            sa.Column("imagename", sa.String(255)),
            sa.Column("scoredby", sa.String(30)),
        )
        self.plate_inspections = sa.Table(
            "i_plate_inspections",
            self.metadata,
            sa.Column("barcodeid", sa.String(30), primary_key=True),
            sa.Column("inspectnumber", sa.Integer, primary_key=True),
            sa.Column("inspectdate", sa.DateTime, nullable=False),
            sa.Column("dropscorecount", sa.Integer, nullable=False, default=0),
            sa.Column("dropviewcount", sa.Integer, nullable=False, default=0),
        )
