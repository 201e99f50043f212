"""Reviews of scores that were decided on while this computer's clock was ahead."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config.sections import HoldRule
from xtalgrid_server.ledger import tables


@pytest.mark.parametrize("days", [1, 3650])
def test_a_review_counts_though_the_decision_is_dated_ahead(system, score, score_table, days):
    rule = HoldRule(outcome="crystal", below=1.0)
    publishing = msgspec.structs.replace(system.config.publish, hold=(rule,))
    system.config = msgspec.structs.replace(system.config, publish=publishing)
    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR})
    assert system.finalize(frames="none").actions == {"hold": 1, "publish": 1}
    with system.ledger._db.writing() as connection:
        ahead = datetime.now() + timedelta(days=days)
        connection.execute(tables.finalizations.update().values(at=ahead))
    (held,) = system.ledger.decisions.held()
    system.ledger.decisions.add_reviews([held], "approve", "jdoe")
    assert system.ledger.decisions.held() == []
    assert system.finalize(frames="none").actions == {"publish": 1}
    assert system.finalize(frames="none").run == "", "decided on once"
    system.publish()
    assert sorted(row[1] for row in score_table()) == ["01", "23"]
    with system.ledger._db.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.finalizations)) == 3


def test_a_score_that_was_seen_ahead_of_now_may_be_deleted(system, score, person):
    (row,) = score({(1, 1): Outcome.CLEAR})
    person(row.inspect_id, "13", row.inspected)
    system.sync()
    with system.ledger._db.writing() as connection:
        ahead = datetime.now() + timedelta(days=3650)
        connection.execute(tables.imager_scores.update().values(seen_at=ahead))
    with system.imager.transaction() as connection:
        connection.execute(system.imager.tables.scores.delete())
    system.sync()
    assert system.ledger.imager_scores.of_inspections([row.inspect_id]) == {row.inspect_id: []}
