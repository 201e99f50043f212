"""The viewer's pages with their ledger in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.server.conftest import score, system  # noqa: F401  the same fixtures, over another configuration
from tests.server.web.conftest import client, enter, visit  # noqa: F401
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import Config, from_string

WELL = "/well/CI022987/4/A1a"


@pytest.fixture
def config(server: sa.URL, tmp_path: Path) -> Iterator[Config]:
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE viewer")
    url = server.set(database="viewer").render_as_string()
    yield from_string(f'[ledger]\nurl = "{url}"\n[viewer]\nwrite_scores = true', home=tmp_path / "home")
    with admin.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE viewer WITH (FORCE)")
    admin.dispose()


def test_every_page_and_form(client, score, system):  # noqa: F811
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.UNDECIDED}, p_crystal=0.05)
    score({(1, 1): Outcome.HARVESTABLE}, inspection=4, inspected=datetime(2012, 11, 28), p_crystal=0.9)
    (image,) = (one.image_id for one in system.ledger.images.of_plate("CI022987", [4]))
    done = client.fill("/corrections", WELL, image=image, score=3, outcome="bad-form", stay=1, here=WELL)
    assert done.headers["location"] == WELL
    assert "crystals bad form</strong> by anna" in client.get(WELL).text
    assert client.fill("/corrections/undo", WELL, then=WELL).status_code == 303
    assert [one.outcome for one in system.ledger.corrections.of_images([image])[image]] == [Outcome.BAD_FORM, None]
    scores = json.dumps([{"key": f"{n:032x}", "image": 1, "outcome": "clear"} for n in (1, 1, 2)])
    assert client.fill("/corrections/typed", WELL, who="anna", scores=scores).status_code == 200
    assert len(system.ledger.corrections.of_images([1])[1]) == 2
    for outcome, key in ((Outcome.HARVESTABLE, None), (Outcome.BAD_FORM, "b" * 32)):
        system.ledger.corrections.add(1, outcome, "ben", key=key)
    inbox = client.get("/inbox").text
    assert "People disagree" in inbox
    assert "o-disputed" in client.get("/plate/CI022987/3").text
    assert WELL in inbox and "/well/CI022987/3/A2a" in inbox  # a new crystal, an undecided
    assert client.fill("/inbox/seen", "/inbox", until="2026-01-01T00:00:00").status_code == 303
    system.ledger.decisions.add("r1", [{"score_id": 3, "inspect_id": 3, "action": "hold", "csv_row": "{}"}])
    assert client.fill("/operations/review", "/operations", verdict="approve", score=3).status_code == 303
    for address in ("/", "/?q=ci02", "/plate/CI022987/4?order=best&show=people", "/plate/CI022987/3?show=disagreement"):
        assert "CI022987" in client.get(address).text
    for address in (
        "/plate/CI022987/4/scores.csv",
        "/plate/CI022987/4/best.html",
        "/api/plates",
        "/metrics",
        "/healthz",
    ):
        assert client.get(address).status_code == 200, address
