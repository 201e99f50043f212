"""Read and write the four probabilities of images in an auto-score schema.

ISPyB keeps no time and no model with them: a second write replaces the first, so the caller keeps what was there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from xtalgrid_core.errors import ConfigError

from ...config.sections import PublishIspyb
from ...storage.engines import chunks
from . import tables as t

Four = dict[str, float]
"""Probabilities by class; empty: none are there."""
_ROUNDING = 5e-6
"""We write five digits, and the database's floats hold six."""


def class_ids(connection: sa.Connection, settings: PublishIspyb) -> dict[str, int]:
    """Return the ids of a schema's classes by name, in the configured order.

    Raises
    ------
    ConfigError
        If the database has no such schema, or it lacks classes.
    """
    found = classes_of(connection, settings.schema)
    lacking = [name for name in settings.classes if name not in found]
    if lacking:
        what = (
            f"its schema {settings.schema!r} lacks {', '.join(lacking)}" if found else f"no schema {settings.schema!r}"
        )
        raise ConfigError(
            f"ISPyB has {what}; let the database's administrator run what `xtalgrid ispyb-schema` prints, or name "
            "another schema in publish.ispyb.schema"
        )
    return {name: found[name] for name in settings.classes}


def classes_of(connection: sa.Connection, schema: str) -> dict[str, int]:
    """Return the ids of all classes of a schema by name; none if there is no such schema."""
    statement = (
        sa.select(t.classes.c.scoreClass, t.classes.c.blSampleImageAutoScoreClassId)
        .join(t.schemas, t.schemas.c.blSampleImageAutoScoreSchemaId == t.classes.c.blSampleImageAutoScoreSchemaId)
        .where(t.schemas.c.schemaName == schema)
        .order_by(t.classes.c.blSampleImageAutoScoreClassId.desc())
    )
    return {row.scoreClass: row.blSampleImageAutoScoreClassId for row in connection.execute(statement)}


def read_four(
    connection: sa.Connection, image_ids: Sequence[int], classes: Mapping[str, int], *, lock: bool = False
) -> dict[int, Four]:
    """Return the probabilities of these images by image id and class; with `lock` until the transaction ends."""
    names = {number: name for name, number in classes.items()}
    found: dict[int, Four] = {image_id: {} for image_id in image_ids}
    table = t.auto_scores.c
    for part in chunks(list(found)):
        chosen = table.blSampleImageId.in_(part), table.blSampleImageAutoScoreClassId.in_(list(names))
        statement = sa.select(t.auto_scores).where(*chosen)
        for row in connection.execute(statement.with_for_update() if lock else statement):
            if row.probability is not None:
                name = names[row.blSampleImageAutoScoreClassId]
                found[row.blSampleImageId][name] = row.probability
    return found


def is_same(one: Four, other: Four) -> bool:
    """Tell whether probabilities are the same, but for the rounding of the database's floats."""
    return one.keys() == other.keys() and all(abs(one[name] - other[name]) < _ROUNDING for name in one)


def write_four(connection: sa.Connection, scores: Mapping[int, Four], classes: Mapping[str, int]) -> None:
    """Replace the probabilities of these images; nothing but these classes is touched. Empty ones are deleted."""
    table = t.auto_scores.c
    for part in chunks(list(scores)):
        chosen = table.blSampleImageId.in_(part), table.blSampleImageAutoScoreClassId.in_(list(classes.values()))
        connection.execute(t.auto_scores.delete().where(*chosen))
    rows = [
        {"blSampleImageId": image_id, "blSampleImageAutoScoreClassId": classes[name], "probability": probability}
        for image_id, four in scores.items()
        for name, probability in four.items()
    ]
    if rows:
        connection.execute(t.auto_scores.insert(), rows)


def schema_sql(settings: PublishIspyb) -> str:
    """Return the SQL by which the database's administrator creates the schema, and what our account needs."""
    schema, names = _quoted(settings.schema), ", ".join(f"(@schema, {_quoted(name)})" for name in settings.classes)
    read = (t.containers, t.types, t.samples, t.inspection_types, t.inspections, t.images, t.scores, t.schemas)
    lines = (
        f"INSERT INTO {t.schemas.name} (schemaName, enabled) VALUES ({schema}, 1);",  # noqa: S608  printed for a person
        "SET @schema = LAST_INSERT_ID();",
        f"INSERT INTO {t.classes.name} (blSampleImageAutoScoreSchemaId, scoreClass) VALUES {names};",  # noqa: S608  printed for a person
        "",
        "-- for the account that is named in publish.ispyb.url, here xtalgrid:",
        *(f"GRANT SELECT ON {table.name} TO 'xtalgrid'@'%';" for table in (*read, t.classes)),
        f"GRANT SELECT, INSERT, DELETE ON {t.auto_scores.name} TO 'xtalgrid'@'%';",
    )
    if settings.marks:
        lines += (
            *(f"GRANT SELECT, INSERT, DELETE ON {one.name} TO 'xtalgrid'@'%';" for one in (t.sub_samples, t.positions)),
            f"GRANT SELECT ON {t.queued.name} TO 'xtalgrid'@'%';",
        )
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
