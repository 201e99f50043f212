"""Drops that people scored and the program did not: their images failed, or wait."""

from __future__ import annotations

import csv
import json

import pytest

from tests.conftest import CHOP_BY_CHOP
from tests.server.conftest import INSPECTED, answer, result_of, rigaku_name
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.units import PlannedImage


@pytest.fixture
def plate(system, person):
    """A1 to A7: scored; failed at the worker; failed in create_work; waits; these three again, by nobody.

    Of the first four, jdoe calls the first clear and the others crystals, and ann the third clear.
    """
    places = [ImageRow(0, "CI022987", 3, INSPECTED, Well(1, col, 1), rigaku_name(col)) for col in range(1, 8)]
    rows = system.imager.register(places)
    failed = [wire.Failed(number=n, reason=FailureReason.TRUNCATED, detail="") for n in (1, 2)]
    _plan(system, "one", [rows[0], rows[1], rows[4]], [answer(0, Outcome.CLEAR), *failed])
    for row in (rows[2], rows[5]):
        system.ledger.failures.add(row.image_name, "create_work", FailureReason.MISSING_FILE, "gone", row)
    _plan(system, "two", [rows[3], rows[6]], None)
    for row, code in zip(rows, ("01", "23", "23", "22"), strict=False):
        person(row.inspect_id, code, INSPECTED)
    person(rows[4].inspect_id, "20", INSPECTED)  # not scored
    system.sync()
    images = {image.well.col: image for image in system.ledger.images.of_plate("CI022987")}
    system.ledger.corrections.add(images[3].image_id, Outcome.CLEAR, "ann")
    return images


def _plan(system, name, rows, answers):
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64, threshold=0.85, **CHOP_BY_CHOP)
    entries = tuple(
        wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=row.inspect_id, sha256=f"{row.inspect_id:064d}")
        for n, row in enumerate(rows)
    )
    manifest = wire.Manifest(schema=1, unit=f"xg_{name}", min_worker="0.1.0", options=options, images=entries)
    system.ledger.units.add(manifest, [PlannedImage(row, f"{row.inspect_id:064d}") for row in rows])
    if answers:
        unit = system.ledger.units.named(manifest.unit)
        system.ledger.scores.accept_result(unit, "f" * 64, result_of(manifest, answers), manifest)


@pytest.mark.usefixtures("plate")
def test_a_csv_has_them_with_what_people_said(xtalgrid, tmp_path):
    said = xtalgrid("export", "csv", tmp_path / "all.csv").output
    assert "4 images in " in said and "3 of them without an ARTscore" in said
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    columns = ("well", "artscore", "outcome", "group", "p_crystal", "held_to_be")
    assert [tuple(row[key] for key in columns) for row in rows] == [
        ("A1a", "01", "clear", "clear", "0.025", "clear"),
        ("A2a", "", "failed", "", "", "crystals harvestable"),
        ("A3a", "", "failed", "", "", "people disagree"),
        ("A4a", "", "", "", "", "crystals bad form"),
    ]


@pytest.mark.usefixtures("plate")
def test_json_lines_have_null_for_what_is_not_known(xtalgrid, tmp_path):
    xtalgrid("export", "jsonl", tmp_path / "all.jsonl", "--outcome", "crystal", "--chops", tmp_path / "chops")
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [(row["well"], row["outcome"], row["probabilities"], row["boxes"]) for row in rows] == [
        ("A2a", "failed", None, []),
        ("A3a", "failed", None, []),
        ("A4a", None, None, []),
    ]
    assert [one["person"] for one in rows[1]["people"]] == ["jdoe", "ann"]


@pytest.mark.usefixtures("plate")
def test_coco_leaves_them_out_and_says_so(xtalgrid, tmp_path):
    said = xtalgrid("export", "coco", tmp_path / "all.json").output
    assert [image["well"] for image in json.loads((tmp_path / "all.json").read_text())["images"]] == ["A1a"]
    assert "1 images with" in said
    assert "left out  3 images that people scored and that have no ARTscore" in said


@pytest.mark.usefixtures("plate")
def test_a_search_finds_them(xtalgrid):
    by_drop = ("--outcome", "crystal", "--group-by", "drop")
    found = json.loads(xtalgrid("search", "--json", *by_drop).stdout)
    assert [(one["well"], one["p_crystal"]) for one in found] == [("A2a", None), ("A3a", None), ("A4a", None)]
    (plate,) = json.loads(xtalgrid("search", "--json", "--outcome", "crystal", "--group-by", "plate").stdout)
    assert (plate["drops"], plate["matching"]) == (4, 3)
    assert "CI022987 A4a inspection 3" in xtalgrid("search", *by_drop).output
    assert ",1,1," in xtalgrid("search", "--csv", *by_drop).stdout


@pytest.mark.usefixtures("plate")
def test_the_agreement_counts_them_apart(xtalgrid):
    found = json.loads(xtalgrid("agreement", "--json").stdout)
    assert (found["agree"]["number"], found["disputed"], found["failed"], found["waiting"]) == (1, 1, 1, 1)
    said = xtalgrid("agreement").output
    assert "not counted   2 inspections without an ARTscore: 1 failed, 1 still to come" in said
    assert json.loads(xtalgrid("disagreements", "--json").stdout) == []
