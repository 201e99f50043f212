"""Scores that a page's script kept: stored once, in order, with their person, or refused for good."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.ledger.database import now
from xtalgrid_server.web.pages.scoring import PersonScoring

from .conftest import token_of

WELL = "/well/CI022987/3/A1a"


def typed(n, outcome="clear", image=1, **more):
    return {"key": f"{n:032x}", "image": image, "score": image, "outcome": outcome, **more}


def send(client, *scores, who="anna", **fields):
    text = json.dumps(scores)
    return client.fill("/corrections/typed", WELL, who=who, scores=text, **fields)


@pytest.fixture
def made(system):
    def read(image_id=1):
        return [(one.outcome, one.who) for one in system.ledger.corrections.of_images([image_id])[image_id]]

    return read


def test_what_is_sent_again_is_stored_once(client, score, made):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    batch = typed(1, "bad-form"), typed(2, "clear", image=2), typed(3, "harvestable")
    for _ in range(3):
        answered = send(client, *batch)
        assert [(each["refused"], each["warning"]) for each in answered.json()["results"]] == [("", "")] * 3
    assert made() == [(Outcome.BAD_FORM, "anna"), (Outcome.HARVESTABLE, "anna")]
    assert made(2) == [(Outcome.CLEAR, "anna")]


def test_a_score_reaches_the_score_table_although_the_viewer_was_killed_between(
    visit, configured, score, score_table, made, monkeypatch
):
    """The browser sends it again: it is in the ledger already, and not in the imager's table."""
    score({(1, 1): Outcome.CLEAR})
    client = visit(configured("write_scores = true"))
    with monkeypatch.context() as killed:
        killed.setattr(PersonScoring, "_write", lambda *_: None)
        send(client, typed(1, "harvestable"))
    assert made() == [(Outcome.HARVESTABLE, "anna")] and score_table() == []
    for _ in range(2):
        assert send(client, typed(1, "harvestable")).json()["results"][0]["warning"] == ""
        assert [(code, by) for _, code, _, by in score_table()] == [("23", "anna")]
    send(client, typed(2, "clear"))
    send(client, typed(1, "harvestable"))  # whose answer was lost: the newer one stands
    assert [(code, by) for _, code, _, by in score_table()] == [("01", "anna")]


def test_a_key_is_remembered_also_of_a_score_that_changes_nothing(client, score, made):
    score({(1, 1): Outcome.CLEAR})
    send(client, typed(1), typed(2), typed(3, "harvestable"))
    send(client, typed(1), typed(2))  # whose answers were lost
    assert made()[-1] == (Outcome.HARVESTABLE, "anna")
    assert len(made()) == 3


def test_a_kept_score_has_the_time_when_it_was_given(client, score, system):
    score({(1, 1): Outcome.CLEAR})
    send(client, typed(1, seconds_ago=3600), typed(2, seconds_ago=-100), typed(3, seconds_ago=1e12))
    ages = [(now() - one.at).total_seconds() for one in system.ledger.corrections.of_images([1])[1]]
    assert ages == [
        pytest.approx(3600, abs=60),
        pytest.approx(0, abs=60),
    ]  # the third is older than what was said since


def test_a_score_older_than_what_the_person_said_since_is_refused(client, score, made):
    score({(1, 1): Outcome.CLEAR})
    send(client, typed(1, "harvestable"))
    answered = send(client, typed(2, "clear", seconds_ago=7200)).json()
    assert answered["results"][0]["refused"] == "You have scored this drop since: crystals harvestable."
    assert made() == [(Outcome.HARVESTABLE, "anna")]


def test_a_score_from_before_the_clock_was_set_back_forbids_no_new_one(client, score, made, system):
    score({(1, 1): Outcome.CLEAR})
    system.ledger.corrections.add(1, Outcome.CLEAR, "anna", at=now() + timedelta(days=300))
    answered = send(client, typed(1, "harvestable"), typed(2, "clear", seconds_ago=7200)).json()
    assert [each["refused"] for each in answered["results"]] == [
        "",
        "You have scored this drop since: crystals harvestable.",
    ]
    assert made()[-1] == (Outcome.HARVESTABLE, "anna")


def test_undoing_brings_back_what_was_before_and_nothing_else(client, score, made):
    score({(1, 1): Outcome.CLEAR})
    send(client, typed(1, "bad-form"), typed(2, "precipitate"), typed(3, "", undoes=f"{2:032x}"))
    assert made()[-1] == (Outcome.BAD_FORM, "anna")
    answered = send(client, typed(4, "", undoes=f"{2:032x}")).json()
    assert answered["results"][0]["refused"].startswith("There is nothing to undo")
    send(client, typed(3, "", undoes=f"{2:032x}"))
    assert len(made()) == 3
    send(client, typed(5, "", undoes=f"{1:032x}"))
    assert made()[-1] == (None, "anna")
    assert send(client, typed(6, "", undoes="")).json()["results"][0]["refused"].startswith("There is nothing to undo")
    assert "undone" in client.get(WELL).text.partition("Score history")[2]


@pytest.mark.parametrize(
    "wrong",
    [
        typed(1, "rim"),
        typed(1, "undecided"),
        typed(1, "<script>"),
        typed(1, image=4711),
        typed(1) | {"score": 2},
        typed(1) | {"score": 4711},
        typed(1, "", undoes=""),
    ],
)
def test_what_is_no_score_of_an_image_is_refused_and_the_others_are_stored(client, score, made, wrong):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    first, second = send(client, wrong, typed(2, image=2)).json()["results"]
    assert first["refused"] and not second["refused"]
    assert made() == [] and made(2) == [(Outcome.CLEAR, "anna")]


@pytest.mark.parametrize(
    "scores",
    ["", "{}", "[1]", '[{"key": "1"}]', json.dumps([typed(1) | {"image": 2**63}]), json.dumps([typed(1)] * 101)],
)
def test_what_is_no_list_of_scores_is_refused_whole(client, score, made, scores):
    score({(1, 1): Outcome.CLEAR})
    assert client.fill("/corrections/typed", WELL, who="anna", scores=scores).status_code == 422
    assert made() == []


def test_too_much_at_once_is_refused(client, score, made):
    score({(1, 1): Outcome.CLEAR})
    assert send(client, typed(1) | {"note": "x" * 70_000}).status_code == 413
    assert made() == []


def test_only_the_viewers_own_pages_send_scores(client, score, made):
    score({(1, 1): Outcome.CLEAR})
    fields = {"who": "anna", "scores": json.dumps([typed(1)])}
    client.get(WELL)
    json_please = {"accept": "application/json"}
    for token, headers, refusal in (
        ("", {}, (403, "Not allowed")),
        ("0" * 64, {}, (403, "Not allowed")),
        (token_of(client.get(WELL).text), {"origin": "http://evil.example"}, (403, "Not allowed")),
    ):
        answered = client.post(
            "/corrections/typed", data={"form_token": token, **fields}, headers=headers | json_please
        )
        assert (answered.status_code, answered.json()["title"]) == refusal
    assert made() == []


def test_nobody_sends_under_another_name(client, visit, score, made):
    score({(1, 1): Outcome.CLEAR})
    answered = client.post(
        "/corrections/typed",
        data={"form_token": token_of(client.get(WELL).text), "who": "ben", "scores": json.dumps([typed(1)])},
        headers={"accept": "application/json"},
    )
    assert (answered.status_code, answered.json()["text"]) == (401, "Sign in as ben to save these scores.")
    assert send(visit(address="10.0.0.9"), typed(1), who="").status_code == 403  # guests save nothing
    assert send(visit(address="10.0.0.9"), typed(1)).status_code == 401
    assert made() == []


def test_a_key_belongs_to_one_score(client, visit, with_user, score, system, made):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    system.ledger.corrections.add(1, Outcome.CLEAR, "ben", key=f"{1:032x}")
    for other in (typed(1, "harvestable"), typed(1, "harvestable", image=2)):
        assert send(client, other).json()["results"][0]["refused"] == "Another score has this key."
    assert made() == [(Outcome.CLEAR, "ben")] and made(2) == []


def test_a_score_table_that_does_not_answer_costs_no_score(visit, configured, score, made, system):
    score({(1, 1): Outcome.CLEAR})
    client = visit(configured("write_scores = true"))
    with system.imager._engine.begin() as connection:
        system.imager.tables.scores.drop(connection)
    (told,) = send(client, typed(1)).json()["results"]
    assert "Your score is saved here but could not be written" in told["warning"] and not told["refused"]
    assert made() == [(Outcome.CLEAR, "anna")]


def test_the_score_table_has_one_row_of_a_person_whatever_is_sent_again(visit, configured, score, score_table):
    score({(1, 1): Outcome.CLEAR})
    client = visit(configured("write_scores = true"))
    for _ in range(2):
        send(client, typed(1, "harvestable"), typed(2, "harvestable"), typed(3, "precipitate"))
    assert [(code, by) for _, code, _, by in score_table()] == [("13", "anna")]


# ---- scores of earlier versions that may be on the wrong drop


def test_operations_list_scores_given_within_half_a_second_of_another_drop(client, score, system):
    score({(col, 1): Outcome.CLEAR for col in range(1, 6)})
    at = datetime(2026, 3, 1, 10, 0, 0)
    quick = [(1, "anna", 0.0), (2, "anna", 0.4), (3, "anna", 0.95), (4, "ben", 1.0), (4, "ben", 1.2), (5, "anna", 9)]
    for image, who, seconds in quick:
        outcome = Outcome.CLEAR if seconds != 1.2 else Outcome.HARVESTABLE
        system.ledger.corrections.add(image, outcome, who, at=at + timedelta(seconds=seconds))
    section = client.get("/operations").text.partition('id="hurried"')[2].partition("</section>")[0]
    assert section.startswith('>Scores to look at again <span class="count">2<')
    assert [f"/well/CI022987/3/A{n}a" in section for n in range(1, 6)] == [True, True, False, False, False]
    send(client, typed(1), typed(2, image=3))  # looked at again, and given by the version that stores them right
    section = client.get("/operations").text.partition('id="hurried"')[2].partition("</section>")[0]
    assert section.startswith('>Scores to look at again <span class="count">1<')
    assert '<th scope="row"><a href="/well/CI022987/3/A2a"' in section


def test_quick_scores_of_this_version_are_listed_apart(client, score, system):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    system.ledger.corrections.add(1, Outcome.CLEAR, "anna", at=datetime(2026, 3, 1))
    assert "look at again" not in client.get("/operations").text
    send(client, typed(1, seconds_ago=10), typed(2, image=2, seconds_ago=9.7))
    page = client.get("/operations").text
    assert 'look at again <span class="count">0<' in page
    assert "2 quick scores of the last 30 days, stored on the right drop" in page
