"""What needs a person: the order of review and its stop, the inbox, held scores; and what can be taken away."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.imported_scores import ImportedScore
from xtalgrid_server.ledger.shapes import DropImage
from xtalgrid_server.web.app import create_app
from xtalgrid_server.web.pages.drops import drop_cards, find_stop
from xtalgrid_server.web.query_parameters import heat_kind

from ..conftest import INSPECTED, answer, draw_well
from .conftest import PLATE, row, token_of

WELL = "/well/CI022987/3/A1a"


def drop(n, p_crystal):
    outcome = Outcome.CLEAR if p_crystal is not None else None
    image = DropImage(
        n,
        "P",
        1,
        INSPECTED,
        Well(1, n, 1),
        "",
        n,
        n,
        outcome,
        0.9,
        p_crystal or 0.0,
        INSPECTED,
        "",
        "",
        *(None,) * 4,
        False,
    )
    return drop_cards([image])[0]


@pytest.mark.parametrize(
    ("chances", "line", "above", "left", "words"),
    [
        ([0.5, 0.5], 5, 2, 0.0, ""),
        ([1.0, 0.04, 0.01], 5, 1, 0.05, "0.1 crystals are expected in the 2 drops below: one in every 40 drops"),
        ([1.0, 0.04, 0.01], 2, 2, 0.01, "Hardly any crystal is expected in the drop below"),
        ([0.05, 0.0499], 5, 1, 0.0499, "Hardly any crystal is expected in the drop below"),
        ([0.9, 0.4, 0.4], 50, 1, 0.8, "0.8 crystals are expected in the 2 drops below: one in every 2 drops"),
        ([0.015] * 144, 5, 0, 2.16, "2.2 crystals are expected in the 144 drops below: one in every 67 drops"),
        ([None, 1.0], 5, 1, 0.0, ""),
        ([], 5, 0, 0.0, ""),
        ([None], 5, 0, 0.0, ""),
    ],
)
def test_a_review_may_stop_where_the_next_drops_chance_is_below_the_line(chances, line, above, left, words):
    stop = find_stop([drop(n, p) for n, p in enumerate(chances, 1)], line)
    assert stop.above == above
    assert stop.expected == pytest.approx(sum(p or 0 for p in chances))
    assert stop.left == pytest.approx(left)
    assert stop.words == words


def test_the_review_strip_says_where_to_stop_and_how_far_people_came(client, enter):
    chances = [0.9, 0.8, 0.03, 0.01, 0.01]
    rows = [row(f"{n}.jpg", inspect_id=n, well=Well(1, n, 1)) for n in range(1, 6)]
    enter(rows, [answer(n, Outcome.CLEAR, p_crystal=p) for n, p in enumerate(chances)])
    page = client.get(f"{PLATE}?order=best").text
    before, line, after = page.partition("Below this line a drop's chance of a crystal is under 5 %.")
    assert line and before.count('class="tile') == 2 and after.count('class="tile') == 3
    assert "0.1 crystals are expected in the 3 drops below: one in every 60 drops." in after
    assert "Next unscored: A1a" in page and "0 of 2 drops with" in page
    well = client.get("/well/CI022987/3/A3a?order=best").text
    assert "below the line at 5 %. 0.1 crystals are expected in the 3 drops below" in well
    client.fill("/corrections", WELL, image=1, score=1, outcome="clear")  # it moves to the end, and still counts
    page = client.get(f"{PLATE}?order=best").text
    assert "Next unscored: A2a" in page and "1 of 2 drops with" in page


def test_the_line_is_the_persons_and_stays_theirs(client, enter):
    rows = [row(f"{n}.jpg", inspect_id=n, well=Well(1, n, 1)) for n in range(1, 4)]
    enter(rows, [answer(n, Outcome.CLEAR, p_crystal=p) for n, p in enumerate([0.3, 0.03, 0.01])])
    assert "No drop's chance of a crystal reaches 50 %." in client.get(f"{PLATE}?order=best&until=50").text
    for wrong in ("", "&until=7", "&until=x"):
        assert "No drop's chance of a crystal reaches 50 %." in client.get(f"{PLATE}?order=best{wrong}").text
    assert "the line at 50 %" in client.get("/well/CI022987/3/A3a?order=best").text
    client.get(f"{PLATE}?order=best&until=2")
    assert "is under 2 %." in client.get(f"{PLATE}?order=best").text
    assert "2 have a chance of a crystal of at least 2 %. Hardly any" in client.get(f"{PLATE}/best.html").text
    api = client.get("/api/plates/CI022987/3", params={"line": 20}).json()
    assert (api["above_line"], round(api["expected_below"], 2)) == (1, 0.04)


def test_people_differences_and_heat(client, score):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.HARVESTABLE, (3, 1): Outcome.CLEAR}, p_crystal=0.31)
    for each, code in ((1, "harvestable"), (2, "bad-form")):
        client.fill("/corrections", WELL, image=each, score=each, outcome=code)
    people = client.get(f"{PLATE}?show=people").text
    tiles = re.findall(r'class="tile o-([\w-]+)( dim)?" href="/well/CI022987/3/(\w+)', people)
    assert tiles == [("harvestable", "", "A1a"), ("bad-form", "", "A2a"), ("unsaid", "", "A3a")]
    differences = client.get(f"{PLATE}?show=disagreement").text
    tiles = re.findall(r'class="tile o-[\w-]+( dim)?" href="/well/CI022987/3/(\w+)', differences)
    assert tiles == [("", "A1a"), (" dim", "A2a"), (" dim", "A3a")]  # the same group is no difference
    assert "A1a?only=differ" not in differences and "group differs" in differences
    heat = client.get(f"{PLATE}?show=heat").text
    assert heat.count('class="tile filled o-heat-8"') == 3 and '<b class="mark">31</b>' in heat
    assert "/thumbnail/320/1.jpg" not in heat and 'data-image="1"' in heat
    scale = re.findall(r'</b></span> ([^<]+) <span class="count">(\d)</span>', heat)
    assert scale[:3] == [("from 50 %", "0"), ("20 to 50 %", "3"), ("10 to 20 %", "0")] and len(scale) == 10
    assert f'href="{PLATE}?show=heat&amp;only=heat-8"' in heat


@pytest.mark.parametrize(
    ("p_crystal", "step"), [(0, 0), (0.00099, 0), (0.001, 1), (0.0199, 4), (0.02, 5), (0.4999, 8), (0.5, 9), (1, 9)]
)
def test_the_heat_map_s_scale_is_logarithmic(p_crystal, step):
    assert heat_kind(p_crystal) == f"heat-{step}"


def test_the_best_score_of_each_drop_over_all_inspections(client, score):
    """A crystal that dissolves, one that a person found, and drops that were never better than today."""
    first = {(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR, (3, 1): Outcome.PRECIPITATE, (4, 1): Outcome.CLEAR}
    score(first, inspection=3, p_crystal=0.3)
    score(dict.fromkeys(first, Outcome.CLEAR), inspection=4, inspected=datetime(2012, 11, 28), p_crystal=0.3)
    client.fill("/corrections", WELL, image=2, score=2, outcome="bad-form")
    page = client.get("/plate/CI022987/4?show=ever").text
    tiles = re.findall(r'class="tile o-([\w-]+)" href="/well/CI022987/(\d)/(\w+)\?show=ever"', page)
    assert tiles == [
        ("harvestable", "3", "A1a"), ("bad-form", "3", "A2a"), ("precipitate", "3", "A3a"), ("clear", "4", "A4a"),
    ]  # fmt: skip
    assert "insp. 3" in page
    best = client.get("/plate/CI022987/4?show=ever&order=best").text
    assert re.findall(r'class="tile o-[\w-]+" href="/well/CI022987/\d/(\w+)\?', best)[0] == "A2a"  # a person said so


# ---- the inbox


def test_new_crystals_since_this_person_looked(client, score, system):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.HARVESTABLE}, p_crystal=0.05)
    score(
        {(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR},
        inspection=4,
        inspected=datetime(2012, 11, 28),
        p_crystal=0.9,
    )
    page = client.get("/inbox").text
    pairs = re.findall(r'class="before-after">(.*?)</div>', page, re.S)
    assert len(pairs) == 2
    assert re.findall(r'href="(/well/[^"]+)"', pairs[0]) == ["/well/CI022987/3/A1a", "/well/CI022987/4/A1a"]
    assert "+7 d" in pairs[0]
    assert client.fill("/inbox/seen", "/inbox", until=until_of(client.get("/inbox").text)).status_code == 303
    page = client.get("/inbox").text
    assert "No new crystals" in page and "Since your last visit" in page
    score({(3, 1): Outcome.HARVESTABLE}, inspection=4, inspected=datetime(2012, 11, 28), p_crystal=0.9)
    assert "/well/CI022987/4/A3a" in client.get("/inbox").text


def until_of(inbox: str) -> str:
    """When a page of the inbox was made, as its form says."""
    return re.search(r'name="until" value="([^"]+)"', inbox).group(1)


def test_what_came_after_the_page_was_opened_is_not_marked_as_seen(client, score):
    score({(1, 1): Outcome.HARVESTABLE}, p_crystal=0.9)
    opened = client.get("/inbox").text
    score({(2, 1): Outcome.HARVESTABLE}, p_crystal=0.9)
    assert client.fill("/inbox/seen", "/inbox", until=until_of(opened)).status_code == 303
    page = client.get("/inbox").text
    assert "/well/CI022987/3/A2a" in page and "/well/CI022987/3/A1a" not in page


def test_a_mark_that_was_made_while_the_clock_was_ahead_hides_nothing(client, score, system):
    system.ledger.users.mark_seen("anna", datetime(2999, 1, 1))
    score({(1, 1): Outcome.HARVESTABLE}, p_crystal=0.9)
    assert "/well/CI022987/3/A1a" in client.get("/inbox").text
    assert client.fill("/inbox/seen", "/inbox", until="2999-01-01T00:00:00").status_code == 303  # it becomes now
    assert "No new crystals" in client.get("/inbox").text
    assert client.fill("/inbox/seen", "/inbox", until="soon").status_code == 422


def test_scores_newer_than_ones_own(client, score):
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR}, threshold=0.8)
    client.fill("/corrections", WELL, image=1, score=1, outcome="clear")
    client.fill("/corrections", WELL, image=2, score=2, outcome="clear-with-features")
    assert 'Rescored since you scored <span class="count">0' in client.get("/inbox").text
    score({(1, 1): Outcome.PRECIPITATE, (2, 1): Outcome.CLEAR}, threshold=0.85)
    page = client.get("/inbox").text
    assert 'Rescored since you scored <span class="count">1' in page
    part = page.partition('id="rescored"')[2].partition('id="undecided"')[0]
    assert "/well/CI022987/3/A1a" in part and "/well/CI022987/3/A2a" not in part


def test_artscores_newer_than_ones_own_score_in_xtaltrak(visit, configured, score, system):
    """A1, A2: scored before the ARTscore, as clear and as a crystal; A3: scored after it; A4: by somebody else;
    A5: before it, and as a crystal in the viewer since."""
    rows = score(dict.fromkeys([(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)], Outcome.HARVESTABLE), p_crystal=0.9)
    scored_at = system.ledger.images.of_plate("CI022987")[0].at
    before, after = (
        (scored_at + timedelta(minutes=minutes)).replace(tzinfo=UTC).astimezone(ZoneInfo("Asia/Tokyo"))
        for minutes in (-10, 10)
    )
    given = [("BEN", "01", before), ("BEN", "23", before), ("BEN", "01", after), ("ann", "01", before)]
    given += [("BEN", "01", before)]
    with system.imager.writing() as writer:
        for drop, (who, code, at) in zip(rows, given, strict=True):
            writer.insert(drop.inspect_id, code, at.replace(tzinfo=None, microsecond=0), who, "")
    system.sync()
    a5 = next(image for image in system.ledger.images.of_plate("CI022987") if image.well.col == 5)
    system.ledger.corrections.add(a5.image_id, Outcome.HARVESTABLE, "ben", score_id=a5.score_id)  # thinks better of it
    keys = 'sign_in = "proxy"\ntrusted_proxies = ["10.0.0.5"]\n[imager]\ntime_zone = "Asia/Tokyo"'
    client = visit(configured(keys), address="10.0.0.5")
    part = (
        client.get("/inbox", headers={"X-Remote-User": "ben"})
        .text.partition('id="rescored"')[2]
        .partition('id="undecided"')[0]
    )
    assert re.findall(r'href="/well/CI022987/3/(\w+)"', part) == ["A1a"]
    assert f"{scored_at - timedelta(minutes=10):%Y-%m-%d %H:%M}" in part


def test_the_undecided_until_somebody_says(client, score):
    score({(1, 1): Outcome.UNDECIDED, (2, 1): Outcome.UNDECIDED})
    client.fill("/corrections", WELL, image=1, score=1, outcome="clear")
    part = client.get("/inbox").text.partition('id="undecided"')[2]
    assert "A2a" in part and "A1a" not in part


def test_guests_see_what_is_new_and_mark_nothing(visit, score, system):
    score({(1, 1): Outcome.HARVESTABLE}, p_crystal=0.9)
    page = visit(address="10.0.0.9").get("/inbox").text
    assert "/well/CI022987/3/A1a" in page and "Mark all as seen" not in page and "Rescored" not in page


# ---- operations


@pytest.fixture
def held(visit, configured, score, system):
    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.HARVESTABLE})
    rows = [{"score_id": n, "inspect_id": n, "action": "hold", "csv_row": "{}"} for n in (1, 2)]
    system.ledger.decisions.add("r1", rows)
    return visit


def test_held_scores_are_approved_and_rejected_by_name(held, configured, system):
    client = held(configured('reviewers = ["anna"]'))
    page = client.get("/operations").text
    assert page.count('name="score"') == 2
    system.ledger.corrections.add(2, Outcome.CLEAR, "ben")
    assert page.count("ben: clear") == 0 and client.get("/operations").text.count("ben: clear") == 1
    assert client.fill("/operations/review", "/operations", verdict="approve", score=1).status_code == 303
    assert client.fill("/operations/review", "/operations", verdict="reject", score=2).status_code == 303
    reviews = system.ledger.decisions.reviews([1, 2])
    assert [(one.verdict, one.who) for one in (*reviews[1], *reviews[2])] == [("approve", "anna"), ("reject", "anna")]
    assert "No scores are held" in client.get("/operations").text
    late = {"form_token": token_of(page), "verdict": "approve", "score": 2}
    assert client.post("/operations/review", data=late).status_code == 409


def test_only_reviewers_review(held, configured, system):
    client = held(configured('reviewers = ["ben"]'))
    page = client.get("/operations").text
    assert "A1a" in page and 'name="verdict"' not in page
    assert client.fill("/operations/review", "/operations", verdict="approve", score=1).status_code == 403
    assert system.ledger.decisions.reviews([1]) == {}


def test_operations_say_what_moves_and_what_failed(client, score, system):
    score({(1, 1): Outcome.CLEAR})
    system.ledger.failures.add("x.jpg", "create_work", FailureReason.MISSING_FILE, "<b>gone</b>", row("x.jpg"))
    system.ledger.set_switch("paused", "yes", "carla")
    page = client.get("/operations").text
    assert "paused by carla" in page
    assert "&lt;b&gt;gone&lt;/b&gt;" in page and "1 missing file" in page
    assert "Scored in the last hour</dt><dd>1<" in page
    assert "2012-11-21 14:00" in page  # the imager's newest inspection


def test_metrics_for_prometheus_and_nobody_else(visit, score, config, system, configured):
    score({(1, 1): Outcome.CLEAR})
    printed = CliRunner().invoke(main, ["--home", str(config.home), "viewer", "metrics-token"]).stdout.strip()
    prometheus, client = visit(address="10.0.0.9"), visit()
    client.get("/")
    assert prometheus.get("/metrics", headers={"Authorization": f"Bearer {printed[:-1]}"}).status_code == 403
    prometheus = visit(address="10.0.0.9", app=client.app)
    lines = prometheus.get("/metrics", headers={"Authorization": f"Bearer {printed}"}).text.splitlines()
    assert "xtalgrid_lag_seconds 0.0" in lines
    assert 'xtalgrid_scores{outcome="clear"} 1.0' in lines
    assert 'xtalgrid_units{state="returned"} 1.0' in lines
    assert any(line.startswith('xtalgrid_viewer_answers_total{status="2xx"}') for line in lines)
    assert client.get("/metrics").status_code == 200  # who has signed in
    told = create_app(configured('sign_in = "users"\nmetrics_from = ["10.0.0.0/8", "127.0.0.1", "::1"]'))
    for address, status in (("10.0.0.9", 200), ("10.1.0.9", 200), ("11.0.0.9", 403)):
        assert visit(address=address, app=told).get("/metrics").status_code == status


def test_a_scored_inspection_dated_ahead_hides_no_lag(client, score, system):
    """As one imager's clock was in 2100: an alarm on the lag of the others would never have rung."""
    score({(1, 1): Outcome.CLEAR})
    score({(2, 1): Outcome.CLEAR}, inspection=4, inspected=datetime(2100, 1, 1))
    system.imager.register([replace(row("later.jpg"), inspection=5, inspected=INSPECTED + timedelta(hours=2))])
    assert "xtalgrid_lag_seconds 7200.0" in client.get("/metrics").text.splitlines()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.5"])
def test_metrics_are_not_for_everybody_behind_a_web_server(visit, configured, system, address):
    keys = 'sign_in = "users"\ntrusted_proxies = ["10.0.0.5"]\nmetrics_from = ["127.0.0.1", "::1", "10.0.0.5"]'
    refused = visit(configured(keys), address=address).get("/metrics")  # nginx's plain `proxy_pass` adds no header
    assert refused.status_code == 403 and "xtalgrid viewer metrics-token" in refused.text


# ---- to take away


def test_a_plate_as_csv(client, enter, system):
    chances = {"A1a": 0.1, "A2a": 0.9}
    rows = [row(f"{name}.jpg", "=cmd|' /C calc'!A1", n, Well(1, n, 1)) for n, name in enumerate(chances, 1)]
    enter(rows, [answer(n, Outcome.PRECIPITATE, p_crystal=p) for n, p in enumerate(chances.values())])
    system.ledger.corrections.add(2, Outcome.HARVESTABLE, "anna", score_id=2)
    system.ledger.contents.record([Contents(rows[0].barcode, Well(0, 0, 0), sample="kinase", condition="PEG; =1+1")])
    answered = client.get(f"/plate/{'%3Dcmd%7C%27%20%2FC%20calc%27%21A1'}/3/scores.csv")
    assert answered.status_code == 200
    assert answered.headers["content-disposition"] == 'attachment; filename="_cmd____C_calc__A1_3.csv"'
    lines = list(csv.DictReader(io.StringIO(answered.content.decode("utf-8-sig"))))
    assert [line["well"] for line in lines] == ["A2a", "A1a"]
    best = lines[0]
    assert (best["artscore"], best["p_crystal"], best["person"], best["person_score"]) == ("13", "0.9000", "anna", "23")
    assert best["barcode"].startswith("'=") and best["condition"] == "PEG;' =1+1"  # no spreadsheet runs it


def test_the_best_wells_in_one_file(client, score, config):
    score({(1, 1): Outcome.HARVESTABLE}, p_crystal=0.9)
    score({(2, 1): Outcome.CLEAR}, p_crystal=0.001)
    answered = client.get(f"{PLATE}/best.html")
    assert "attachment" in answered.headers["content-disposition"]
    assert answered.text.count('<img src="data:image/jpeg;base64,') == 1  # A2a is below the line
    assert "A1a" in answered.text and "http" not in re.sub(r"base64,[^\"]+", "", answered.text)


def test_the_best_wells_have_the_colour_of_a_group_that_a_person_named(client, score, system):
    score({(1, 1): Outcome.CLEAR})
    said = ImportedScore(1, "person", "ann", INSPECTED, "scored", "Crystals", Group.CRYSTAL)
    system.ledger.imported_scores.add([said])
    page = client.get(f"{PLATE}/best.html")
    assert page.status_code == 200
    assert 'style="border-color: #e0201b"' in page.text and "ann: any crystal" in page.text


def test_json_for_the_labs_programs(client, score):
    score({(1, 1): Outcome.CLEAR}, p_crystal=0.02)
    score({(2, 1): Outcome.HARVESTABLE}, p_crystal=0.9)
    assert client.get("/api/plates?q=ci02").json() == [
        {"barcode": "CI022987", "inspections": [{"number": 3, "at": "2012-11-21T14:00:00"}]}
    ]
    plate = client.get("/api/plates/CI022987/3").json()
    assert [drop["well"] for drop in plate["drops"]] == ["A2a", "A1a"]
    assert (plate["drops"][0]["score"], plate["above_line"]) == ("23", 1)
    described = client.get("/api/openapi.json").json()
    assert {"/api/plates", "/api/plates/{barcode}/{inspection}"} <= set(described["paths"])


def test_both_opinions_of_a_drop(client, score):
    score({(1, 1): Outcome.CLEAR})
    assert "opinion" not in client.get(WELL).text
    listed, table = client.get("/api/plates/CI022987/3"), client.get(f"{PLATE}/scores.csv")
    score({(2, 1): Outcome.HARVESTABLE}, combined=True)
    page = client.get("/well/CI022987/3/A2a").text
    cells = re.findall(r'class="number">(?:<strong>)?([^<]+)', page.split('id="opinions"')[1].split("</table>")[0])
    assert cells[:3] == ["ours", "MARCO", "together"]
    assert cells[3:] == ["41 %", "93 %", "83 %", "32 %", "4 %", "11 %", "19 %", "2 %", "5 %", "8 %", "1 %", "1 %"]
    both, alone = client.get("/api/plates/CI022987/3").json()["drops"]
    assert [alone] == listed.json()["drops"]
    assert both["own_groups"] == {"crystal": 0.41, "precipitate": 0.32, "other": 0.19, "clear": 0.08}
    assert both["second_opinion"] == {"crystal": 0.93, "precipitate": 0.04, "other": 0.02, "clear": 0.01}
    assert both["groups"] == {"crystal": 0.83, "precipitate": 0.11, "other": 0.05, "clear": 0.01}
    header, first, second = client.get(f"{PLATE}/scores.csv").text.splitlines()
    header_alone, only = table.text.splitlines()
    columns = (
        "own_crystal,own_precipitate,own_other,own_clear,second_crystal,second_precipitate,second_other,second_clear"
    )
    assert header == f"{header_alone},{columns}"
    assert first.endswith(",0.4100,0.3200,0.1900,0.0800,0.9300,0.0400,0.0200,0.0100")
    assert second == only + "," * 8


def test_project_sample_and_condition_find_plates(client, score, system):
    score({(1, 1): Outcome.CLEAR})
    contents = Contents("CI022987", Well(0, 0, 0), "Kinases", "PKA 12 mg/ml", "0.2 M salt")
    system.ledger.contents.record([contents])
    for text in ("kinas", "pka 12", "0.2 m SALT", "i0229"):
        page = client.get("/", params={"q": text}).text
        assert "CI022987" in page and "PKA 12 mg/ml" in page, text
    assert "No plates found" in client.get("/?q=lysozyme").text
    assert "<dd>0.2 M salt <" in client.get(WELL).text


def test_uv_mates_are_shown_beside_the_drop(client, score, system, config):
    (image,) = score({(1, 1): Outcome.CLEAR})
    mate = replace(image, image_name=image.image_name.replace("_HF_", "_UV_"))
    system.imager.register([mate])
    draw_well(config.image_root / "CI022987" / "3" / mate.image_name)
    assert 'src="/mate/1/0.jpg"' in client.get(WELL).text
    assert client.get("/mate/1/0.jpg").headers["content-type"] == "image/jpeg"
    assert client.get("/mate/1/1.jpg").status_code == 404
