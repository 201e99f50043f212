"""The page of conditions: a search of the archive, the map by precipitant and pH, and the grid for optimisation."""

from __future__ import annotations

import csv
import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.domain.conditions import read_condition
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.optimisation import Range, grid_csv, optimisation_grid
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.web.pages import conditions as pages

HEPES = "0.1 M HEPES pH 7.5, 25 % w/v PEG 3350, 0.2 M ammonium sulfate"
SULFATE = "1.6 M ammonium sulfate, 0.1 M Tris pH 8.5"


@pytest.fixture
def archive(score, system):
    """Four drops of two conditions that can be read and one that can't; one of each of two shows crystals."""
    score(
        {(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR, (3, 1): Outcome.HARVESTABLE, (4, 1): Outcome.PRECIPITATE}
    )
    conditions = {(1, 1): HEPES, (2, 1): HEPES.replace("7.5", "7.1"), (3, 1): "Morpheus A1", (4, 1): SULFATE}
    system.ledger.contents.record(
        Contents("CI022987", Well(row, col, 0), "kinases", "ABL1", text) for (col, row), text in conditions.items()
    )


def table(page: str, name: str) -> list[list[str]]:
    found = re.search(rf'class="{name}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", found.group(1), re.DOTALL) if found else []
    cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows)
    return [[" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in row] for row in cells]


@pytest.mark.usefixtures("archive")
def test_the_page_finds_what_the_command_finds(client, config):
    page = client.get("/conditions", params={"outcome": "crystal"}).text
    found = table(page, "list")
    assert [row[:4] for row in found] == [[HEPES, "1", "1", "100 %"], ["Morpheus A1", "1", "1", "100 %"]]
    command = ["--home", str(config.home), "search", "--outcome", "crystal", "--group-by", "condition", "--csv"]
    told = list(csv.DictReader(io.StringIO(CliRunner().invoke(main, command).stdout)))
    assert [(row["condition"], row["drops"], row["matching"]) for row in told] == [tuple(row[:3]) for row in found]
    assert table(client.get("/conditions?outcome=crystal&condition=hepes").text, "list") == found[:1]
    assert table(client.get("/conditions?outcome=precipitate&sample=abl1&by=sample").text, "list")[0][:4] == [
        "ABL1", "4", "1", "25 %",
    ]  # fmt: skip
    assert "Nothing found" in client.get("/conditions?outcome=crystal&since=2013-01-01").text
    drop = client.get("/well/CI022987/3/A1a").text
    everywhere = re.search(r'href="(/conditions\?[^"]+)">in all plates', drop).group(1).replace("&amp;", "&")
    assert table(client.get(everywhere).text, "list")[0][:3] == [HEPES, "1", "1"]
    assert re.search(r'href="/conditions/grid\?condition=0.1[^"]+">optimise', drop)
    for wrong in ("since=tomorrow", "outcome=gold"):
        assert client.get(f"/conditions?{wrong}").status_code == 422


@pytest.mark.usefixtures("archive")
def test_the_map_counts_all_drops_and_says_what_it_could_not_read(client):
    page = client.get("/conditions?outcome=crystal").text
    assert table(page, "outcome-map") == [["PEG 3350", "1/2", ""], ["ammonium sulfate", "", "0/1"]]
    assert "1 condition (1/1 drops) has no precipitant that could be read" in page
    address = re.search(r'href="(/conditions\?[^"]*precipitant=PEG[^"]*ph=7)#found"', page).group(1)
    assert [row[0] for row in table(client.get(address.replace("&amp;", "&")).text, "list")] == [HEPES]


@pytest.mark.usefixtures("archive")
def test_a_search_that_takes_too_long_is_stopped_and_only_few_run_at_once(client, monkeypatch):
    monkeypatch.setattr(pages, "LONGEST_S", -1.0)
    assert "Name a condition, a sample" in client.get("/conditions?sample=A").text
    both_refused, refused = threading.Event(), []
    monkeypatch.setattr(pages, "tally", lambda *_: {} if both_refused.wait(20) else None)

    def search(number: int) -> int:
        answer = client.get(f"/conditions?sample={number}")
        if answer.status_code == 503:
            refused.append(number)
        if len(refused) == 2:
            both_refused.set()
        return answer.status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(search, range(6))) == [200] * 4 + [503] * 2


def test_a_grid_around_a_hit_is_a_layout(client, config, system, tmp_path):
    page = client.get("/conditions/grid", params={"condition": HEPES}).text
    assert '<option value="1" selected>PEG 3350 (% w/v)</option>' in page and "buffers from about" not in page
    csv_address = re.search(r'href="(/conditions/grid\.csv\?[^"]+)"', page).group(1).replace("&amp;", "&")
    told = client.get(csv_address)
    rows = list(csv.DictReader(io.StringIO(told.text)))
    assert len(rows) == 24 and rows[0]["well"] == "A1" and rows[-1]["well"] == "D6"
    assert rows[0]["condition"] == "0.1 M HEPES pH 7, 15 % w/v PEG 3350, 0.2 M ammonium sulfate"
    assert rows[-1]["condition"] == "0.1 M HEPES pH 8.5, 30 % w/v PEG 3350, 0.2 M ammonium sulfate"
    (file := tmp_path / "grid.csv").write_bytes(told.content)
    done = CliRunner().invoke(main, ["--home", str(config.home), "layout", str(file), "--barcode", "NEXT1"])
    assert done.exit_code == 0, done.output
    contents = system.ledger.contents.of_plates(["NEXT1"])
    assert contents("NEXT1", Well(4, 6, 1)).condition == rows[-1]["condition"]


def test_a_grid_by_a_person_s_own_steps_and_what_it_warns_of(client):
    asked = {"condition": HEPES + ", secret sauce", "vary": "2", "first": "0,1", "last": "0.3", "columns": "3"}
    page = client.get("/conditions/grid", params={**asked, "first_ph": "7", "last_ph": "9", "rows": "2"}).text
    assert "“secret sauce” can&#39;t be read" in page
    assert "HEPES buffers from about pH 6.5 to 8.5" in page
    assert "0.3 M ammonium sulfate, secret sauce" in page
    no_ph = client.get("/conditions/grid?condition=20 % PEG 3350").text
    assert "names no pH: only the concentration varies" in no_ph
    assert "nothing can vary" in client.get("/conditions/grid?condition=Morpheus A1").text
    for wrong in ("columns=49", "last=101", "last=nan", "first=x", "columns=0"):
        assert client.get(f"/conditions/grid.csv?condition=20 % PEG 3350&{wrong}").status_code == 422, wrong


def test_values_of_a_grid():
    """By hand: six steps from 15 to 30 are 3 apart."""
    grid = optimisation_grid(read_condition(HEPES), 1, Range(15, 30, 6), Range(7.5, 7.5, 1))
    assert [well.concentration for well in grid.rows[0]] == [15, 18, 21, 24, 27, 30]
    assert grid_csv(grid).splitlines()[1].startswith(b'A1,"0.1 M HEPES pH 7.5, 15 % w/v PEG 3350')
