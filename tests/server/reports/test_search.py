"""The archive screened for conditions and samples that gave crystals."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.server.conftest import INSPECTED
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.letters import sure_part
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.drop_notes import DropNote

PEG, SALT = "20 % PEG 3350, 0.1 M Bis-Tris pH 6.5", "2.0 M ammonium sulfate"


@pytest.fixture
def archive(system, inspect, person):
    """Four drops with PEG, two of which show crystals; two with salt, one of which a person calls a crystal; one not known."""
    inspect(1, dict.fromkeys(range(1, 8), 0.1))
    rows = inspect(2, {1: 0.9, 2: 0.7, 3: 0.1, 4: 0.2, 5: 0.3, 6: 0.1, 7: 0.1})
    person(rows[4].inspect_id, "22", INSPECTED)
    person(rows[1].inspect_id, "13", INSPECTED)  # a person takes that crystal for precipitate
    contents = [
        Contents("CI022987", Well(1, col, 0), "kinases", "ABL1" if col < 3 else "SRC", PEG if col < 5 else SALT)
        for col in range(1, 7)
    ]
    system.ledger.contents.record(contents)
    system.sync()


def found(xtalgrid, *words):
    result = xtalgrid("search", "--json", *words)
    assert result.exit_code == 0, result.output
    return [(one["keys"], one["drops"], one["matching"], one["p_crystal"]) for one in json.loads(result.stdout)]


@pytest.mark.usefixtures("archive")
def test_conditions_that_gave_crystals(xtalgrid):
    by_condition = ("--outcome", "crystal", "--group-by", "condition")
    assert found(xtalgrid, *by_condition) == [([SALT], 2, 1, 0.3), ([PEG], 4, 1, 0.9)]
    assert found(xtalgrid, *by_condition, "--condition", "peg 3350") == [([PEG], 4, 1, 0.9)]
    assert found(xtalgrid, *by_condition, "--sample", "SRC") == [([SALT], 2, 1, 0.3)]
    assert found(xtalgrid, *by_condition, "--project", "phosphatases") == []
    assert found(xtalgrid, *by_condition, "--to", "2012-11-22") == []  # inspection 2 is a day later
    assert len(found(xtalgrid, *by_condition, "--from", "2012-11-23", "--to", "2012-11-23")) == 2
    assert found(xtalgrid, "--outcome", "crystals bad form") == [([SALT, "SRC"], 2, 1, 0.3)]
    assert found(xtalgrid, "--outcome", "precipitate", "--group-by", "drop") == [(["CI022987 A2a"], 1, 1, 0.7)]
    assert found(xtalgrid, "--group-by", "sample")[-1] == ([""], 1, 1, 0.1)


@pytest.mark.usefixtures("archive")
def test_of_drops_that_people_scored_only_those_are_counted(xtalgrid):
    by_plate = ("--outcome", "crystal", "--group-by", "plate")
    assert found(xtalgrid, *by_plate) == [(["CI022987"], 7, 2, 0.9)]
    assert found(xtalgrid, *by_plate, "--scored-by-people") == [(["CI022987"], 2, 1, 0.3)]  # people scored two drops


@pytest.mark.usefixtures("archive")
def test_as_a_table_and_for_a_spreadsheet(xtalgrid):
    words = ("--outcome", "crystal", "--group-by", "condition")
    text = xtalgrid("search", *words).output.splitlines()
    assert text[0].split() == ["condition", "drops", "crystal", "part", "p_crystal", "best"]
    assert text[1].endswith("CI022987 A5a inspection 2")
    assert "1 more; --limit shows them" in xtalgrid("search", *words, "--limit", 1).output
    rows = list(csv.DictReader(io.StringIO(xtalgrid("search", *words, "--csv").stdout)))
    assert [(row["condition"], row["matching"], row["well"]) for row in rows] == [(SALT, "1", "A5a"), (PEG, "1", "A1a")]
    assert float(rows[1]["low"]) == pytest.approx(0.0456, abs=1e-4)  # Wilson's interval of 1 of 4


def test_nothing_there_and_a_wrong_outcome(xtalgrid, score):
    assert "no such drops" in xtalgrid("search", "--outcome", "crystal").output
    score({(1, 1): Outcome.CLEAR})
    result = xtalgrid("search", "--outcome", "cristal")
    assert result.exit_code == 2
    assert "neither an outcome nor a group" in result.output


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("PEG 3350", "PEG 3350"),
        ("Mu\u0308ller", "ller"),
        ("ÜÄ", ""),
        ("結晶-ü", "結晶-"),
        ("Кристалл 7", " 7"),
        ("ガ", ""),
    ],
)
def test_what_any_database_finds(text, sure):
    assert sure_part(text) == sure


@pytest.mark.parametrize("typed", ["Müller", "MÜLLER", "Mu\u0308ller", "ü"])
def test_neither_case_nor_the_way_to_write_a_letter_matters(xtalgrid, system, inspect, typed):
    """SQLite makes small letters of ASCII's alone; macOS writes ü as two characters. Both found nothing."""
    inspect(1, {1: 0.9, 2: 0.9, 3: 0.9})
    wells = [Well(1, col, 0) for col in (1, 2, 3)]
    samples = ("Müller-Kinase", "Mu\u0308ller-Kinase", "Mueller-Kinase")
    system.ledger.contents.record(
        [Contents("CI022987", well, sample=sample) for well, sample in zip(wells, samples, strict=True)]
    )
    words = ("--outcome", "crystal", "--group-by", "drop")
    expected = {"CI022987 A1a", "CI022987 A2a"}
    assert {keys[0] for keys, *_ in found(xtalgrid, *words, "--sample", typed)} == expected
    for well in wells[:2]:
        note = DropNote(barcode="CI022987", well=well._replace(subwell=1), kind="note", text="von Frau MÜLLER",
                        who="ann", at=INSPECTED, key=f"note {well.col}")  # fmt: skip
        system.ledger.drop_notes.add(note)
    assert {keys[0] for keys, *_ in found(xtalgrid, *words, "--note", typed)} == expected


def test_a_project_has_one_name_however_its_letters_are_written(system):
    first, second = (
        Contents("CI022987", Well(1, col, 0), project=name) for col, name in ((1, "Bl\u00fc"), (2, "Blu\u0308"))
    )
    system.ledger.contents.record([first, second])
    assert system.ledger.projects.all() == {"CI022987": frozenset({"Bl\u00fc"})}
