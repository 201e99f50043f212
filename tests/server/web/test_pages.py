"""What a crystallographer sees of plates and wells."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from tests.conftest import CHOP_BY_CHOP
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.database import now
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.score_rules import best_of_inspection

from ..conftest import answer
from .conftest import OUTCOMES, PLATE, address_of, row


def test_plates_with_what_needs_eyes(client, score, system):
    score(OUTCOMES)
    score({(1, 1): Outcome.CLEAR}, inspection=4, inspected=datetime(2012, 11, 28))
    page = client.get("/").text
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.S)[1:]
    figures = [re.findall(r'class="number">(?:<[^>]+>)?(\d+)', each) for each in rows]
    assert len(rows) == 1  # a plate is one row, with its newest inspection
    assert "4 · <time" in rows[0] and "2012-11-28" in rows[0] and '<a href="/plate/CI022987/3"' in rows[0]
    assert figures == [["1", "0", "0", "0", "0"]]
    score({(1, 1): Outcome.CLEAR}, inspection=2, inspected=datetime(2013, 1, 2), image="UV")
    assert "2013-01-02" in client.get("/").text  # what came since is read on


def test_a_plates_row_counts_what_needs_eyes(client, score, system):
    score(OUTCOMES)
    system.ledger.failures.add("x.jpg", "create_work", FailureReason.MISSING_FILE, "not there", row("x.jpg"))
    figures = re.findall(r'class="number">(?:<[^>]+>)?(\d+)', client.get("/").text)
    assert figures == ["6", "1", "1", "1", "0"]


def test_no_plates_yet_says_what_to_do(client):
    assert "xtalgrid demo" in client.get("/").text


def test_plates_are_found_by_a_part_of_the_barcode(client, score):
    score({(1, 1): Outcome.CLEAR})
    assert "CI022987" in client.get("/?q=ci02").text
    assert "No plates found" in client.get("/?q=100%").text  # a percent sign is no wildcard
    assert client.get("/?page=zzz").status_code == 200


def test_the_plate_has_its_geometry_frames_and_labels(client, score):
    score(OUTCOMES)
    page = client.get(PLATE).text
    assert re.findall(r'<th scope="col">(\w+)</th>', page) == ["1", "2", "3"]
    assert re.findall(r'<th scope="row">(\w+)</th>', page) == ["A", "B"]
    assert 'class="tile o-harvestable" href="/well/CI022987/3/A2a"' in page
    assert 'alt="A2a · crystals harvestable 95 % · crystal 50 %"' in page
    assert 'alt="B1a · undecided 50 % · crystal 50 %"' in page  # for those who don't see it
    assert page.count('loading="lazy"') == 5
    assert page.count('class="hole"') == 1  # B3: no image of it


def test_the_legend_counts_and_filters(client, score):
    score(OUTCOMES)
    page = client.get(PLATE).text
    assert re.search(
        r'href="/plate/CI022987/3\?only=harvestable">.*?crystals harvestable <span class="count">1', page, re.S
    )
    chosen = client.get(f"{PLATE}?only=harvestable&only=undecided&only=nonsense").text
    assert len(re.findall(r'class="tile o-[\w-]+ dim"', chosen)) == 3
    assert "/well/CI022987/3/A2a?only=harvestable&amp;only=undecided" in chosen  # the wells stay in the choice
    assert "Show all" in chosen


def test_best_first(client, enter):
    chances = {"A1a": 0.1, "A2a": 0.9, "A3a": 0.5}
    rows = [row(f"{name}.jpg", inspect_id=n, well=Well(1, n, 1)) for n, name in enumerate(chances, 1)]
    enter(rows, [answer(n, Outcome.CLEAR, p_crystal=p) for n, p in enumerate(chances.values())])
    page = client.get(f"{PLATE}?order=best").text
    assert re.findall(r'class="well">(\w+)<', page) == ["A2a", "A3a", "A1a"]
    well = client.get("/well/CI022987/3/A3a?order=best").text  # and the arrows go that way
    assert re.search(r'id="previous"[^>]*href="/well/CI022987/3/A2a\?order=best"', well)
    assert re.search(r'id="next"[^>]*href="/well/CI022987/3/A1a\?order=best"', well)


def test_of_a_drops_images_that_one_is_shown_whose_score_is_published(client, enter, system):
    """Both are precipitate; the finalizer publishes the likelier one, though the other may rather be a crystal."""
    rows = [row("a.jpg"), row("b.jpg")]
    said = [answer(0, Outcome.PRECIPITATE, 0.7, p_crystal=0.3), answer(1, Outcome.PRECIPITATE, 0.9, p_crystal=0.1)]
    enter(rows, said)
    published = best_of_inspection(system.ledger.scores.newest(system.ledger.decisions.inspections_due(0)))
    assert (published.image_name, published.probability) == ("b.jpg", 0.9)
    assert 'alt="H12a · precipitate 90 % · crystal 30 % · 2 images"' in client.get(PLATE).text


@pytest.mark.parametrize(("subwells", "columns", "abreast"), [(3, 8, 1), (3, 12, 2), (1, 12, 1)])
def test_few_and_many_drops_fill_the_window(client, enter, subwells, columns, abreast):
    rows_used = 1 if columns == 8 else 8
    wells = [
        Well(r, c, s) for r in range(1, rows_used + 1) for c in range(1, columns + 1) for s in (1, 3, 4)[:subwells]
    ]
    rows = [row(f"{well}.jpg", inspect_id=n, well=well) for n, well in enumerate(wells, 1)]
    enter(rows, [answer(n, Outcome.CLEAR) for n in range(len(rows))])
    page = client.get(PLATE).text
    assert f"wide-abreast-{abreast} " in page
    assert page.count('class="tile') == len(wells)


def test_failed_images_are_shown_with_their_reason(client, score, enter, system):
    score(OUTCOMES)
    enter([row("broken.jpg")], [wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail="ends & breaks")])
    missing = row("missing.jpg", inspect_id=901, well=Well(7, 12, 1))
    system.ledger.failures.add("missing.jpg", "create_work", FailureReason.MISSING_FILE, "it is not there", missing)
    page = client.get(PLATE).text
    assert "truncated image" in page and "ends &amp; breaks" in page
    assert "missing file" in page and "it is not there" in page
    assert page.count('class="tile o-failed"') == 2
    for name in ("H12a", "G12a"):
        well = client.get(f"/well/CI022987/3/{name}")
        assert well.status_code == 200
        picture = client.get(address_of(well.text, "image"))
        assert picture.status_code == 404
        assert picture.headers["content-type"] == "image/svg+xml"  # a placeholder in its place
        assert "missing file" in picture.text


def test_an_image_that_waits(client, system):
    waiting = [PlannedImage(row("new.jpg"), "d" * 64)]
    entry = wire.ImageEntry(number=0, file="000.jpg", inspect_id=900, sha256="d" * 64)
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64, **CHOP_BY_CHOP)
    system.ledger.units.add(
        wire.Manifest(schema=1, unit="xg_new", min_worker="0.1.0", options=options, images=(entry,)), waiting
    )
    assert "not scored yet" in client.get(PLATE).text
    assert "No worker has scored this image yet" in client.get("/well/CI022987/3/H12a").text


def test_the_well_shows_all_that_is_known(client, score):
    score({(1, 1): Outcome.HARVESTABLE}, threshold=0.8)
    score({(1, 1): Outcome.CLEAR}, threshold=0.85, p_crystal=0.012)
    score({(1, 1): Outcome.CLEAR}, inspection=4, inspected=datetime(2012, 11, 28))
    page = client.get("/well/CI022987/3/A1a").text
    assert '<svg class="overlay" viewBox="0 0 320 240"' in page
    assert '<rect class="line" x="106" y="80" width="107" height="80"/>' in page
    assert "<dd>1 %</dd>" in page
    assert page.count('<tr class="o-') == 13  # the maximal probability of each class
    assert "Score history" in page and "crystals harvestable" in page
    assert "bbbbbbbbbbbb" in page and "0.1.0 on test" in page and "threshold 0.85" in page  # provenance
    assert "This drop over time" in page and "/well/CI022987/4/A1a" in page


def test_a_scale_bar_where_the_scale_is_known(client, score):
    score({(1, 1): Outcome.CLEAR})
    assert "50 µm" in client.get("/well/CI022987/3/A1a").text  # 320 pixels of 1.13 µm: at most 72 µm


def test_two_images_of_one_drop(client, score):
    score({(1, 1): Outcome.CLEAR}, image="HF")
    score({(1, 1): Outcome.HARVESTABLE}, image="E0")
    plate = client.get(PLATE).text
    assert plate.count('class="tile') == 1 and "o-harvestable" in plate  # the one that matters stands for the drop
    well = client.get("/well/CI022987/3/A1a").text
    other = re.findall(r'href="(/well/CI022987/3/A1a\?image=\d+)"', well)
    assert [("HF" in client.get(each).text.split("<dt>Image</dt>")[1][:120]) for each in other] == [False, True]


def test_healthz(client):
    assert client.get("/healthz").json() == {"status": "ok"}


def test_all_scores_ever_of_a_drop(client, score, system, person):
    (image,) = score({(1, 1): Outcome.CLEAR}, threshold=0.8)
    score({(1, 1): Outcome.PRECIPITATE}, threshold=0.85)
    score({(1, 1): Outcome.HARVESTABLE}, inspection=4, inspected=datetime(2012, 11, 28))
    person(image.inspect_id, "13", datetime(2012, 11, 22))
    rows = system.imager.scores_of_drops([image.inspect_id])[image.inspect_id]
    system.ledger.imager_scores.record(rows)
    system.ledger.imager_scores.record([], between=(0, rows[-1].score_id, now()))  # deleted since
    system.ledger.corrections.add(1, Outcome.BAD_FORM, "ben", score_id=2)
    system.ledger.corrections.add(1, None, "ben")
    table = client.get("/well/CI022987/3/A1a").text.partition('id="ever"')[2].partition("</table>")[0]
    lines = [re.sub(r"<[^>]+>|\s+", " ", line).split() for line in re.findall(r"<tr.*?</tr>", table, re.S)[1:]]
    said = sorted(" ".join(line[2:]) for line in lines)
    assert said == [
        "3 ARTscore bbbbbbbb, group 0.8 C clear 95 % 50 %",
        "3 ARTscore bbbbbbbb, group 0.85 P precipitate 95 % 50 %",
        "3 ben in the viewer x crystals bad form",
        "3 ben withdrawn –",
        "3 jdoe deleted from the score table –",
        "3 jdoe score 13, in the score table P precipitate",
        "4 ARTscore bbbbbbbb X crystals harvestable 95 % 50 %",
    ]
