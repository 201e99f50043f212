"""`/api/scores`: programs score in people's names; each score once, each accepted or refused for itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from xtalgrid_core.outcomes import Outcome

from .conftest import Visit, row

PLACE = {"barcode": "CI022987", "inspection": 3, "well": "A1a"}


@pytest.fixture
def program(client, system, score, visit) -> Visit:
    """A program of anna's, at a plate of two drops."""
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.HARVESTABLE})
    tokens = client.app.state.site.authentication.tokens
    caller = visit(client.app.state.site.config, "10.0.0.9", client.app)
    caller.headers["Authorization"] = f"Bearer {tokens.make('anna', 'robot', 'score', 30, 'anna')}"
    return caller


def send(program, *scores, path="/api/scores"):
    answer = program.post(path, json={"scores": list(scores)} if path == "/api/scores" else {"keys": list(scores)})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["accepted"] + told["refused"] == len(scores) == len(told["results"])
    return told["results"]


@pytest.fixture
def said(system):
    def read(image_id=1):
        return [
            (one.outcome, one.who, one.score_id) for one in system.ledger.corrections.of_images([image_id])[image_id]
        ]

    return read


def test_by_image_and_by_place(program, said, config):
    listed = program.get("/api/plates/CI022987/3").json()["drops"]
    first, second = sorted(listed, key=lambda drop: drop["image_id"])
    results = send(
        program,
        {"key": "a", "image_id": second["image_id"], "outcome": "crystals bad form", "score_id": second["score_id"]},
        {"key": "b", **PLACE, "well": "a1", "code": "01"},
    )
    assert [(one["refused"], one["repeated"], one["outcome"]) for one in results] == [
        (None, False, "crystals bad form"),
        (None, False, "clear"),
    ]
    assert (first["well"], results[1]["image_id"]) == ("A1a", first["image_id"])
    assert said(2) == [(Outcome.BAD_FORM, "anna", second["score_id"])]
    assert said(1)[0][1:] == ("anna", None)
    line = (config.home / "access.log").read_text().splitlines()[-1]
    assert "from=10.0.0.9 act=score result=ok" in line and 'who="anna"' in line and line.endswith('token="robot"')


def test_a_key_is_recorded_once(program, said):
    score = {"key": "a", **PLACE, "outcome": "precipitate"}
    assert [send(program, score)[0]["repeated"] for _ in range(3)] == [False, True, True]
    other = send(program, score | {"outcome": "clear"}, score | {"well": "A2a"})
    assert all("another score with this key" in one["refused"] for one in other)
    assert said() == [(Outcome.PRECIPITATE, "anna", None)] and said(2) == []


def test_keys_are_each_persons_own(program, client, said):
    tokens = client.app.state.site.authentication.tokens
    send(program, {"key": "a", **PLACE, "outcome": "clear"})
    program.headers["Authorization"] = f"Bearer {tokens.make('ben', 'robot', 'score', 30, 'anna')}"
    assert send(program, {"key": "a", **PLACE, "outcome": "precipitate"})[0]["repeated"] is False
    assert [(outcome, who) for outcome, who, _ in said()] == [(Outcome.CLEAR, "anna"), (Outcome.PRECIPITATE, "ben")]
    assert "no score with this key" in send(program, "z", path="/api/scores/undo")[0]["refused"]


def test_undo_brings_back_what_was_said_before_once(program, said):
    for key, outcome in (("a", "clear"), ("b", "precipitate"), ("c", "withdrawn")):
        assert send(program, {"key": key, **PLACE, "outcome": outcome})[0]["outcome"] == outcome
    assert "nothing to undo" in send(program, "a", path="/api/scores/undo")[0]["refused"]
    undone = send(program, "c", "b", "a", path="/api/scores/undo")
    assert [one["outcome"] for one in undone] == ["precipitate", "clear", "withdrawn"]
    again = send(program, "a", path="/api/scores/undo")[0]
    assert (again["repeated"], again["outcome"], len(said())) == (True, "withdrawn", 6)


def test_no_key_is_taken_for_another_ones_undoing(program, said):
    send(program, {"key": "a", **PLACE, "outcome": "clear"})
    send(program, "a", path="/api/scores/undo")
    assert send(program, {"key": "a\nundone", **PLACE, "outcome": "precipitate"})[0]["repeated"] is False
    assert said()[-1][0] is Outcome.PRECIPITATE


@pytest.mark.parametrize(
    ("wrong", "said_of_it"),
    [
        ({"outcome": "cristal"}, "choose from: crystals harvestable"),
        ({"outcome": "rim"}, "cannot give"),
        ({"outcome": "undecided"}, "cannot give"),
        ({"outcome": None}, "either outcome or code"),
        ({"code": "01"}, "either outcome or code"),
        ({"outcome": None, "code": "zz"}, "No score has the code"),
        ({"image_id": 1}, "either image_id"),
        ({"well": None}, "barcode, inspection and well together"),
        ({"barcode": None, "inspection": None, "well": None}, "either image_id"),
        ({"barcode": None, "inspection": None, "well": None, "image_id": 99}, "no such image"),
        ({"barcode": "NONE\x00<b>"}, "There is no plate"),
        ({"inspection": 4}, "There is no plate"),
        ({"well": "H12a"}, "has no image"),
        ({"well": "../etc"}, "is not a well"),
        ({"score_id": 2}, "another image"),
        ({"score_id": 2**53 - 1}, "another image"),
        ({"at": "2020-01-01T00:00:00Z"}, "more than 30 days ago"),
    ],
)
def test_a_refused_score_says_why_and_stops_no_other(program, said, wrong, said_of_it):
    score = {"key": "a", **PLACE, "outcome": "clear"}
    first, second = send(program, {**score, **wrong}, {"key": "b", "image_id": 2, "outcome": "clear"})
    assert said_of_it in first["refused"] and second["refused"] is None
    assert said() == [] and len(said(2)) == 1


def test_a_well_of_several_drops_is_refused_without_its_drop(program, enter, client):
    from xtalgrid_server.domain.wells import Well

    from ..conftest import answer

    rows = [row("two.jpg", inspect_id=901, well=Well(1, 1, 2))]
    enter(rows, [answer(0, Outcome.CLEAR)])
    assert (
        "name one of A1a, A1b" in send(program, {"key": "a", **PLACE, "well": "A1", "outcome": "clear"})[0]["refused"]
    )


def test_when_it_was_given_counts(program, system):
    at = datetime.now(UTC) - timedelta(hours=3)
    send(program, {"key": "a", **PLACE, "outcome": "clear", "at": at.astimezone().isoformat()})
    recorded = system.ledger.corrections.of_images([1])[1][0].at
    assert abs(recorded - at.replace(tzinfo=None)) < timedelta(seconds=1)
    older = {"key": "b", **PLACE, "outcome": "precipitate", "at": (at - timedelta(hours=1)).isoformat()}
    assert "scored this drop since" in send(program, older)[0]["refused"]
    ahead = {"key": "c", **PLACE, "outcome": "precipitate", "at": (at + timedelta(days=2)).isoformat()}
    assert send(program, ahead)[0]["refused"] is None
    assert system.ledger.corrections.of_images([1])[1][-1].at <= datetime.now(UTC).replace(tzinfo=None)


def test_a_whole_number_may_be_written_with_a_point(program):
    """JSON has one kind of number."""
    body = b'{"scores": [{"key": "a", "image_id": 1.0, "outcome": "clear"}]}'
    answer = program.post("/api/scores", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["accepted"] == 1


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b'{"scores": [', 422, "JSON"),
        (b"[" * 30_000, 400, "body"),
        (b'{"scores": []}', 422, "at least 1 item"),
        (b'{"scores": [%s]}' % b",".join([b'{"key":"a"}'] * 101), 422, "at most 100 items"),
        (b'{"scores": [{"key": "a", "image_id": "1"}]}', 422, "scores.0.image_id: Input should be a valid integer"),
        (b'{"scores": [{"key": "a", "imageid": 1}]}', 422, "scores.0.imageid: Extra inputs"),
        (b'{"scores": [{"key": "a", "\\ud800": 1}]}', 422, "unicode"),
        (b'{"scores": [{"key": "a", "\\u202e<b>": 1}]}', 422, "Extra inputs"),
        (b'{"scores": [{"key": "\\ud800", "image_id": 1}]}', 422, "scores.0.key"),
        (b'{"scores": [{"key": "a", "image_id": true}]}', 422, "valid integer"),
        (b'{"scores": [{"key": "a", "image_id": 1.5}]}', 422, "valid integer"),
        (b'{"scores": [{"key": "a", "at": 0}]}', 422, "should be text"),
        (b'{"scores": [{"key": "a", "image_id": 9007199254740992}]}', 422, "less than or equal"),
        (b'{"scores": [{"key": "a", "at": "2026-11-29T10:00:00"}]}', 422, "timezone"),
        (b'{"scores": [{"key": "a", "image_id": %s}]}' % (b"9" * 5000), 400, "body"),
        (b'{"scores": [{"key": "a", "image_id": NaN}]}', 422, "image_id"),
        (b" " * 65537, 413, "64 kB"),
    ],
)
def test_a_request_that_cannot_be_read_records_nothing(program, said, body, status, text):
    answer = program.post("/api/scores", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and text in answer.json()["text"], answer.text
    assert set(answer.json()) == {"title", "text"} and said() == []


def test_a_form_is_not_taken(program):
    answer = program.post("/api/scores", data={"scores": "[]"})
    assert answer.status_code == 415 and "Content-Type" in answer.json()["text"]


def test_errors_of_addresses_are_json_too(program):
    for answer in (
        program.get("/api/plates/NONE/1"),
        program.get("/api/nothing"),
        program.get("/api/plates?limit=0"),
        program.delete("/api/scores"),
    ):
        assert answer.status_code in (404, 405, 422) and set(answer.json()) == {"title", "text"}
    assert "limit: Input should be greater" in program.get("/api/plates?limit=0").json()["text"]


def test_scores_of_programs_reach_the_score_table_as_those_of_browsers(configured, visit, system, score, score_table):
    score({(1, 1): Outcome.CLEAR})
    config = configured("write_scores = true")
    client = visit(config)
    token = client.app.state.site.authentication.tokens.make("anna", "robot", "score", 30, "anna")
    client.headers["Authorization"] = f"Bearer {token}"
    send(client, {"key": "a", **PLACE, "outcome": "precipitate"})
    assert [line[-1] if isinstance(line, tuple) else line for line in score_table()]
    send(client, "a", path="/api/scores/undo")
    assert score_table() == []


def test_the_labs_own_set_is_taken_by_its_codes(configured, visit, system, score):
    score({(1, 1): Outcome.CLEAR})
    keys = '[[viewer.scores]]\nname = "needles"\noutcome = "crystals bad form"\nkey = "e"\ncode = "N1"\n'
    client = visit(configured(keys))
    token = client.app.state.site.authentication.tokens.make("anna", "robot", "score", 30, "anna")
    client.headers["Authorization"] = f"Bearer {token}"
    results = send(client, {"key": "a", **PLACE, "code": "N1"}, {"key": "b", **PLACE, "code": "01"})
    assert results[0]["outcome"] == "crystals bad form" and "choose from: N1" in results[1]["refused"]
    assert [one.code for one in system.ledger.corrections.of_images([1])[1]] == ["N1"]


def test_the_description_is_openapi_and_says_what_is_answered(program):
    from openapi_spec_validator import validate

    description = program.get("/api/openapi.json").json()
    validate(description)
    post = description["paths"]["/api/scores"]["post"]
    assert post["security"] == [{"token": []}]
    assert {"200", "400", "401", "403", "413", "415", "422", "429", "503"} <= set(post["responses"])
    image_id, _ = description["components"]["schemas"]["ScoreGiven"]["properties"]["image_id"]["anyOf"]
    assert (image_id["minimum"], image_id["maximum"]) == (1, 2**53 - 1)
    page = program.get("/docs").text
    assert "/api/scores/undo" in page and "ScoreGiven" in page and "Takes: ScoresGiven" in page
