"""The ledger's tables. Rows are added and never changed, but for `units.state` and `.attempts`, the moments at which something
was done (`publications.done_at`, `corrections.written_at`, `alerts.sent_at`) and the watermark.

Times are UTC unless their comment says local. JSON is kept as text: the wire format's own bytes, readable by people.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key() -> sa.Column[int]:
    return sa.Column("id", _id, primary_key=True, autoincrement=True)


def _to(column: str, nullable: bool = False) -> sa.Column[int]:
    table = column.split(".")[0]
    return sa.Column(f"{table.rstrip('s')}_id", _id, sa.ForeignKey(column), nullable=nullable, index=True)


images = sa.Table(
    "images",
    metadata,
    _key(),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("inspect_id", sa.BigInteger, nullable=False),
    sa.Column("image_name", sa.String(255), nullable=False),
    sa.Column("barcode", sa.String(30), nullable=False),
    sa.Column("inspection", sa.Integer, nullable=False),
    sa.Column("inspected", sa.DateTime, nullable=False),  # naive local time, as in the imager database
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("col", sa.Integer, nullable=False),
    sa.Column("subwell", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("source", "inspect_id", "image_name"),
    sa.Index("ix_images_barcode", "barcode", "inspection", "row", "col", "subwell"),
    sa.Index("ix_images_inspected", "inspected"),
)

units = sa.Table(
    "units",
    metadata,
    _key(),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    sa.Column("manifest", sa.LargeBinary, nullable=False),
    sa.Column("options_hash", sa.String(64), nullable=False),
    sa.Column("state", sa.String(20), nullable=False, index=True),  # the newest of unit_states, so that none is counted
    sa.Column("attempts", sa.Integer, nullable=False, default=0),  # results refused so far
    sa.Column("made_at", sa.DateTime, nullable=False),
)

unit_states = sa.Table(
    "unit_states",
    metadata,
    _key(),
    _to("units.id"),
    sa.Column("state", sa.String(20), nullable=False),  # planned, sent, returned, failed
    sa.Column("detail", sa.String(500), nullable=False, default=""),
    sa.Column("at", sa.DateTime, nullable=False),
)

unit_images = sa.Table(
    "unit_images",
    metadata,
    sa.Column("unit_id", _id, sa.ForeignKey("units.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("image_id", _id, sa.ForeignKey("images.id"), nullable=False, index=True),
    sa.Column("sha256", sa.String(64), nullable=False),
)

results = sa.Table(
    "results",
    metadata,
    _key(),
    _to("units.id", nullable=True),  # none: a result for a unit that is not ours
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("host", sa.String(500), nullable=False, default=""),
    sa.Column("accepted", sa.SmallInteger, nullable=False),
    sa.Column("reason", sa.String(1000), nullable=False, default=""),
    sa.Column("received_at", sa.DateTime, nullable=False),
)

scores = sa.Table(
    "scores",
    metadata,
    _key(),
    _to("images.id"),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("segmenter", sa.String(64), nullable=False),
    sa.Column("classifier", sa.String(64), nullable=False),
    sa.Column("options_hash", sa.String(64), nullable=False),
    _to("results.id"),
    sa.Column("outcome", sa.String(40), nullable=False),
    sa.Column("probability", sa.Float, nullable=False),
    sa.Column("p_crystal", sa.Float, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),  # wire.Scored or wire.Failed
    sa.Column("worker", sa.String(40), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("image_id", "sha256", "options_hash"),  # the options name the models
    sa.Index("ix_scores_outcome", "outcome", "id"),
    sa.Index("ix_scores_at", "at"),
)

failures = sa.Table(
    "failures",
    metadata,
    _key(),
    _to("images.id", nullable=True),  # none: a file that is no image of the imager database
    sa.Column("file", sa.String(1000), nullable=False),
    sa.Column("step", sa.String(40), nullable=False),
    sa.Column("reason", sa.String(60), nullable=False),
    sa.Column("detail", sa.String(1000), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)

finalizations = sa.Table(
    "finalizations",
    metadata,
    _key(),
    sa.Column("run", sa.String(40), nullable=False, index=True),
    _to("scores.id"),
    sa.Column("inspect_id", sa.BigInteger, nullable=False),
    sa.Column("action", sa.String(20), nullable=False, index=True),  # publish, hold, keep, shadow, none
    sa.Column("csv_row", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)

reviews = sa.Table(
    "reviews",
    metadata,
    _key(),
    _to("scores.id"),
    sa.Column("verdict", sa.String(20), nullable=False),  # approve, reject
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)

publications = sa.Table(
    "publications",
    metadata,
    _key(),
    sa.Column("run", sa.String(40), nullable=False),
    _to("scores.id"),
    sa.Column("inspect_id", sa.BigInteger, nullable=False, index=True),
    sa.Column("code", sa.String(2), nullable=False),
    sa.Column("action", sa.String(20), nullable=False),  # insert, replace, same, keep
    sa.Column("previous", sa.Text, nullable=False, default=""),  # our row as it was before, for --undo
    sa.Column("why", sa.String(500), nullable=False, default=""),
    sa.Column("intended_at", sa.DateTime, nullable=False),
    sa.Column("done_at", sa.DateTime),
    sa.UniqueConstraint("run", "score_id"),
)

undone = sa.Table(
    "undone",
    metadata,
    _key(),
    sa.Column("publication_id", _id, sa.ForeignKey("publications.id"), nullable=False, unique=True),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)

imager_scores = sa.Table(  # the imager's score table as it was seen: people's scores, ours and other programs'
    "imager_scores",
    metadata,
    _key(),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("score_id", sa.BigInteger, nullable=False),  # SCOREID; again when the row was found changed
    sa.Column("inspect_id", sa.BigInteger, nullable=False),
    sa.Column("code", sa.String(2), nullable=False),
    sa.Column("date", sa.DateTime, nullable=False),  # naive local time, as in the imager database
    sa.Column("by", sa.String(30), nullable=False),
    sa.Column("image_name", sa.String(255)),
    sa.Column("seen_at", sa.DateTime, nullable=False),
    sa.Index("ix_imager_scores_source", "source", "inspect_id"),
    sa.Index("ix_imager_scores_score_id", "source", "score_id"),
    sa.Index("ix_imager_scores_date", "date"),
)

corrections = sa.Table(  # people's scores given in the viewer
    "corrections",
    metadata,
    _key(),
    _to("images.id"),
    _to("scores.id", nullable=True),  # the ARTscore the person saw; none: there was none
    sa.Column("outcome", sa.String(40), nullable=False),  # empty: the person's score is taken back
    sa.Column("note", sa.String(500), nullable=False, default=""),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.Column("written_id", sa.BigInteger),  # SCOREID of its row in the imager's score table
    sa.Column("written_at", sa.DateTime),
)

drops = sa.Table(  # what was put into a drop: from the imager database's sample tables or a plate layout; the newest row holds
    "drops",
    metadata,
    _key(),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("barcode", sa.String(30), nullable=False, index=True),
    sa.Column("row", sa.Integer, nullable=False),  # 0 in row, col or subwell: all of them
    sa.Column("col", sa.Integer, nullable=False),
    sa.Column("subwell", sa.Integer, nullable=False),
    sa.Column("project", sa.String(200), nullable=False, default=""),
    sa.Column("sample", sa.String(200), nullable=False, default=""),
    sa.Column("condition", sa.String(1000), nullable=False, default=""),
    sa.Column("origin", sa.String(500), nullable=False),  # "imager database", or the file's name
    sa.Column("at", sa.DateTime, nullable=False),
)

alerts = sa.Table(  # drops that showed their first crystal
    "alerts",
    metadata,
    _key(),
    _to("scores.id"),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("barcode", sa.String(30), nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("col", sa.Integer, nullable=False),
    sa.Column("subwell", sa.Integer, nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.Column("sent_at", sa.DateTime),  # when the plate's e-mail went out
    sa.UniqueConstraint("source", "barcode", "row", "col", "subwell"),  # once for each drop
)

users = sa.Table(  # who may sign in to the viewer; the newest row of a name holds
    "users",
    metadata,
    _key(),
    sa.Column("name", sa.String(30), nullable=False, index=True),
    sa.Column("password", sa.String(200), nullable=False),  # Argon2 hash; empty: removed
    sa.Column("who", sa.String(100), nullable=False),  # who set it
    sa.Column("at", sa.DateTime, nullable=False),
)

visits = sa.Table(  # when a person said that they have seen what is new
    "visits",
    metadata,
    _key(),
    sa.Column("who", sa.String(100), nullable=False, index=True),
    sa.Column("at", sa.DateTime, nullable=False),
)

watermarks = sa.Table(
    "watermarks",
    metadata,
    sa.Column("key", sa.String(100), primary_key=True),  # source and hash of the patterns
    sa.Column("state", sa.Text, nullable=False),  # work.create.Progress
)

switches = sa.Table(
    "switches",
    metadata,
    _key(),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("value", sa.String(40), nullable=False),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)

promotions = sa.Table(
    "promotions",
    metadata,
    _key(),
    sa.Column("action", sa.String(20), nullable=False),  # promote, rollback
    sa.Column("segmenter", sa.String(64), nullable=False),  # in use from then on; both empty: the package's own
    sa.Column("classifier", sa.String(64), nullable=False),
    sa.Column("why", sa.String(500), nullable=False),
    sa.Column("comparison", sa.Text, nullable=False),  # core.comparison.Comparison; empty: none
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)
