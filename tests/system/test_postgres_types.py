"""Columns of other types, on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
import sqlalchemy as sa

from .foreign_types import *  # noqa: F403
from .foreign_types import inspect, run


@pytest.fixture
def engine(server: sa.URL) -> Iterator[sa.Engine]:
    engine = sa.create_engine(server)
    yield engine
    engine.dispose()


def test_dates_with_a_zone_are_read_and_written_as_local_time(engine, lab):
    database = lab(inspectdate="timestamptz", scoredate="timestamptz")
    inspect(engine, 1, "timestamptz '2026-11-27 23:30:00+00'")
    ((image,),) = database.newest_first(None, None)
    assert image.inspected == datetime(2026, 11, 28, 0, 30)  # Berlin
    assert list(database.newest_first(None, image.moment)) == []
    run(engine, "insert into i_scores values (9, 1, '23', '2026-07-01 12:00:00+00', null, 'jdoe')")
    with database.writing() as writer:
        writer.insert(1, "01", datetime(2026, 7, 1, 13, 59), "ARTscore", image.image_name)
    (scores,) = database.scores_of_drops([1]).values()
    assert [(score.by, score.date.hour, score.date.minute) for score in scores] == [
        ("ARTscore", 13, 59),
        ("jdoe", 14, 0),
    ]
    utc = "select scoredate at time zone 'UTC' from i_scores where scoredby = 'ARTscore'"
    assert run(engine, utc) == [(datetime(2026, 7, 1, 11, 59),)]
