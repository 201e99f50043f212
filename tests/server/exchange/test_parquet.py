"""Parquet, read by pyarrow as notebooks do, says what the JSON lines say."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime

import openpyxl
import pytest

from tests.server.conftest import INSPECTED
from tests.server.exchange.conftest import PLATE
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.export import export
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.reports.entries import Filter
from xtalgrid_server.reports.tables import COLUMNS


def test_without_pyarrow_the_message_says_what_to_install(system, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "xtalgrid_server.exchange.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=re.escape(f"{sys.executable} -m pip install 'xtalgrid[parquet]'")):
        export(system.config, system.ledger, "parquet", tmp_path / "scores.parquet", Filter())
    assert not list(tmp_path.glob("*.parquet"))


def test_rows_are_those_of_the_json_lines_with_types(system, score, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra [parquet]")
    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.NULL_EXPERIMENT}, combined=True)
    system.ledger.corrections.add(1, Outcome.CLEAR, "ann")
    system.ledger.contents.record([Contents(PLATE, Well(1, 1, 0), sample="00012", condition="=1+1")])
    for kind in ("jsonl", "parquet"):
        export(system.config, system.ledger, kind, tmp_path / kind, Filter())
    lines = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    file = pq.ParquetFile(tmp_path / "parquet")
    rows = file.read().to_pylist()
    assert file.schema_arrow.names[: len(COLUMNS)] == list(COLUMNS)
    assert file.schema_arrow.metadata[b"program"].startswith(b"xtalgrid ")
    assert [row["well"] for row in rows] == ["A1a", "A2a"]
    for row, line in zip(rows, lines, strict=True):
        assert row["inspected"] == datetime.fromisoformat(line["inspected"])
        assert row["scored_at"] == datetime.fromisoformat(line["scored_at"]).astimezone(UTC)
        for name in (
            "barcode",
            "inspection",
            "outcome",
            "sample",
            "condition",
            "held_to_be",
            "drop",
            "width",
            "people",
        ):
            assert row[name] == line[name]
        for name in ("probability", "p_crystal"):
            assert row[name] == pytest.approx(line[name])
        four = [row[f"p_{group}_of_four"] for group in ("crystal", "precipitate", "other", "clear")]
        assert four == pytest.approx(list(line["groups"].values()))
        assert [(box["box"], box["outcome"]) for box in row["boxes"]] == [
            (box["box"], box["outcome"]) for box in line["boxes"]
        ]
    assert rows[0]["person"] == "ann"


@pytest.mark.parametrize(
    ("date", "at"),
    [("", None), ("0024-11-21 14:00:00", "0024-11-21T13:06:32Z"), ("2012-11-21 14:00:00", "2012-11-21T13:00:00Z")],
)
def test_a_persons_score_without_a_date_or_of_the_year_24_is_written(system, score, person, tmp_path, date, at):
    """The year 24 is what Oracle makes of two digits; local time of Berlin was 53:28 minutes ahead before 1893."""
    (row,) = score({(1, 1): Outcome.HARVESTABLE})
    person(row.inspect_id, "13", INSPECTED)
    with system.imager._engine.begin() as connection:
        connection.exec_driver_sql("update i_scores set scoredate = ?", (date,))
    system.sync()
    for kind in ("jsonl", "xlsx"):
        assert export(system.config, system.ledger, kind, tmp_path / kind, Filter()).images == 1
    (line,) = (tmp_path / "jsonl").read_text().splitlines()
    read = json.loads(line)
    assert (read["person"], read["person_at"], [one["at"] for one in read["people"]]) == ("jdoe", at, [at])
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra [parquet]")
    export(system.config, system.ledger, "parquet", tmp_path / "parquet", Filter())
    (one,) = pq.ParquetFile(tmp_path / "parquet").read().to_pylist()
    assert one["person_at"] == (datetime.fromisoformat(at) if at else None)


def test_an_inspection_before_excels_first_date_is_a_text(system, score, tmp_path):
    score({(1, 1): Outcome.CLEAR}, inspected=datetime(1, 1, 1))
    export(system.config, system.ledger, "xlsx", tmp_path / "scores.xlsx", Filter())
    _, first = openpyxl.load_workbook(tmp_path / "scores.xlsx")["Scores"].iter_rows(values_only=True)
    assert first[COLUMNS.index("inspected")] == "0001-01-01 00:00:00"
