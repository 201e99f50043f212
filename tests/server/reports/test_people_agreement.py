"""ARTscores beside people's scores."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest

from tests.server.conftest import INSPECTED
from xtalgrid_core.outcomes import Outcome

LATER = INSPECTED + timedelta(days=40)


@pytest.fixture
def compared(system, score, person):
    """Five inspections that people scored, in two months, one with a code of the lab's own, and one that nobody did."""
    ours = [Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.PRECIPITATE, Outcome.BAD_FORM, Outcome.CLEAR, Outcome.CLEAR]
    rows = score({(col, 1): outcome for col, outcome in enumerate(ours, start=1)})
    for row, code in zip(rows[:4], ("22", "23", "13", "01"), strict=True):
        person(row.inspect_id, code, INSPECTED)
    person(rows[4].inspect_id, "99", INSPECTED)
    (row,) = score({(1, 1): Outcome.UNDECIDED}, inspection=4, inspected=LATER)
    person(row.inspect_id, "23", LATER)
    person(row.inspect_id, "13", LATER + timedelta(days=1))  # and thinks better of it
    system.sync()


@pytest.mark.usefixtures("compared")
def test_by_group_and_month_with_what_each_side_missed(xtalgrid):
    found = json.loads(xtalgrid("agreement", "--json").stdout)
    assert (found["agree"]["hits"], found["agree"]["number"]) == (2, 5)
    assert found["same_outcome"]["hits"] == 1
    assert (found["missed"], found["only_ours"]) == (1, 1)
    assert found["table"]["crystal"] == {"crystal": 1, "precipitate": 0, "other": 0, "clear": 1, "unknown": 0}
    assert found["table"]["precipitate"]["unknown"] == 1
    assert found["by_group"]["crystal"]["interval"] == pytest.approx([0.0945, 0.9055], abs=1e-4)
    assert [
        (m["month"], m["agree"]["number"], m["crystals"]["hits"], m["crystals"]["number"]) for m in found["months"]
    ] == [
        ("2012-11", 4, 1, 2),
        ("2012-12", 1, 0, 0),
    ]
    assert found["unmapped"] == {"99": 1}
    assert found["classifiers"] == {"b" * 64: 5}


@pytest.mark.usefixtures("compared")
def test_as_text_and_csv(xtalgrid):
    text = xtalgrid("agreement").output
    assert "same group    40.0% (11.8" in text
    assert "1 missed by xtalgrid, 1 seen by xtalgrid only" in text
    assert "1 people's scores '99'" in text
    rows = list(csv.DictReader(io.StringIO(xtalgrid("agreement", "--csv").stdout)))
    assert {
        "of": "2012-12",
        "what": "same group",
        "hits": "0",
        "number": "1",
        "low": "0.0000",
        "high": "0.7935",
    } in rows
    only = json.loads(xtalgrid("agreement", "--json", "--from", "2012-12-01").stdout)
    assert only["agree"]["number"] == 1


@pytest.mark.usefixtures("compared")
def test_disagreements_newest_first_or_by_p_crystal(xtalgrid, score, person, system):
    (row,) = score({(2, 1): Outcome.CLEAR}, inspection=5, inspected=LATER, p_crystal=0.19)
    person(row.inspect_id, "23", LATER)
    system.sync()

    def wells(*words):
        result = xtalgrid("disagreements", "--json", *words)
        return [(one["inspection"], one["well"], one["person"]) for one in json.loads(result.stdout)]

    newest = [(4, "A1a", "precipitate"), (5, "A2a", "crystals harvestable")]
    older = [(3, "A4a", "clear"), (3, "A2a", "crystals harvestable")]
    assert wells() == newest + older
    assert wells("--order", "p_crystal")[-1] == (5, "A2a", "crystals harvestable")
    assert wells("--limit", 1) == newest[:1]
    assert wells("--outcome", "crystal") == [newest[1], older[1]]
    some = xtalgrid("disagreements", "--limit", 1).output.splitlines()
    assert some[2:] == ["… and more; --limit shows them"]
    for form in ("--csv", "--json"):
        assert xtalgrid("disagreements", form, "--limit", 1).stderr == "there are more; --limit shows them\n"
        assert xtalgrid("disagreements", form, "--limit", 9).stderr == ""
    line = some[1]
    assert " ".join(line.split()) == "CI022987 A1a 4 2012-12-31 undecided 50 % 13 precipitate jdoe 2013-01-01"


def test_nobody_has_scored_anything(xtalgrid, score):
    score({(1, 1): Outcome.CLEAR})
    assert "no inspection has both an ARTscore and a person's score" in xtalgrid("agreement").output
    assert "no disagreements" in xtalgrid("disagreements").output


def test_pages_of_judged_inspections_are_all_of_them(system, score, person, xtalgrid, monkeypatch):
    rows = score({(col, 1): Outcome.CLEAR for col in range(1, 13)})
    for row in rows[::2]:
        person(row.inspect_id, "01", INSPECTED)
    system.sync()
    for image in system.ledger.images.of_plate("CI022987")[1::2]:
        system.ledger.corrections.add(image.image_id, Outcome.CLEAR, "ann")
    monkeypatch.setattr("xtalgrid_server.ledger.images.BATCH", 5)
    assert json.loads(xtalgrid("agreement", "--json").stdout)["agree"]["hits"] == 12


def test_two_people_who_disagree_are_both_shown_and_neither_counts_as_the_truth(system, score, xtalgrid):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    first, second = system.ledger.images.of_plate("CI022987")
    system.ledger.corrections.add(first.image_id, Outcome.HARVESTABLE, "ann")
    system.ledger.corrections.add(first.image_id, Outcome.CLEAR, "ben")
    system.ledger.corrections.add(second.image_id, Outcome.CLEAR, "ben")
    found = json.loads(xtalgrid("agreement", "--json").stdout)
    assert (found["agree"]["number"], found["disputed"], found["missed"]) == (1, 1, 0)
    assert "not counted   1 inspections that people put into different groups" in xtalgrid("agreement").output
    (listed,) = json.loads(xtalgrid("disagreements", "--json").stdout)
    assert (listed["who"], listed["person"], listed["others"]) == ("ann", "crystals harvestable", ["ben: clear"])


def test_a_search_finds_what_any_person_called_a_crystal(system, score, xtalgrid, tmp_path):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.HARVESTABLE})
    first, second = system.ledger.images.of_plate("CI022987")
    system.ledger.corrections.add(first.image_id, Outcome.HARVESTABLE, "ann")
    system.ledger.corrections.add(first.image_id, Outcome.CLEAR, "ben")
    system.ledger.corrections.add(second.image_id, Outcome.CLEAR, "ben")
    out = tmp_path / "all.csv"
    xtalgrid("export", "csv", out, "--outcome", "crystal")
    (row,) = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8-sig")))
    assert (row["well"], row["held_to_be"]) == ("A1a", "people disagree")
    assert row["people"] == "ann: crystals harvestable; ben: clear"
