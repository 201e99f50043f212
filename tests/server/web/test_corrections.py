"""People's scores: in the ledger with their name, and in the imager's score table where the lab wants it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.ledger import tables as t
from xtalgrid_server.ledger.undoable import NothingToUndo
from xtalgrid_server.web.pages.scoring import score_keys

from .conftest import PLATE, token_of

WELL = "/well/CI022987/3/A1a"


@pytest.fixture
def said(system):
    def read(image_id=1):
        return [
            (one.outcome, one.who, one.score_id) for one in system.ledger.corrections.of_images([image_id])[image_id]
        ]

    return read


def test_a_score_goes_to_the_ledger_with_its_name_and_on_to_the_next_drop(client, score, said, score_table):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    done = client.fill(
        "/corrections", WELL, image=1, score=1, outcome="bad-form", then="/well/CI022987/3/A2a", here=WELL
    )
    assert (done.status_code, done.headers["location"]) == (303, "/well/CI022987/3/A2a")
    stayed = client.fill("/corrections", WELL, image=1, score=1, outcome="harvestable", then="/", here=WELL, stay=1)
    assert stayed.headers["location"] == WELL
    assert said() == [(Outcome.BAD_FORM, "anna", 1), (Outcome.HARVESTABLE, "anna", 1)]
    assert score_table() == []  # not without viewer.write_scores
    page = client.get(WELL).text
    assert "<strong>crystals harvestable</strong> by anna" in page and "differs from the ARTscore" in page
    assert "Last: CI022987 A1a" in page


def test_undo_brings_back_what_was_said_before(client, score, said):
    score({(1, 1): Outcome.CLEAR})
    for outcome in ("bad-form", "precipitate"):
        client.fill("/corrections", WELL, image=1, score=1, outcome=outcome)
    done = client.fill("/corrections/undo", WELL, then=f"{PLATE}?order=best")
    address = done.headers["location"]
    assert address.startswith(f"{WELL}?order=best&undone=")
    assert "Undone: CI022987 A1a, precipitate. Your score of it is now: crystals bad form." in client.get(address).text
    assert [outcome for outcome, *_ in said()] == [Outcome.BAD_FORM, Outcome.PRECIPITATE, Outcome.BAD_FORM]
    client.fill("/corrections", WELL, image=1, outcome="")  # taken back
    assert said()[-1][0] is None
    client.fill("/corrections/undo", WELL, then=WELL)
    assert said()[-1][0] is Outcome.BAD_FORM


def test_undo_goes_back_as_far_as_one_likes(client, score, said):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    for image, outcome in ((1, "bad-form"), (2, "clear"), (1, "harvestable"), (2, "precipitate")):
        client.fill("/corrections", WELL, image=image, score=image, outcome=outcome)
    for first, second in (
        (Outcome.HARVESTABLE, Outcome.CLEAR),
        (Outcome.BAD_FORM, Outcome.CLEAR),
        (Outcome.BAD_FORM, None),
        (None, None),
    ):
        assert client.fill("/corrections/undo", WELL, then=WELL).status_code == 303
        assert (said(1)[-1][0], said(2)[-1][0]) == (first, second)
    assert client.fill("/corrections/undo", WELL, then=WELL).headers["location"] == WELL
    assert "Last:" not in client.get(WELL).text
    assert (len(said(1)), len(said(2))) == (4, 4)


def test_undone_twice_at_once_is_undone_once(system, score, said):
    """Both requests have read what to undo before either writes."""
    score({(1, 1): Outcome.CLEAR})
    corrections = system.ledger.corrections
    given = corrections.add(1, Outcome.BAD_FORM, "anna")
    corrections.add(1, None, "anna", undoes=given.id)
    for key in (None, "f" * 32):
        with pytest.raises(NothingToUndo, match="undone already"):
            corrections.add(1, None, "anna", undoes=given.id, key=key)
    older = corrections.add(1, Outcome.CLEAR, "anna")
    corrections.add(1, Outcome.HARVESTABLE, "anna")
    with pytest.raises(NothingToUndo, match="changed since"):
        corrections.add(1, None, "anna", undoes=older.id)
    assert [outcome for outcome, *_ in said()] == [Outcome.BAD_FORM, None, Outcome.CLEAR, Outcome.HARVESTABLE]


def test_undo_is_of_the_browser_that_gave_the_score(visit, score, said):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    one, other = visit(), visit()
    one.fill("/corrections", WELL, image=1, score=1, outcome="harvestable")
    other.fill("/corrections", WELL, image=2, score=2, outcome="precipitate")
    assert "Last: CI022987 A1a" in one.get(WELL).text
    one.fill("/corrections/undo", WELL, then=WELL)
    assert [said(image)[-1][0] for image in (1, 2)] == [None, Outcome.PRECIPITATE]
    assert "Last:" not in one.get(WELL).text


def test_undo_is_of_the_score_that_the_page_names(client, score, said):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    client.fill("/corrections", WELL, image=1, score=1, outcome="harvestable")
    given = re.search(r'name="given" value="(\d+)"', client.get(WELL).text).group(1)
    client.fill("/corrections", WELL, image=2, score=2, outcome="precipitate")  # on another page
    client.fill("/corrections/undo", WELL, then=WELL, given=given)
    assert [said(image)[-1][0] for image in (1, 2)] == [None, Outcome.PRECIPITATE]
    again = client.fill("/corrections/undo", WELL, then=WELL, given=given)
    assert again.status_code == 503 and "was undone already" in again.text
    assert [len(said(image)) for image in (1, 2)] == [2, 1]


def test_nobody_undoes_anothers_score(client, visit, with_user, score, said, system):
    score({(1, 1): Outcome.CLEAR})
    made = system.ledger.corrections.add(1, Outcome.HARVESTABLE, "ben")
    assert client.fill("/corrections/undo", WELL, then=WELL, given=made.id).status_code == 503
    assert "Undone" not in client.get(f"{WELL}?undone={made.id}").text
    assert [each[:2] for each in said()] == [(Outcome.HARVESTABLE, "ben")]


def test_undo_without_anything_said_changes_nothing(client, score, said):
    score({(1, 1): Outcome.CLEAR})
    assert client.fill("/corrections/undo", WELL, then=WELL).headers["location"] == WELL
    assert said() == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"image": 1, "outcome": "rim"}, 422),
        ({"image": 1, "outcome": "undecided"}, 422),
        ({"image": 1, "outcome": "<script>"}, 422),
        ({"outcome": "clear"}, 422),
        ({"image": "1; drop table", "outcome": "clear"}, 422),
        ({"image": 4711, "outcome": "clear"}, 404),
    ],
)
def test_what_is_no_score_of_an_image_is_refused(client, score, said, fields, status):
    score({(1, 1): Outcome.CLEAR})
    assert client.fill("/corrections", WELL, **fields).status_code == status
    assert said() == []


def test_by_policy_a_score_is_a_row_of_the_score_table_in_the_persons_name(
    visit, configured, system, score, score_table, person
):
    (row,) = score({(1, 1): Outcome.CLEAR})
    person(row.inspect_id, "13", datetime(2012, 11, 22))  # jdoe's, which nobody touches
    client = visit(configured("write_scores = true"))
    client.fill("/corrections", WELL, image=1, score=1, outcome="harvestable")
    jdoe, anna = score_table()
    assert (anna[0], anna[1], anna[3]) == (row.inspect_id, "23", "anna")
    assert (
        abs((datetime.now(UTC).replace(tzinfo=None) - anna[2]).total_seconds()) < 120
    )  # the imager's zone is UTC here
    (kept,) = system.ledger.corrections.of_images([1])[1]
    assert kept.written_id and kept.written_at
    client.fill("/corrections", WELL, image=1, score=1, outcome="precipitate")
    assert [(code, by) for _, code, _, by in score_table()] == [("13", "jdoe"), ("13", "anna")]  # theirs is replaced
    client.fill("/corrections", WELL, image=1, outcome="")
    assert score_table() == [jdoe]
    client.fill("/corrections", WELL, image=1, outcome="")
    assert score_table() == [jdoe]


def test_a_score_table_that_does_not_answer_costs_no_score(visit, configured, score, said, system):
    score({(1, 1): Outcome.CLEAR})
    client = visit(configured("write_scores = true"))
    with system.imager._engine.begin() as connection:
        system.imager.tables.scores.drop(connection)
    answered = client.fill("/corrections", WELL, image=1, outcome="harvestable")
    assert answered.status_code == 503
    assert "Your score is saved here but could not be written to the imager" in answered.text
    assert [outcome for outcome, *_ in said()] == [Outcome.HARVESTABLE]


def test_a_score_that_missed_the_table_leaves_none_before_it_there(visit, configured, system, score, score_table):
    score({(1, 1): Outcome.CLEAR})
    client = visit(configured("write_scores = true"))
    client.fill("/corrections", WELL, image=1, outcome="harvestable")
    name = system.imager.tables.scores.name

    def rename(old: str, new: str) -> None:
        with system.imager._engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    rename(name, "away")
    assert client.fill("/corrections", WELL, image=1, outcome="other").status_code == 503
    rename("away", name)
    assert [code for _, code, *_ in score_table()] == ["23"]
    client.fill("/corrections", WELL, image=1, outcome="precipitate")
    assert [code for _, code, *_ in score_table()] == ["13"]
    client.fill("/corrections", WELL, image=1, outcome="")
    assert score_table() == []


@pytest.mark.parametrize("then", [("harvestable", "23"), ("precipitate", "13"), ("", None)])
def test_a_row_that_was_written_but_not_noted_has_no_second_one_beside_it(
    visit, configured, system, score, score_table, then
):
    (row,) = score({(1, 1): Outcome.CLEAR})
    with system.imager.writing() as writer:  # hers of another day, given in XtalTrak
        writer.insert(row.inspect_id, "23", datetime(2012, 11, 22), "anna", row.image_name)
    client = visit(configured("write_scores = true"))
    client.fill("/corrections", WELL, image=1, outcome="harvestable")
    with system.ledger._db.writing() as connection:  # as if the viewer was killed after the commit
        connection.execute(t.corrections.update().values(written_id=None, written_at=None))
    outcome, code = then
    client.fill("/corrections", WELL, image=1, outcome=outcome)
    assert [found for _, found, *_ in score_table()] == ["23", *([code] if code else [])]


def test_a_score_of_a_deleted_inspection_is_kept_here_and_not_written(
    visit, configured, score, said, system, score_table
):
    (row,) = score({(1, 1): Outcome.CLEAR})
    client = visit(configured("write_scores = true"))
    with system.imager._engine.begin() as connection:
        connection.execute(system.imager.tables.inspections.delete())
    answered = client.fill("/corrections", WELL, image=1, outcome="harvestable")
    assert answered.status_code == 503
    assert f"inspection {row.inspect_id} is not in the imager database any more" in answered.text
    assert [outcome for outcome, *_ in said()] == [Outcome.HARVESTABLE]
    assert score_table() == []


def test_digits_are_the_labs_codes_where_they_are_two_digits(config, configured):
    assert {key.digits: key.outcome for key in score_keys(config)}["23"] is Outcome.HARVESTABLE
    assert len({key.digits for key in score_keys(config)}) == 12


OWN = """scores = [
  { name = "needles", outcome = "crystals bad form", key = "1", colour = "#102030", code = "N1" },
  { name = "3D crystals", outcome = "crystals harvestable", key = "t", code = "N3" },
  { name = "nothing", outcome = "clear", code = "00" },
]
write_scores = true"""


def test_a_labs_own_scores_have_its_names_keys_colours_and_codes(visit, configured, score, said, score_table):
    score({(1, 1): Outcome.CLEAR})
    client = visit(configured(OWN))
    page = client.get(WELL).text
    assert re.findall(r'value="([^"]+)" data-digits="(\w*)" data-key="(\w*)"', page) == [
        ("bad-form/N1", "1", ""),
        ("harvestable/N3", "", "t"),
        ("clear/00", "", ""),
    ]
    assert ".own-N1 { --colour: #102030; --ink: #ffffff; }" in client.get("/looks.css").text
    client.fill("/corrections", WELL, image=1, score=1, outcome="bad-form/N1")
    assert said()[-1][0] is Outcome.BAD_FORM
    assert [code for _, code, *_ in score_table()] == ["N1"]
    page = client.get(WELL).text
    assert "<strong>needles</strong> by anna" in page and "Last: CI022987 A1a, <strong>needles</strong>" in page
    assert re.search(r'value="bad-form/N1"[^>]*aria-pressed="true"', page)
    client.fill("/corrections", WELL, image=1, score=1, outcome="clear/00")
    client.fill("/corrections/undo", WELL, then=WELL)
    assert [code for _, code, *_ in score_table()] == ["N1"]
    assert client.fill("/corrections", WELL, image=1, outcome="clear/N1").status_code == 422


def test_a_code_of_the_labs_own_set_is_read_from_the_score_table(visit, configured, score, system, person):
    config = configured(OWN)
    assert config.outcome("N3") is Outcome.HARVESTABLE
    assert config.own_name("N3") == "3D crystals"
    assert config.outcome("23") is Outcome.HARVESTABLE and config.own_name("23") == ""


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ('{ name = "x", outcome = "crystal" }', "'x' has the unknown outcome 'crystal'"),
        ('{ name = "x", outcome = "rim" }', "'x' has the unknown outcome 'rim'"),
        ('{ name = "x", outcome = "clear", key = "u" }', "the key 'u', which has a use already"),
        ('{ name = "x", outcome = "clear", key = "v" }', "the key 'v', which has a use already"),
        ('{ name = "x", outcome = "clear", key = "g" }', "the key 'g', which has a use already"),
        ('{ name = "x", outcome = "clear", key = "é" }', "viewer.scores"),
        ('{ name = "x", outcome = "clear", colour = "red" }', "viewer.scores"),
        ('{ name = "x", outcome = "clear" }, { name = "y", outcome = "clear" }', "the code '01' is used twice"),
        (
            '{ name = "x", outcome = "clear", key = "k" }, { name = "y", outcome = "other", key = "k" }',
            "the key 'k' is used twice",
        ),
    ],
)
def test_a_set_of_scores_that_cannot_be_told_apart_is_refused(configured, scores, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)):
        configured(f"scores = [{scores}]")


def test_the_form_of_a_reader_is_not_there(visit, score):
    score({(1, 1): Outcome.CLEAR})
    page = visit(address="10.0.0.9").get(WELL).text
    assert 'action="/corrections"' not in page
    assert token_of(page) == ""
