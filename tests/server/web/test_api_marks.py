"""`/api/marks`: programs mark crystals in people's names, list marks, and remove those they may."""

from __future__ import annotations

import pytest

from tests.system.viewer import fill_plate
from xtalgrid_core.outcomes import Outcome

from .conftest import Visit

PLACE = {"barcode": "CI022987", "inspection": 3, "well": "A1a"}
POINT = {"key": "a", **PLACE, "x": 20, "y": 10.5}


def bearer(app, who, scope="score", label=""):
    return {"Authorization": f"Bearer {app.state.site.authentication.tokens.make(who, label, scope, 30, 'anna')}"}


@pytest.fixture
def program(visit, config, system) -> Visit:
    """A program of anna's, at a plate of two drops with pictures."""
    fill_plate(system, "CI022987", [Outcome.CLEAR, Outcome.HARVESTABLE], [0.1, 0.9], inspection=3)
    caller = visit(config, "10.0.0.9")
    caller.headers.update(bearer(caller.app, "anna", label="robot"))
    return caller


def send(program, *marks, **more):
    answer = program.post("/api/marks", json={"marks": list(marks)}, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def listed(program):
    return program.get("/api/marks/CI022987/3").json()


def test_points_and_boxes_are_recorded_once_and_listed(program, config):
    box = {"key": "b", "image_id": 2, "x": 30, "y": 40, "width": 8, "height": 6, "what": "any crystal", "note": "<b>"}
    first, second = send(program, POINT, box)
    assert (first["refused"], second["refused"]) == (None, None)
    assert [one["repeated"] for one in send(program, POINT, box)] == [True, True]
    assert "another mark with this key" in send(program, POINT | {"x": 21})[0]["refused"]
    a, b = listed(program)
    assert (a["mark"], a["well"], a["kind"], a["x"], a["y"], a["who"]) == (
        first["mark"],
        "A1a",
        "point",
        20,
        10.5,
        "anna",
    )
    assert (b["image_id"], b["width"], b["height"], b["what"], b["note"]) == (2, 8, 6, "any crystal", "<b>")
    assert a["at"].endswith(("Z", "+00:00")) and a["origin"] == "viewer"
    lines = [line for line in (config.home / "access.log").read_text().splitlines() if "act=mark" in line]
    assert len(lines) == 2 and all(line.endswith('token="robot"') for line in lines)


def test_a_mark_is_removed_once_and_can_be_removed_again_when_brought_back(program, system):
    name = send(program, POINT)[0]["mark"]
    assert program.delete(f"/api/marks/{name}").json() == {"mark": name, "repeated": False}
    assert program.delete(f"/api/marks/{name}").json() == {"mark": name, "repeated": True}
    assert listed(program) == []
    _, undoing = system.ledger.marks.of_image(1).removed[0]
    entry = system.ledger.marks.row_with_key(undoing.key)
    system.ledger.marks.undo(entry.id, "anna", "f" * 32, undoing.at)  # as a person does in the viewer
    assert len(listed(program)) == 1
    assert program.delete(f"/api/marks/{name}").json()["repeated"] is False
    assert listed(program) == []


def test_nobody_removes_anothers_mark_or_without_the_right(program):
    name = send(program, POINT)[0]["mark"]
    other = program.delete(f"/api/marks/{name}", headers=bearer(program.app, "ben"))
    assert other.status_code == 403 and "somebody else" in other.json()["text"]
    reading = bearer(program.app, "anna", "read")
    assert program.delete(f"/api/marks/{name}", headers=reading).status_code == 403
    assert program.post("/api/marks", json={"marks": [POINT]}, headers=reading).status_code == 403
    assert program.get("/api/marks/CI022987/3", headers=reading).status_code == 200
    for wrong in ("0" * 32, "..", "%00", "<b>", "x" * 65):
        assert program.delete(f"/api/marks/{wrong}").status_code in (404, 405, 422), wrong
    assert len(listed(program)) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"x": 99_000}, "outside the picture"),
        ({"width": 5}, "Give width and height"),
        ({"width": 0, "height": 0}, "Give width and height"),
        ({"what": "cristal"}, "choose from"),
        ({"well": "H12a"}, "has no image"),
        ({"image_id": 1}, "either image_id"),
    ],
)
def test_a_refused_mark_says_why_and_stops_no_other(program, wrong, said):
    first, second = send(program, POINT | wrong, {"key": "b", "image_id": 2, "x": 1, "y": 1})
    assert said in first["refused"] and second["refused"] is None
    assert [one["image_id"] for one in listed(program)] == [2]


@pytest.mark.parametrize(
    "wrong", [{"x": "20"}, {"x": -1}, {"y": 1e9}, {"x": None}, {"note": "n" * 501}, {"colour": "red"}, {"width": True}]
)
def test_a_mark_that_is_not_as_described_is_refused_whole(program, wrong):
    answer = program.post("/api/marks", json={"marks": [{"key": "b", "image_id": 2, "x": 1, "y": 1}, POINT | wrong]})
    assert answer.status_code == 422 and "marks.1." in answer.json()["text"]
    assert listed(program) == []
