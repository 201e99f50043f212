"""Marks, notes and favourites in the ledger: stored once, undone by entries that can be undone too."""

from __future__ import annotations

import csv
import io
from datetime import datetime

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xtalgrid_core.errors import LedgerError
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.drop_notes import DropNote
from xtalgrid_server.ledger.marks import Mark, box_mark, outline_mark
from xtalgrid_server.reports.entries import Filter, drops

AT = datetime(2026, 11, 29, 12)
A1 = Well(1, 1, 1)


def point(image_id=1, x=10.0, y=20.0, **values):
    return Mark(**{"image_id": image_id, "kind": "point", "x": x, "y": y, "who": "anna", "at": AT, **values})


def note(text, key, kind="note", who="anna"):
    return DropNote(barcode="CI022987", well=A1, kind=kind, text=text, who=who, at=AT, key=key)


@pytest.fixture
def marks(system, score):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    return system.ledger.marks


def test_marks_come_back_as_they_were_stored(marks):
    polygon = ((10.0, 10.0), (30.5, 12.0), (20.0, 40.0))
    given = [
        point(word="needle", meaning=Outcome.BAD_FORM, note="  thin ", key="a" * 32),
        box_mark(100, 50, 20, 10, image_id=1, who="ben", at=AT, word="crystal", meaning=Group.CRYSTAL),
        outline_mark(polygon, image_id=2, who="labelme", at=AT, given_by="program", origin="A1.json", origin_id="7"),
    ]
    assert marks.add(given) == 3
    needle, box = marks.of_image(1).standing
    assert (needle.kind, needle.x, needle.y, needle.word, needle.meaning) == (
        "point",
        10,
        20,
        "needle",
        "crystals bad form",
    )
    assert (needle.note, needle.key, needle.sha256 != "") == ("thin", "a" * 32, True)
    assert (box.x, box.y, box.left, box.top, box.meaning) == (110, 55, 100, 50, Group.CRYSTAL)
    outline = marks.of_plates(["CI022987"])[2][0]
    assert outline.polygon == polygon
    assert (outline.left, outline.top, outline.width, outline.height) == (10, 10, 20.5, 30)
    assert (outline.origin, outline.origin_id, outline.given_by) == ("A1.json", "7", "program")


def test_what_comes_again_is_stored_once_also_after_it_was_removed(marks):
    again = [point(), point(key="b" * 32), box_mark(1, 2, 3, 4, image_id=1, who="anna", at=AT)]
    assert marks.add(again) == 3
    assert marks.add([*again, point(at=datetime(2026, 12, 1))]) == 0
    marks.undo(marks.of_image(1).standing[0].id, "anna", "c" * 32, AT)
    assert marks.add(again) == 0
    assert len(marks.of_image(1).standing) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": float("nan")},
        {"y": -1.0},
        {"x": 1e9},
        {"kind": "box"},
        {"kind": "box", "width": 0.0, "height": 5.0},
        {"kind": "outline", "width": 5.0, "height": 5.0, "polygon": ((1.0, 1.0), (2.0, 2.0))},
        {"kind": "outline", "width": 5.0, "height": 5.0, "polygon": ((1.0, 1.0), (2.0, 2.0), (3.0, float("inf")))},
        {"who": " "},
    ],
)
def test_a_mark_that_has_no_place_is_refused_with_the_others(marks, wrong):
    with pytest.raises(ValueError, match="a mark can't be stored"):
        marks.add([point(), point(**wrong)])
    with pytest.raises(LedgerError, match="no image 4711"):
        marks.add([point(), point(4711)])
    assert marks.of_image(1) == ([], [], 0)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=12), st.integers(0, 10**9))
def test_what_stands_is_what_was_not_undone_last(marks, steps, run):
    """Undoing an entry ends it; if it had itself undone one, that one is back."""
    before = {mark.key for mark in marks.of_image(1).standing}
    stands: dict[str, bool] = {}
    undoes: dict[str, str] = {}
    for n, (adds, which) in enumerate(steps):
        key = f"{run}-{len(before)}-{n}-{len(marks.of_image(1).removed)}"
        if adds or not stands:
            marks.add([point(key=key)])
            stands[key] = True
            continue
        target = list(stands)[which % len(stands)]
        entry = marks.row_with_key(target).id
        if not stands[target]:
            with pytest.raises(LedgerError, match="undone already"):
                marks.undo(entry, "anna", key, AT)
            continue
        for _ in range(2):  # the second is the same one, sent again
            marks.undo(entry, "anna", key, AT)
        stands[key], stands[target], undoes[key] = True, False, target
        if target in undoes:
            stands[undoes[target]] = True
    expected = {key for key, is_standing in stands.items() if is_standing and key not in undoes}
    assert {mark.key for mark in marks.of_image(1).standing} - before == expected


def test_a_removed_mark_says_who_removed_it(marks):
    marks.add([point(who="yolo", given_by="program")])
    marks.undo(1, "ben", "d" * 32, AT)
    ((mark, by),) = marks.of_image(1).removed
    assert (mark.who, by.who, by.key) == ("yolo", "ben", "d" * 32)


def test_notes_and_favourites_belong_to_the_drop(system, score):
    score({(1, 1): Outcome.CLEAR})
    notes = system.ledger.drop_notes
    for _ in range(2):
        notes.add(note("grew over night", "1"))
        notes.add(note("", "2", "favourite"))
    notes.add(note("", "3", "favourite"))
    notes.add(note("", "4", "favourite", "ben"))
    of_drop = notes.of_plates(["CI022987"])["CI022987", A1]
    assert [(one.kind, one.who) for one in of_drop] == [("note", "anna"), ("favourite", "anna"), ("favourite", "ben")]
    assert notes.plates_with("OVER") == {"CI022987"}
    notes.undo(of_drop[0].id, "anna", "5", AT)
    notes.undo(of_drop[1].id, "anna", "6", AT)
    assert [one.who for one in notes.of_plates(["CI022987"])["CI022987", A1]] == ["ben"]
    assert notes.plates_with("over") == set()
    assert notes.favourite("CI022987", A1, "anna") is None
    with pytest.raises(LedgerError, match="needs a text"):
        notes.add(note(" ", "7"))


def test_the_migration_makes_the_tables_as_they_are_described(system):
    import alembic.autogenerate
    import alembic.migration

    from xtalgrid_server.ledger import tables

    with system.ledger._db.reading() as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        differences = alembic.autogenerate.compare_metadata(context, tables.metadata)
    assert [each for each in differences if "marks" in str(each) or "drop_notes" in str(each)] == []


def test_drops_are_found_by_notes_and_favourites(system, score):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    system.ledger.drop_notes.add(note("Soak in halides", "1"))
    system.ledger.drop_notes.add(note("", "2", "favourite"))
    for chosen, found in (
        (Filter(note="soak"), [A1]),
        (Filter(favourites=True), [A1]),
        (Filter(note="soak", favourites=True, sample="x"), []),
        (Filter(note="freeze"), []),
        (Filter(), [A1, Well(1, 2, 1)]),
    ):
        assert [drop[0].best.image.well for drop in drops(system.ledger, chosen)] == found, chosen
    system.ledger.drop_notes.undo(2, "anna", "3", AT)
    assert list(drops(system.ledger, Filter(favourites=True))) == []


def test_the_command_lists_marks_with_micrometres(system, score, config):
    score({(1, 1): Outcome.CLEAR})
    system.ledger.marks.add([box_mark(250, 10, 20, 20, image_id=1, who="anna", at=AT, word="crystal", note="=1+1")])
    answered = CliRunner().invoke(main, ["--home", str(config.home), "marks", "CI022987"])
    (line,) = csv.DictReader(io.StringIO(answered.output))
    assert [line[name] for name in ("x_px", "y_px", "width_px", "x_um", "y_um", "width_um")] == [
        *("260.0", "20.0", "20.0"),
        *("113.0", "-113.0", "22.6"),
    ]
    assert (line["well"], line["what"], line["note"], line["who"]) == ("A1a", "crystal", "'=1+1", "anna")
