"""A person's score counts on every page and in every file, and two people who disagree are both shown."""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime

import pytest

from xtalgrid_core.outcomes import Outcome

from .conftest import PLATE

WELL = "/well/CI022987/3/A{}a"


@pytest.fixture
def plate(score, system, person):
    """A1 to A6: clear by people, a crystal by people, disputed, agreed, a crystal in XtalTrak, not scored by anybody."""
    crystals = {(1, 1): Outcome.HARVESTABLE}
    rows = score(crystals, p_crystal=0.9)
    rows += score({(2, 1): Outcome.CLEAR, (3, 1): Outcome.UNDECIDED, (4, 1): Outcome.CLEAR}, p_crystal=0.05)
    rows += score({(5, 1): Outcome.UNDECIDED, (6, 1): Outcome.CLEAR}, p_crystal=0.05)
    ids = {str(image.well): image.image_id for image in system.ledger.images.of_plate("CI022987")}
    for well, outcome, who in (
        ("A1a", Outcome.CLEAR, "ann"),
        ("A2a", Outcome.HARVESTABLE, "ann"),
        ("A3a", Outcome.HARVESTABLE, "ann"),
        ("A3a", Outcome.PRECIPITATE, "ben"),
        ("A4a", Outcome.CLEAR, "ann"),
        ("A4a", Outcome.CLEAR, "ben"),
    ):
        system.ledger.corrections.add(ids[well], outcome, who)
    person(rows[4].inspect_id, "23", datetime(2012, 11, 22))
    system.sync()
    return ids


def tiles(page):
    return {well: kind for kind, well in re.findall(r'class="tile o-([\w-]+)[^>]*href="/well/CI022987/3/(\w+)', page)}


@pytest.mark.usefixtures("plate")
def test_the_plate_shows_what_counts(client):
    page = client.get(PLATE).text
    assert tiles(page) == {
        "A1a": "clear", "A2a": "harvestable", "A3a": "disputed", "A4a": "clear", "A5a": "harvestable", "A6a": "clear",
    }  # fmt: skip
    assert "2.5 crystals expected" in page  # A2 and A5, half of A3, and 0.05 of A6: 2.55
    assert "ann: crystals harvestable · ben: precipitate · people disagree" in page
    assert tiles(client.get(f"{PLATE}?show=art").text)["A1a"] == "harvestable"
    assert tiles(client.get(f"{PLATE}?show=people").text)["A3a"] == "disputed"
    differing = re.findall(
        r'class="tile o-[\w-]+" href="/well/CI022987/3/(\w+)', client.get(f"{PLATE}?show=disagreement").text
    )
    assert differing == ["A1a", "A2a", "A3a", "A5a"]


@pytest.mark.usefixtures("plate")
def test_the_list_of_plates_counts_them(client):
    counted = re.findall(r'class="pill o-([\w-]+)"[^>]*>(\d+)<', client.get("/").text)
    assert counted == [("harvestable", "2"), ("undecided", "1")]


@pytest.mark.usefixtures("plate")
def test_the_review_begins_with_what_people_called_crystals(client):
    page = client.get(f"{PLATE}?order=best").text
    assert re.findall(r'class="well">(\w+)<', page) == ["A2a", "A5a", "A3a", "A6a", "A1a", "A4a"]
    assert [each["well"] for each in client.get(f"/api{PLATE.replace('plate', 'plates')}").json()["drops"]][:3] == [
        "A2a", "A5a", "A3a",
    ]  # fmt: skip
    best = client.get(f"{PLATE}/best.html").text
    assert re.findall(r"<b>(A\da)</b>", best) == ["A2a", "A5a", "A3a", "A6a"]
    assert "People disagree" in best and "ann: crystals harvestable" in best and "ben: precipitate" in best


@pytest.mark.usefixtures("plate")
def test_the_well_shows_both_people_who_disagree(client):
    page = client.get(WELL.format(3)).text
    assert "People disagree about this drop" in page
    assert "<strong>crystals harvestable</strong> by ann" in page and "<strong>precipitate</strong> by ben" in page
    assert "disagree about" not in client.get(WELL.format(4)).text


@pytest.mark.usefixtures("plate")
def test_the_inbox_shows_what_people_found_and_where_they_disagree(client):
    page = client.get("/inbox").text
    parts = {part.partition('"')[0]: part for part in page.split('<h2 id="')[1:]}
    wells = {name: set(re.findall(r'href="/well/CI022987/3/(\w+)"', part)) for name, part in parts.items()}
    assert wells["new"] == set()  # A1 was called clear
    assert wells["found"] == {"A2a", "A3a"}
    assert wells["disputed"] == {"A3a"}
    assert wells["undecided"] == set()  # also A5's, scored in XtalTrak


@pytest.mark.usefixtures("plate")
def test_files_have_all_people(client):
    text = client.get(f"{PLATE}/scores.csv").content.decode("utf-8-sig")
    lines = {line["well"]: line for line in csv.DictReader(io.StringIO(text))}
    assert (lines["A3a"]["person"], lines["A3a"]["held_to_be"]) == ("ann; ben", "people disagree")
    assert lines["A3a"]["person_outcome"] == "crystals harvestable; precipitate"
    assert lines["A1a"]["held_to_be"] == "clear" and lines["A6a"]["person"] == ""
    drops = {each["well"]: each for each in client.get("/api/plates/CI022987/3").json()["drops"]}
    assert drops["A3a"]["people"] == {"ann": "crystals harvestable", "ben": "precipitate"}
    assert drops["A5a"]["held_to_be"] == "crystals harvestable"
