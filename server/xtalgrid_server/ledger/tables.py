"""The ledger's tables. Rows are added and never changed.

The exceptions are `units.state` and `units.attempts`, the state of an image's file, the times at which something was
done (`publications.done_at`, `corrections.written_at`, `alerts.sent_at`, `notices.sent_at`, `failures.closed_at`,
`sessions.ended_at`, `tokens.used_at`, `tokens.removed_at`), links that are used, publications that are not done yet or
were taken back in ISPyB, what became of a mark there, why an image is passed over, sessions, links and attempts to sign
in that are over, a look at that there is more for, and the watermark.

Times are UTC unless their column says local. JSON is stored as text: the bytes of the wire format, readable by people.
"""

from __future__ import annotations

from typing import Any

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


def _to(column: str, nullable: bool = False, doc: str | None = None) -> sa.Column[int]:
    table = column.split(".")[0]
    return sa.Column(f"{table.rstrip('s')}_id", _id, sa.ForeignKey(column), nullable=nullable, index=True, doc=doc)


images = sa.Table(
    "images",
    metadata,
    _key(),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("inspect_id", sa.BigInteger, nullable=False, doc="INSPECTID in the imager database"),
    sa.Column("image_name", sa.String(255), nullable=False, doc="file name, without folder"),
    sa.Column("barcode", sa.String(30), nullable=False),
    sa.Column("inspection", sa.Integer, nullable=False),
    sa.Column("inspected", sa.DateTime, nullable=False, doc="naive local time, as in the imager database"),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("col", sa.Integer, nullable=False),
    sa.Column("subwell", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.DateTime, nullable=False),
    sa.Column(
        "sha256", sa.String(64), nullable=False, server_default="", doc="of its file when last read; empty: never"
    ),
    sa.Column("size", sa.BigInteger, doc="of its file when last read, in bytes; none: not known"),
    sa.Column(
        "modified", sa.BigInteger, doc="time of its file when last read, in ns since 1970; 0: too young to trust"
    ),
    sa.Column("changed_at", sa.DateTime, doc="when its file was last found with another content, or its row corrected"),
    sa.UniqueConstraint("source", "inspect_id", "image_name"),
    sa.Index("ix_images_barcode", "barcode", "inspection", "row", "col", "subwell"),
    sa.Index("ix_images_inspected", "inspected"),
    sa.Index("ix_images_image_name", "image_name"),
    sa.Index("ix_images_changed_at", "changed_at"),
)
"""Every image that was planned, or failed before that: which image of which drop, by the imager database's names."""

units = sa.Table(
    "units",
    metadata,
    _key(),
    sa.Column("name", sa.String(100), nullable=False, unique=True),
    sa.Column("manifest", sa.LargeBinary, nullable=False, doc="wire.Manifest"),
    sa.Column("options_hash", sa.String(64), nullable=False),
    sa.Column(
        "state", sa.String(20), nullable=False, index=True, doc="the newest of unit_states, so that none is counted"
    ),
    sa.Column("attempts", sa.Integer, nullable=False, default=0, doc="results refused so far"),
    sa.Column("made_at", sa.DateTime, nullable=False),
)
"""Work units: what they ask for, and where they are."""

unit_states = sa.Table(
    "unit_states",
    metadata,
    _key(),
    _to("units.id"),
    sa.Column("state", sa.String(20), nullable=False, doc="planned, sent, returned, failed"),
    sa.Column("detail", sa.String(500), nullable=False, default=""),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""Every state that a work unit went through."""

unit_images = sa.Table(
    "unit_images",
    metadata,
    sa.Column("unit_id", _id, sa.ForeignKey("units.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, doc="the image's number in the unit, from 0"),
    sa.Column("image_id", _id, sa.ForeignKey("images.id"), nullable=False, index=True),
    sa.Column("sha256", sa.String(64), nullable=False),
)
"""Which images a work unit contains, and the SHA-256 of their files."""

results = sa.Table(
    "results",
    metadata,
    _key(),
    _to("units.id", nullable=True, doc="none: a result for a unit that is not ours"),
    sa.Column("sha256", sa.String(64), nullable=False, index=True, doc="of the result's bytes"),
    sa.Column("host", sa.String(500), nullable=False, default=""),
    sa.Column("accepted", sa.SmallInteger, nullable=False, doc="1, or 0: refused"),
    sa.Column("reason", sa.String(1000), nullable=False, default=""),
    sa.Column("received_at", sa.DateTime, nullable=False),
)
"""Every result that came back, including refused ones."""

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
    sa.Column("probability", sa.Float, nullable=False, doc="of the outcome, 0..1"),
    sa.Column("p_crystal", sa.Float, nullable=False, doc="calibrated probability of a crystal, 0..1"),
    sa.Column("answer", sa.Text, nullable=False, doc="wire.Scored or wire.Failed"),
    sa.Column("worker", sa.String(40), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("image_id", "sha256", "options_hash"),  # the options name the models
    sa.Index("ix_scores_outcome", "outcome", "id"),
    sa.Index("ix_scores_at", "at"),
)
"""Automatic scores and where they come from: one per image, file content and options (which name the models)."""

looks = sa.Table(
    "looks",
    metadata,
    _key(),
    sa.Column("score_id", _id, sa.ForeignKey("scores.id"), nullable=False, unique=True),
    sa.Column("earlier_id", _id, sa.ForeignKey("images.id"), doc="the drop's image at its first inspection; or none"),
    sa.Column("since", sa.DateTime, doc="when that was taken: naive local time, as in the imager database"),
    sa.Column("p_new", sa.Float, doc="probability that the crystals appeared or grew since then, 0..1; none: not said"),
    sa.Column("why", sa.String(200), nullable=False, doc="why it can't be said, or a picture not be read; or empty"),
    sa.Column("uv_image", sa.String(255), nullable=False, doc="name of the inspection's UV image; empty: none"),
    sa.Column("uv", sa.String(20), doc="fluoresces, dark, can't be said; none: there is no UV image"),
    sa.Column("at", sa.DateTime, nullable=False, index=True),
)
"""What a second look at crystals told: at the drop's first inspection, and in UV light."""

failures = sa.Table(
    "failures",
    metadata,
    _key(),
    _to("images.id", nullable=True, doc="none: a file that is no image of the imager database"),
    sa.Column("file", sa.String(1000), nullable=False),
    sa.Column("step", sa.String(40), nullable=False),
    sa.Column("reason", sa.String(60), nullable=False),
    sa.Column("detail", sa.String(1000), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.Column("closed_at", sa.DateTime, doc="when it was mended; none: it is open"),
)
"""Images that could not be read, packed or scored, and why."""

passed_over = sa.Table(
    "passed_over",
    metadata,
    _key(),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("inspect_id", sa.BigInteger, nullable=False, doc="INSPECTID in the imager database"),
    sa.Column("image_name", sa.String(255), nullable=False),
    sa.Column("reason", sa.String(60), nullable=False, doc="uv, other, profile N: its light"),
    sa.Column("seen_at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("source", "inspect_id", "image_name"),
)
"""Images that are not to be scored, such as those in UV light, and why."""

finalizations = sa.Table(
    "finalizations",
    metadata,
    _key(),
    sa.Column("run", sa.String(40), nullable=False, index=True),
    _to("scores.id"),
    sa.Column("inspect_id", sa.BigInteger, nullable=False, doc="INSPECTID in the imager database"),
    sa.Column("action", sa.String(20), nullable=False, index=True, doc="publish, hold, keep, shadow, none"),
    sa.Column("csv_row", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""What the finalizer decided about a score, and the row it wrote into its CSV."""

reviews = sa.Table(
    "reviews",
    metadata,
    _key(),
    _to("scores.id"),
    sa.Column("verdict", sa.String(20), nullable=False, doc="approve, reject"),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""People's verdicts on held scores; the newest verdict on a score counts."""

publications = sa.Table(
    "publications",
    metadata,
    _key(),
    sa.Column("run", sa.String(40), nullable=False),
    _to("scores.id"),
    sa.Column("inspect_id", sa.BigInteger, nullable=False, index=True),
    sa.Column("code", sa.String(2), nullable=False),
    sa.Column("action", sa.String(20), nullable=False, doc="insert, replace, same, keep, elsewhere"),
    sa.Column("previous", sa.Text, nullable=False, default="", doc="our row as it was before, for --undo"),
    sa.Column("why", sa.String(500), nullable=False, default=""),
    sa.Column("intended_at", sa.DateTime, nullable=False),
    sa.Column("done_at", sa.DateTime),
    sa.UniqueConstraint("run", "score_id"),
)
"""What `set_autoscore` wrote into the imager's score table, or left unchanged."""

undone = sa.Table(
    "undone",
    metadata,
    _key(),
    sa.Column("publication_id", _id, sa.ForeignKey("publications.id"), nullable=False, unique=True),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""Publications that `set_autoscore --undo` took back."""

ispyb_publications = sa.Table(
    "ispyb_publications",
    metadata,
    _key(),
    sa.Column("publication_id", _id, sa.ForeignKey("publications.id"), nullable=False),
    sa.Column("schema", sa.String(25), nullable=False, doc="name of ISPyB's auto-score schema"),
    sa.Column("image", sa.BigInteger, index=True, doc="BLSampleImageId; empty: not found"),
    sa.Column("action", sa.String(20), nullable=False, doc="insert, replace, same, missing, without, refused"),
    sa.Column("four", sa.String(200), nullable=False, default="", doc="probabilities by class, as JSON"),
    sa.Column("previous", sa.String(200), nullable=False, default="", doc="those that were there, for --undo"),
    sa.Column("why", sa.String(500), nullable=False, default=""),
    sa.Column("intended_at", sa.DateTime, nullable=False),
    sa.Column("done_at", sa.DateTime),
    sa.Column("undone_at", sa.DateTime),
    sa.Column("undone_by", sa.String(100)),
    sa.UniqueConstraint("publication_id", "schema"),
)
"""What `set_autoscore` wrote into ISPyB.

`missing`: the image is not there; `without`: it has no four numbers; `refused`: ISPyB does not take them.
"""

ispyb_marks = sa.Table(
    "ispyb_marks",
    metadata,
    _key(),
    sa.Column("mark_id", _id, sa.ForeignKey("marks.id"), nullable=False, unique=True),
    sa.Column("run", sa.String(40), nullable=False, index=True, doc="of set_autoscore, for --undo"),
    sa.Column("action", sa.String(20), nullable=False, doc="insert, missing, failed, removed, left"),
    sa.Column("sub_sample", sa.BigInteger, doc="BLSubSampleId"),
    sa.Column("position", sa.BigInteger, doc="positionId of the point, or of the upper left corner"),
    sa.Column("position2", sa.BigInteger, doc="positionId of the lower right corner"),
    sa.Column("written", sa.Text, nullable=False, default="", doc="what these rows were, as JSON"),
    sa.Column("why", sa.String(500), nullable=False, default=""),
    sa.Column("intended_at", sa.DateTime, nullable=False),
    sa.Column("done_at", sa.DateTime),
    sa.Column("undone_at", sa.DateTime),
    sa.Column("undone_by", sa.String(100)),
)
"""Marks as sub-samples in ISPyB; `removed`: with its mark, `left`: somebody had changed or used it there."""

imager_scores = sa.Table(
    "imager_scores",
    metadata,
    _key(),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("score_id", sa.BigInteger, nullable=False, doc="SCOREID; again when the row was found changed"),
    sa.Column("inspect_id", sa.BigInteger, nullable=False, doc="INSPECTID in the imager database"),
    sa.Column("code", sa.String(2), nullable=False),
    sa.Column("date", sa.DateTime, nullable=False, doc="naive local time, as in the imager database"),
    sa.Column("by", sa.String(30), nullable=False),
    sa.Column("image_name", sa.String(255)),
    sa.Column("seen_at", sa.DateTime, nullable=False),
    sa.Index("ix_imager_scores_source", "source", "inspect_id"),
    sa.Index("ix_imager_scores_score_id", "source", "score_id"),
    sa.Index("ix_imager_scores_date", "date"),
)
"""The imager's score table as it was seen: scores from people, from us and from other programs."""

corrections = sa.Table(
    "corrections",
    metadata,
    _key(),
    _to("images.id"),
    _to("scores.id", nullable=True, doc="the ARTscore the person saw; none: there was none"),
    sa.Column("outcome", sa.String(40), nullable=False, doc="empty: the person's score is taken back"),
    sa.Column("note", sa.String(500), nullable=False, default=""),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.Column("written_id", sa.BigInteger, doc="SCOREID of its row in the imager's score table"),
    sa.Column("written_at", sa.DateTime),
    sa.Column("key", sa.String(64), doc="the browser's name for it, so that it is stored once; none: a plain form"),
    sa.Column("code", sa.String(2), doc="of the lab's own set of scores; none: the outcome's"),
    sa.Column(
        "undoes", _id, index=True, doc="the correction that this one undoes; none: it is a score, or a withdrawal"
    ),
    sa.Column(
        "session", sa.String(16), index=True, doc="a hash of the browser's session; none: before sessions were recorded"
    ),
    sa.Index("ix_corrections_key", "key", unique=True),
)
"""Scores that people gave in the viewer."""

imported_scores = sa.Table(
    "imported_scores",
    metadata,
    _key(),
    _to("images.id"),
    sa.Column("kind", sa.String(10), nullable=False, doc="person, program"),
    sa.Column("who", sa.String(100), nullable=False, doc="the person or the program, or what is known of them"),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.Column("at_is", sa.String(10), nullable=False, doc="what happened then: scored, imaged, changed, saved"),
    sa.Column("word", sa.String(200), nullable=False, doc="the score as the file has it"),
    sa.Column("meaning", sa.String(40), nullable=False, doc="an outcome; any crystal etc.: only a group; empty: none"),
    sa.Column("numbers", sa.Text, nullable=False, doc="the file's numbers by name, as JSON; empty: none"),
    sa.Column("origin", sa.String(500), nullable=False, doc="name of the file"),
    sa.Column("key", sa.String(64), nullable=False, doc="SHA-256 of what makes it the same score when it comes again"),
    sa.Column("imported_at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("key"),
)
"""Scores of people and of other programs, imported from files."""


def _entry() -> tuple[sa.Column[str], sa.Column[Any], sa.Column[str], sa.Column[int]]:
    """Return who wrote an entry, when, under which key, and what it undoes."""
    return (
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("key", sa.String(64), nullable=False, unique=True, doc="its name, so that it is stored once"),
        sa.Column("undoes", _id, doc="the entry of this table that this one undoes; none: it undoes none"),
    )


marks = sa.Table(
    "marks",
    metadata,
    _key(),
    _to("images.id"),
    sa.Column("sha256", sa.String(64), nullable=False, doc="of the image's file then; empty: not known"),
    sa.Column("kind", sa.String(10), nullable=False, doc="point, box, outline; undo: the rest is as in what it undoes"),
    sa.Column("x", sa.Float, doc="its centre, in pixels of the original from the left"),
    sa.Column("y", sa.Float, doc="its centre, in pixels of the original from the top"),
    sa.Column("width", sa.Float, doc="of a box, or the box around an outline, in pixels; none: a point"),
    sa.Column("height", sa.Float),
    sa.Column("polygon", sa.Text, nullable=False, doc="an outline's corners [[x, y], …] in pixels, as JSON; or empty"),
    sa.Column("word", sa.String(200), nullable=False, doc="what is there, as the person or the file calls it"),
    sa.Column("meaning", sa.String(40), nullable=False, doc="an outcome; any crystal etc.: only a group; empty: none"),
    sa.Column("note", sa.String(500), nullable=False),
    sa.Column("given_by", sa.String(10), nullable=False, doc="person, program"),
    sa.Column("origin", sa.String(500), nullable=False, doc="viewer, or name of a file"),
    sa.Column("origin_id", sa.String(100), nullable=False, doc="its id in that file; empty: none"),
    *_entry(),
)
"""Points, boxes and outlines in images, by people and from files."""

drop_notes = sa.Table(
    "drop_notes",
    metadata,
    _key(),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("barcode", sa.String(30), nullable=False, index=True),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("col", sa.Integer, nullable=False),
    sa.Column("subwell", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(10), nullable=False, doc="note, favourite; undo: the text is that of what it undoes"),
    sa.Column("text", sa.String(1000), nullable=False),
    *_entry(),
)
"""Notes on drops, and people's favourites."""

drops = sa.Table(
    "drops",
    metadata,
    _key(),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("barcode", sa.String(30), nullable=False, index=True),
    sa.Column("row", sa.Integer, nullable=False, doc="0 in row, col or subwell: all of them"),
    sa.Column("col", sa.Integer, nullable=False),
    sa.Column("subwell", sa.Integer, nullable=False),
    sa.Column("project", sa.String(200), nullable=False, default=""),
    sa.Column("sample", sa.String(200), nullable=False, default=""),
    sa.Column("condition", sa.String(1000), nullable=False, default=""),
    sa.Column("origin", sa.String(500), nullable=False, doc='"imager database", or the file\'s name'),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""What was put into a drop, from the imager database's sample tables or a plate layout; the newest row counts."""

alerts = sa.Table(
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
    sa.Column("sent_at", sa.DateTime, doc="when the plate's e-mail went out"),
    sa.UniqueConstraint("source", "barcode", "row", "col", "subwell"),  # once for each drop
)
"""Drops that showed their first crystal."""

notification_settings = sa.Table(
    "notification_settings",
    metadata,
    _key(),
    sa.Column("who", sa.String(100), nullable=False, index=True),
    sa.Column("settings", sa.Text, nullable=False, doc="ledger.notices.Settings; a webhook's address is a secret"),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""What each person wants to be told of, and how; the newest row of a person counts."""

notices = sa.Table(
    "notices",
    metadata,
    _key(),
    sa.Column("who", sa.String(100), nullable=False, doc="the person; empty: a webhook of the configuration"),
    sa.Column("channel", sa.String(60), nullable=False, doc="mail, webhook; of the configuration: the webhook's name"),
    _to("scores.id"),
    sa.Column("source", sa.String(40), nullable=False),
    sa.Column("barcode", sa.String(30), nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("col", sa.Integer, nullable=False),
    sa.Column("subwell", sa.Integer, nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.Column("sent_at", sa.DateTime, index=True, doc="when it went out, or was found to be for them no longer"),
    sa.UniqueConstraint("who", "channel", "source", "barcode", "row", "col", "subwell"),  # each drop once
)
"""Drops with a new crystal that a person, or a webhook, is told of."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    _key(),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("channel", sa.String(60), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.Column("problem", sa.String(300), nullable=False, doc="empty: it was delivered"),
    sa.Index("ix_deliveries_who", "who", "channel"),
)
"""Attempts to deliver notices; how many failed in a row tells when to try again."""

users = sa.Table(
    "users",
    metadata,
    _key(),
    sa.Column("name", sa.String(30), nullable=False, index=True),
    sa.Column("password", sa.String(200), nullable=False, doc="Argon2 hash; empty: removed"),
    sa.Column("who", sa.String(100), nullable=False, doc="who set it"),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""Who may sign in to the viewer; the newest row of a name counts."""

sessions = sa.Table(
    "sessions",
    metadata,
    _key(),
    _to("users.id", doc="the password it was begun with: it ends when the user has a newer row"),
    sa.Column("token", sa.String(64), nullable=False, doc="hash of what the browser keeps"),
    sa.Column("began_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime, doc="when the person signed out"),
    sa.UniqueConstraint("token"),
)
"""Sessions of the viewer's users, until viewer.session_hours are over."""

links = sa.Table(
    "links",
    metadata,
    _key(),
    sa.Column("who", sa.String(100), nullable=False, doc="the account that made it"),
    sa.Column("code", sa.String(64), nullable=False, doc="hash of what the link ends with"),
    sa.Column("made_at", sa.DateTime, nullable=False),
    sa.Column("token", sa.String(64), doc="hash of what the browser keeps; null until the link is used"),
    sa.Column("began_at", sa.DateTime, doc="when it was used"),
    sa.Column("ended_at", sa.DateTime, doc="when the person signed out"),
    sa.UniqueConstraint("code"),
    sa.UniqueConstraint("token"),
)
"""One-time links to sign in with (viewer.sign_in = "local"), each with the session that it began."""

tokens = sa.Table(
    "tokens",
    metadata,
    _key(),
    _to("users.id", nullable=True, doc="the password it was made under, with which it ends; none: there was none"),
    sa.Column("who", sa.String(100), nullable=False, index=True, doc="in whose name it is used"),
    sa.Column("label", sa.String(60), nullable=False, doc="what that person calls it"),
    sa.Column("scope", sa.String(10), nullable=False, doc="read, score"),
    sa.Column("token", sa.String(64), nullable=False, doc="hash of what the program sends"),
    sa.Column("made_by", sa.String(100), nullable=False),
    sa.Column("made_at", sa.DateTime, nullable=False),
    sa.Column("expires_at", sa.DateTime, nullable=False),
    sa.Column("used_at", sa.DateTime, doc="when it was used last, to the minute; none: never"),
    sa.Column("removed_at", sa.DateTime),
    sa.UniqueConstraint("token"),
)
"""Tokens with which programs use the JSON addresses in a person's name."""

attempts = sa.Table(
    "attempts",
    metadata,
    _key(),
    sa.Column("name", sa.String(64), nullable=False, index=True, doc="SHA-256 of the name that was typed"),
    sa.Column("origin", sa.String(80), nullable=False, index=True, doc="network, or mark of a browser that is known"),
    sa.Column("at", sa.DateTime, nullable=False, index=True),
)
"""Attempts to sign in that were not successful, for a quarter of an hour."""

visits = sa.Table(
    "visits",
    metadata,
    _key(),
    sa.Column("who", sa.String(100), nullable=False, index=True),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""When a person marked everything new as seen."""

watermarks = sa.Table(
    "watermarks",
    metadata,
    sa.Column("key", sa.String(100), primary_key=True, doc="source and hash of the patterns"),
    sa.Column("state", sa.Text, nullable=False, doc="work.create.Progress"),
)
"""How far create_work has read the imager database."""

switches = sa.Table(
    "switches",
    metadata,
    _key(),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("value", sa.String(40), nullable=False),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""Switches for the whole chain, such as `paused`; the newest row of a name counts."""

promotions = sa.Table(
    "promotions",
    metadata,
    _key(),
    sa.Column("action", sa.String(20), nullable=False, doc="promote, rollback"),
    sa.Column("segmenter", sa.String(64), nullable=False, doc="in use from then on; both empty: the package's own"),
    sa.Column("classifier", sa.String(64), nullable=False),
    sa.Column("why", sa.String(500), nullable=False),
    sa.Column("comparison", sa.Text, nullable=False, doc="core.comparison.Comparison; empty: none"),
    sa.Column("who", sa.String(100), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
)
"""Promotions and rollbacks of models, and the pair in use from then on."""
