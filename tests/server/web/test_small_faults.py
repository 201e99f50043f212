"""What people stumbled over: each of these pages once said something else than the rest, or nothing."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ImagerError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.images import FileState
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.reports.status import status, status_lines
from xtalgrid_server.steps.step import step

from ..conftest import answer
from .conftest import OUTCOMES, PASSWORD, PLATE, row


@pytest.mark.parametrize(
    "address",
    ["/", PLATE, "/well/CI022987/3/A1a", "/inbox", "/operations", "/healthz", "/looks.css", "/api/plates", "/docs"],
)
def test_head_answers_as_get_does_without_the_body(client, score, address):
    score(OUTCOMES)
    whole, head = client.get(address), client.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert int(head.headers["content-length"]) == pytest.approx(len(whole.content), rel=0.01)


def test_head_changes_nothing(client, score, system):
    score(OUTCOMES)
    assert client.head("/corrections").status_code == 405
    assert client.head("/nothing").status_code == 404


def test_a_page_that_is_not_there_knows_who_asks(visit, with_user):
    client = visit(with_user)
    client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD, then="/")
    for missing in ("/nothing", "/plate/NONE/1", "/plate/NONE/x"):
        page = client.get(missing)
        assert page.status_code == 404
        assert 'data-visitor="ben"' in page.text and "Guest" not in page.text


@pytest.mark.parametrize(("barcode", "inspection"), [("CI000001\r\n", 3), ("A/B\nC", -1)])
def test_every_plate_that_is_listed_has_its_pages(client, enter, barcode, inspection):
    enter([replace(row("a.jpg", barcode), inspection=inspection)], [answer(0, Outcome.CLEAR)])
    plate = re.search(r'href="(/plate/[^"]+)"', client.get("/").text).group(1)
    well = plate.replace("/plate/", "/well/") + "/H12a"
    for address in (plate, well, f"{plate}/scores.csv", f"/api{plate.replace('/plate/', '/plates/')}"):
        assert client.get(address).status_code == 200


def test_the_pages_of_the_api_name_every_address_and_field(client, score):
    score(OUTCOMES)
    page = client.get("/docs").text
    described = client.get("/api/openapi.json").json()
    for path in described["paths"]:
        assert f"<code>{path}</code>" in page
    for field in client.get("/api/plates/CI022987/3").json()["drops"][0]:
        assert f"<code>{field}</code>" in page
    assert "Calibrated probability of a crystal" in page


# ---- held scores


@pytest.fixture
def hold(enter, system):
    """``hold(n)``: n drops with held scores."""

    def put(number):
        images = [row(f"{n}.jpg", inspect_id=n, well=Well(1, n, 1)) for n in range(1, number + 1)]
        enter(images, [answer(n, Outcome.HARVESTABLE) for n in range(number)])
        rows = [
            {"score_id": n, "inspect_id": n, "action": "hold", "csv_row": json.dumps({})} for n in range(1, number + 1)
        ]
        system.ledger.decisions.add("r1", rows)

    return put


def test_nothing_chosen_is_no_late_decision(client, hold, system):
    hold(2)
    answered = client.fill("/operations/review", "/operations", verdict="approve")
    assert answered.status_code == 422
    assert "Nothing was changed: tick the scores to approve first." in answered.text
    assert answered.text.count('name="score"') == 2  # the page is still there
    assert system.ledger.decisions.reviews([1, 2]) == {}


def test_a_held_score_says_of_which_inspection_it_is(client, hold):
    hold(1)
    assert "inspection 3, 2012-11-21" in client.get("/operations").text.partition('id="held"')[2]


def test_operations_and_metrics_say_which_step_stopped(client, system):
    for name in ("create_work", "sync"):
        with contextlib.suppress(ImagerError), step(system.config, name):
            if name == "sync":
                raise ImagerError("the imager <database> is away")
    page, metrics = client.get("/operations").text, client.get("/metrics").text
    assert "UTC, and was not done since: the imager &lt;database&gt; is away" in page
    assert re.search(r"Last runs: create_work \d+ s ago, sync \d+ s ago", page)
    assert "xtalgrid_stopped_steps 1.0" in metrics
    assert 'xtalgrid_last_run_seconds{step="create_work"}' in metrics


def test_status_operations_and_metrics_count_the_same_held_scores(client, hold, system):
    hold(204)
    client.fill("/operations/review", "/operations", verdict="approve", score=1)
    page = client.get("/operations").text
    assert "<dt>Held</dt><dd>203</dd>" in page and "The newest 200 of 203." in page
    assert "xtalgrid_held_scores 203.0" in client.get("/metrics").text
    read = status(system.config, system.ledger, system.imager)
    assert read.held == 203
    assert any(line.startswith("to review   203 held scores") for line in status_lines(read))


# ---- failures that were mended


def test_a_file_that_was_replaced_after_it_failed_waits_everywhere(client, enter, system):
    bad = wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail="half of it")
    enter([row("1.jpg", inspect_id=1, well=Well(1, 1, 1))], [bad])
    figures = r'class="number">(?:<[^>]+>)?(\d+)'
    assert re.findall(figures, client.get("/").text) == ["1", "0", "0", "1", "0"]
    system.ledger.units.record_files([(1, FileState("e" * 64, 1, 1))], "create_work")
    assert re.findall(figures, client.get("/").text) == ["1", "0", "0", "0", "1"]
    assert "half of it" not in client.get(PLATE).text
    assert "half of it" not in client.get("/well/CI022987/3/A1a").text
    counted = status(system.config, system.ledger, system.imager).account
    assert (counted.waiting, counted.failed) == (1, 0)


def test_a_missing_file_that_came_back_is_no_failure_any_more(client, system):
    image = row("1.jpg", inspect_id=1, well=Well(1, 1, 1))
    system.ledger.failures.add("1.jpg", "create_work", FailureReason.MISSING_FILE, "not there", image)
    figures = r'class="number">(?:<[^>]+>)?(\d+)'
    assert re.findall(figures, client.get("/").text) == ["1", "0", "0", "1", "0"]
    system.ledger.units.record_files([(1, FileState("d" * 64, 1, 1))], "create_work")
    assert re.findall(figures, client.get("/").text) == ["1", "0", "0", "0", "1"]
    assert "not there" not in client.get(PLATE).text


# ---- the inbox


def test_plates_of_the_archive_are_no_news(client, enter):
    ahead = datetime.now() + timedelta(days=9000)
    plates = ("OLD1", datetime(2008, 3, 1)), ("NEW1", datetime(2012, 11, 21)), ("AHEAD", ahead)
    for n, (barcode, inspected) in enumerate(plates):
        images = [
            replace(row(f"{barcode}{col}.jpg", barcode, 10 * n + col, Well(1, col, 1)), inspected=inspected)
            for col in (1, 2)
        ]
        enter(images, [answer(0, Outcome.HARVESTABLE, p_crystal=0.9), answer(1, Outcome.UNDECIDED, p_crystal=0.1)])
    page = client.get("/inbox").text
    assert "/well/NEW1/3/A1a" in page and "/well/NEW1/3/A2a" in page
    assert "OLD1" not in page
    assert "photographed since 2012-08-23" in page
    older = client.get("/inbox?older=1").text
    assert "/well/OLD1/3/A1a" in older and "/well/OLD1/3/A2a" in older


def test_a_failure_in_the_list_of_scores_is_no_0_percent(client, enter):
    enter([row("broken.jpg")], [wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail="half of it")])
    page = client.get("/well/CI022987/3/H12a").text
    (line,) = re.findall(r"<tr>(?:(?!</tr>).)*ARTscore(?:(?!</tr>).)*</tr>", page, re.DOTALL)
    assert "ailed" in line and "0 %" not in line
