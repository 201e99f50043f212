"""A configured scale counts among what a score depends on, so that another one has images scored again"""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Give units and scores with a scale the hash that they would get now, or all of them would be scored again."""
    connection = op.get_bind()
    metadata = sa.MetaData()
    units = sa.Table("units", metadata, autoload_with=connection)
    scores = sa.Table("scores", metadata, autoload_with=connection)
    results = sa.Table("results", metadata, autoload_with=connection)
    manifests = sa.select(units.c.id, units.c.options_hash, units.c.manifest).execution_options(yield_per=100)
    with_scale = [
        {"unit": row.id, "hash": hashlib.sha256(f"{row.options_hash} {float(scale)!r}".encode()).hexdigest()}
        for row in connection.execute(manifests)
        for entry in json.loads(row.manifest)["images"][:1]  # a unit has one scale
        if (scale := entry.get("pixel_size_um"))
    ]
    if not with_scale:
        return
    connection.execute(
        units.update().where(units.c.id == sa.bindparam("unit")).values(options_hash=sa.bindparam("hash")), with_scale
    )
    of_unit = sa.select(units.c.options_hash).join(results, results.c.unit_id == units.c.id)
    connection.execute(
        scores.update()
        .where(scores.c.result_id.in_(sa.select(results.c.id).where(results.c.unit_id.is_not(None))))
        .values(options_hash=of_unit.where(results.c.id == scores.c.result_id).scalar_subquery())
    )
