"""Texts that PostgreSQL does not hold, on a real server."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from xtalgrid_server.config import from_string
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.store import Ledger
from xtalgrid_server.storage.engines import open_engine


@pytest.mark.parametrize("text", ["\0", "a\0b\0", "\ufffd"])
def test_a_nul_is_sent_as_a_replacement_character(server, text):
    engine = open_engine(server.render_as_string(hide_password=False), "ledger.url")
    with engine.begin() as connection:
        sent = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
        assert connection.scalar(sa.select(sa.literal(text))) == sent
        connection.exec_driver_sql("create temporary table notes (id integer, text varchar(9))")
        insert = sa.text("insert into notes values (:id, :text)")
        connection.execute(insert, [{"id": 1, "text": text}, {"id": 2, "text": "other"}])
        found = connection.execute(sa.text("select id from notes where text like :text"), {"text": f"%{text}"})
        assert found.scalars().all() == [1]
    engine.dispose()


def test_a_search_with_nul_finds_nothing_and_is_no_error(server, tmp_path):
    url = server.render_as_string(hide_password=False)
    ledger = Ledger(from_string(f'[ledger]\nurl = "{url}"\n', home=tmp_path / "home"))
    ledger.contents.record([Contents("P1", Well(0, 0, 0), sample="thaumatin", origin="test")])
    assert ledger.contents.plates_with("thau") == {"P1"}
    assert ledger.contents.plates_with("thau\0") == ledger.drop_notes.plates_with("\0") == set()
    ledger.close()
