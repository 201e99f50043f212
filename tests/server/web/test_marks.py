"""Marks, notes and favourites in the viewer: by the page's script and by plain forms, for people with a name only."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.ledger.database import now
from xtalgrid_server.ledger.marks import box_mark
from xtalgrid_server.web.pages.marking import Typed

from ..conftest import answer
from .conftest import PASSWORD, PLATE, row

WELL = "/well/CI022987/3/A1a"


def entry(n, what="mark", **values):
    return {"key": f"{n:032x}", "image": 1, "what": what, **values}


def send(client, *entries, who="anna"):
    return client.fill("/marks/typed", WELL, who=who, entries=json.dumps(entries))


def refusals(answered):
    return [each["refused"] for each in answered.json()["results"]]


@pytest.fixture
def marks(system, score):
    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR})

    def read(image_id=1):
        return [(one.kind, one.x, one.y, one.who) for one in system.ledger.marks.of_image(image_id).standing]

    return read


def test_marks_are_stored_once_and_undone_from_the_last_to_the_first(client, marks):
    point, box = entry(1, x=30.5, y=200), entry(2, x=40, y=50, width=20, height=10, kind="needles")
    assert refusals(send(client, point, entry(2, x=40, y=50, width=20, height=10, kind="any-crystal"))) == ["", ""]
    assert refusals(send(client, point, entry(3, "undo", undoes=f"{2:032x}"))) == ["", ""]
    assert marks() == [("point", 30.5, 200, "anna")]
    send(client, entry(4, "undo", undoes=f"{3:032x}"), entry(3, "undo", undoes=f"{2:032x}"))
    assert marks() == [("point", 30.5, 200, "anna"), ("box", 40, 50, "anna")]
    assert refusals(send(client, box | {"key": f"{9:032x}"}))[0] == "A mark cannot be called this."
    assert "nothing to undo" in refusals(send(client, entry(5, "undo", undoes=f"{3:032x}")))[0]


def test_a_mark_says_where_it_is_from_the_centre_of_the_well(client, marks):
    send(client, entry(1, x=260, y=20, width=20, height=10, kind="any-crystal", note="<b>sharp</b>"))
    page = client.get(WELL).text  # 320 × 240 pixels of 1.13 µm
    assert "260, 20 px · 113 µm right, 113 µm up · 23 × 11 µm" in page
    assert "&lt;b&gt;sharp&lt;/b&gt;" in page
    drop = client.get("/api/plates/CI022987/3").json()["drops"][0]
    assert (drop["marks"][0]["x_um"], drop["marks"][0]["y_um"]) == (pytest.approx(113), pytest.approx(-113))


def test_a_guessed_scale_gives_no_micrometres(client, enter, system):
    said = msgspec.structs.replace(answer(0, Outcome.CLEAR), pixel_size_origin="guessed")
    enter([row("guessed.jpg")], [said])
    client.fill("/marks", "/well/CI022987/3/H12a", what="mark", image="1", x="10", y="10", then="/")
    page = client.get("/well/CI022987/3/H12a").text
    assert "10, 10 px</span>" in page and 'data-guessed-um="1.13"' in page
    assert client.get("/api/plates/CI022987/3").json()["drops"][0]["marks"][0]["x_um"] is None


def test_plain_forms_mark_note_and_remove(client, marks, system):
    form = {"image": "1", "then": WELL}
    assert client.fill("/marks", WELL, what="mark", x="5", y="6.5", **form).headers["location"].endswith(WELL)
    client.fill("/marks", WELL, what="note", text=" grew over night ", **form)
    client.fill("/marks", WELL, what="favourite", on="1", **form)
    page = client.get(WELL).text
    assert "5, 6 px" in page and "grew over night" in page and 'id="favourite" aria-pressed="true"' in page
    key = system.ledger.marks.of_image(1).standing[0].key
    client.fill("/marks", WELL, what="undo", undoes=key, **form)
    assert marks() == [] and "removed by anna" in client.get(WELL).text
    (undoing,) = [by for _, by in system.ledger.marks.of_image(1).removed]
    client.fill("/marks", WELL, what="undo", undoes=undoing.key, **form)
    assert marks() == [("point", 5, 6.5, "anna")]
    client.fill("/marks", WELL, what="favourite", on="0", **form)
    assert 'aria-pressed="false">★' in client.get(WELL).text
    log = (system.config.home / "access.log").read_text()
    assert log.count('act=mark result=ok who="anna" barcode="CI022987" inspection=3 well="A1a"') == 6


def test_favourites_and_notes_are_seen_on_the_plate_found_and_exported(client, marks):
    send(client, entry(1, "favourite", on=True), entry(2, "note", text="soak this one"), entry(3, x=1, y=1))
    page = client.get(PLATE).text
    assert page.count("★") >= 2 and "favourite of anna" in page and "anna: soak this one" in page
    filtered = client.get(f"{PLATE}?favourites=only&order=best").text
    assert 'data-well="A1a"' in filtered and 'data-well="A2a"' not in filtered
    assert "CI022987" in client.get("/?q=SOAK").text
    table = list(csv.DictReader(io.StringIO(client.get(f"{PLATE}/scores.csv").text.lstrip("\ufeff"))))
    by_well = {line["well"]: line for line in table}
    assert [by_well["A1a"][name] for name in ("favourite_of", "notes", "marks")] == ["anna", "anna: soak this one", "1"]
    assert [by_well["A2a"][name] for name in ("favourite_of", "notes", "marks")] == ["", "", ""]
    drops = {drop["well"]: drop for drop in client.get("/api/plates/CI022987/3").json()["drops"]}
    assert (drops["A1a"]["favourite_of"], drops["A1a"]["notes"][0]["text"]) == (["anna"], "soak this one")


def test_nobody_removes_another_persons_mark_but_that_of_a_program(visit, with_user, marks, system):
    system.ledger.marks.add(
        [
            box_mark(1, 2, 3, 4, image_id=1, who="anna", at=now()),
            box_mark(9, 9, 3, 4, image_id=1, who="yolo", given_by="program", origin="a.json", at=now()),
        ]
    )
    annas, yolos = (one.key for one in system.ledger.marks.of_image(1).standing)
    ben, guest = visit(with_user), visit(with_user)
    ben.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    answered = send(ben, entry(1, "undo", undoes=annas), entry(2, "undo", undoes=yolos), who="ben")
    assert ["somebody else" in each for each in refusals(answered)] == [True, False]
    assert [who for *_, who in marks()] == ["anna"]
    assert "somebody else" in refusals(send(ben, entry(3, "undo", undoes=annas, image=2), who="ben"))[0]
    assert refusals(send(ben, {**entry(4, x=1, y=1), "key": f"{5:032x}"}, who="ben")) == [""]
    assert refusals(send(visit(), entry(5, x=2, y=2))) == ["Another entry has this key."]
    ben.fill("/marks", WELL, what="undo", image="1", undoes=f"{5:032x}")
    assert guest.fill("/marks", WELL, what="mark", image="1", x="1", y="1").status_code == 403
    assert 'class="entry' not in guest.get(WELL).text and "yolo; removed by ben" in guest.get(WELL).text


@pytest.mark.parametrize(
    "wrong",
    [
        entry(1, x=-1, y=2),
        entry(1, x=1, y=2, width=1e9),
        entry(1, "note", text=""),
        entry(1, "note", text="x" * 1001),
        entry(1, "shout", text="x"),
        {**entry(1, x=1, y=2), "image": 2**63},
        {**entry(1, x=1, y=2), "key": "../1"},
    ],
)
def test_what_is_no_entry_is_refused_whole(client, marks, wrong):
    assert send(client, entry(2, x=1, y=1), wrong).status_code == 422
    assert marks() == []


@pytest.mark.parametrize("wrong", [{"image": 4711}, {"kind": "clear"}, {"kind": "<b>"}])
def test_what_cannot_be_marked_is_refused_and_the_others_are_stored(client, marks, wrong):
    first, second = refusals(send(client, {**entry(1, x=1, y=2), **wrong}, entry(2, x=3, y=4)))
    assert first and not second and len(marks()) == 1


@pytest.mark.parametrize("fields", [{"x": "nan", "y": "1"}, {"x": "1"}, {"x": "a", "y": "1"}, {"x": "1", "y": "9e999"}])
def test_a_plain_form_without_a_place_is_refused_with_a_reason(client, marks, fields):
    answered = client.fill("/marks", WELL, what="mark", image="1", **fields)
    assert answered.status_code == 422 and "This form cannot be used" in answered.text
    assert marks() == []


def test_best_chops_are_confirmed_once_and_those_on_the_wall_are_not_offered(client, enter, system):
    said = answer(0, Outcome.HARVESTABLE)
    wall = wire.BestChop(box=(0, 0, 80, 107), outcome=Outcome.HARVESTABLE, probability=0.9)
    outline = ((70, 100), (70, 220), (170, 220), (170, 100))
    drop = msgspec.structs.replace(said.drop, outline=outline)
    enter([row("A1.jpg")], [msgspec.structs.replace(said, boxes=(*said.boxes, wall), drop=drop)])
    page = client.get("/well/CI022987/3/H12a").text
    assert page.count("Confirm chop") == 2 and "Confirm chop 2" not in page  # a title and a label
    assert "Left out: 1 that shows mostly what is outside the drop." in page
    chop = {"x": "159.5", "y": "120.0", "width": "107", "height": "80", "kind": "harvestable"}
    client.fill("/marks", "/well/CI022987/3/H12a", what="mark", image="1", **chop)
    page = client.get("/well/CI022987/3/H12a").text
    assert "✓ marked" in page and "Confirm chop" not in page and "crystals harvestable" in page


def test_marks_by_programs_are_hidden_with_the_artscore(client, marks, system):
    system.ledger.marks.add(
        [box_mark(9, 9, 3, 4, image_id=1, who="yolo", given_by="program", word="needles", at=now())]
    )
    client.get(f"{PLATE}?art=hide")
    assert "needles" not in client.get(WELL).text
    client.get(f"{PLATE}?art=show")
    assert "needles" in client.get(WELL).text


def test_kept_entries_name_their_kind():
    """What scripts of an earlier version keep in browsers is understood: the names in it do not change."""
    kept = b'{"key":"%032x","image":1,"what":"favourite","on":true,"seconds_ago":2.5}' % 7
    assert msgspec.json.decode(kept, type=Typed).on is True
