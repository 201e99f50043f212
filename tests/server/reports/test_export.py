"""Exports, as other programs read them."""

from __future__ import annotations

import csv
import json
import os
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image
from pycocotools.coco import COCO

from tests.server.conftest import INSPECTED, draw_well
from xtalgrid_core import wire
from xtalgrid_core.files import replacing
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.regions import clipped
from xtalgrid_server.ledger import tables as t
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.reports.tables import COLUMNS

WELLS = {
    (1, 1): Outcome.HARVESTABLE,
    (2, 1): Outcome.PRECIPITATE,
    (3, 1): Outcome.NULL_EXPERIMENT,
    (4, 1): Outcome.CLEAR,
}


@pytest.fixture
def plate(system, score, person):
    """Four scored drops; a person calls the first a crystal too, and the second clear."""
    rows = score(WELLS)
    person(rows[0].inspect_id, "22", INSPECTED)
    person(rows[1].inspect_id, "01", INSPECTED)
    system.sync()
    contents = Contents("CI022987", Well(1, 1, 0), "kinases", 'ABL1 "long"', "20 % PEG 3350,\n0.1 M Tris", "a.csv")
    system.ledger.contents.record([contents])
    return rows


@pytest.fixture
def exported(xtalgrid, tmp_path):
    def run(kind, *words):
        result = xtalgrid("export", kind, tmp_path / "out", *words)
        assert result.exit_code == 0, result.output
        return tmp_path / "out", result.output

    return run


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "xlsx", "coco", "marco"])
def test_a_dash_is_standard_output(xtalgrid, plate, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out.bin"
    xtalgrid("export", kind, out)
    result = xtalgrid("export", kind, "-")
    assert result.exit_code == 0, result.output
    if kind != "xlsx":  # its zip file has the time of writing, as has COCO's `info`
        written = [re.sub(rb'"date_created":"[^"]*"', b"", text) for text in (result.stdout_bytes, out.read_bytes())]
        assert written[0] == written[1]
    assert result.stdout_bytes
    assert "4 images" in result.stderr or kind == "marco"
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("export", "yolo", "-"), "ends in .zip"),
        (("export", "labelme", "-"), "ends in .zip"),
        (("export", "label-studio", "-"), "two files"),
        (("import-scores", "scores.csv", "--refused", "-"), "give a file"),
    ],
)
def test_what_is_not_one_file_says_what_to_give_in_place_of_a_dash(
    xtalgrid, plate, tmp_path, monkeypatch, words, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores.csv").write_text("image,score,by\nx.jpg,clear,ann\n")
    result = xtalgrid(*words)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not list(tmp_path.glob("-*"))


def test_the_scored_wells_and_the_configuration_go_there_too(xtalgrid, plate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scored = xtalgrid("export-scored", "-")
    assert scored.stdout.startswith("image,uv_image,") and "2 scored wells" in scored.stderr
    assert xtalgrid("init", "-").stdout.startswith("#")
    assert not (tmp_path / "-").exists()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_bytes)
        with replacing(tmp_path / "pipe") as stream:
            stream.write(b"scores")
        assert read.result(timeout=5) == b"scores"
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]


def test_csv_has_conditions_samples_and_people_s_scores(exported, plate):
    out, said = exported("csv")
    assert said.startswith("4 images in ")
    with out.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["well"] for row in rows] == ["A1a", "A2a", "A3a", "A4a"]
    first = rows[0]
    assert first["condition"] == "20 % PEG 3350,\n0.1 M Tris"
    assert first["sample"] == 'ABL1 "long"'
    assert (first["artscore"], first["outcome"], first["p_crystal"]) == ("23", "crystals harvestable", "0.5")
    assert (first["person_score"], first["person_outcome"], first["person"]) == ("22", "crystals bad form", "jdoe")
    assert (first["held_to_be"], rows[1]["held_to_be"]) == ("crystals bad form", "clear")
    assert rows[3]["person"] == rows[3]["sample"] == ""


def test_json_lines_have_boxes_and_probabilities_too(exported, plate):
    out, _ = exported("jsonl", "--outcome", "crystal")
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert row["people"] == [
        {
            "score": "22",
            "outcome": "crystals bad form",
            "group": "crystal",
            "person": "jdoe",
            "at": "2012-11-21T14:00:00Z",
        }
    ]
    assert row["boxes"] == [{"box": [80, 106, 80, 107], "outcome": "crystals harvestable", "probability": 0.95}]
    assert row["probabilities"]["crystals harvestable"] == 0.95
    assert (row["width"], row["height"], row["drop"]) == (320, 240, [80, 106, 80, 107])


def test_a_second_opinion_adds_columns_at_the_end(exported, score):
    def read(*words):
        with exported("csv", *words)[0].open(newline="", encoding="utf-8") as stream:
            table = list(csv.DictReader(stream))
        return table, [json.loads(line) for line in exported("jsonl", *words)[0].read_text().splitlines()]

    score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR}, inspection=1)
    alone, alone_json = read()
    assert list(alone[0]) == list(COLUMNS)
    assert list(alone_json[0])[-1] == "boxes"
    later = INSPECTED + timedelta(days=7)
    score({(1, 1): Outcome.HARVESTABLE}, inspection=2, inspected=later, combined=True)
    names = [
        f"{whose}_{group}" for whose in ("own", "second") for group in ("crystal", "precipitate", "other", "clear")
    ]
    rows, json_rows = read()
    assert list(rows[0]) == [*COLUMNS, *names]
    assert list(json_rows[0]) == [*alone_json[0], *names]
    by_place = {(row["well"], row["inspection"]): [row[name] for name in names] for row in rows}
    expected = [0.41, 0.32, 0.19, 0.08, 0.93, 0.04, 0.02, 0.01]
    assert by_place == {
        ("A1a", "1"): [""] * 8, ("A1a", "2"): [str(p) for p in expected], ("A2a", "1"): [""] * 8,
    }  # fmt: skip
    assert [[row[name] for name in names] for row in json_rows] == [[None] * 8, expected, [None] * 8]
    assert read("--to", f"{INSPECTED:%Y-%m-%d}") == (alone, alone_json)


def test_only_newest_scores_count_for_a_second_opinion(exported, score):
    score({(1, 1): Outcome.HARVESTABLE}, combined=True)
    score({(1, 1): Outcome.HARVESTABLE}, threshold=0.8)
    (row,) = [json.loads(line) for line in exported("jsonl")[0].read_text().splitlines()]
    assert "own_crystal" not in row


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_coco_is_what_coco_s_own_reader_takes(exported, plate):
    out, said = exported("coco")
    assert "4 images with 3 boxes in 13 categories" in said  # a null experiment has no chops
    data = COCO(str(out))
    assert [category["name"] for category in data.loadCats(data.getCatIds())] == [*CLASSES, "drop"]
    kinds = {"crystal", "precipitate", "other", "clear", "drop"}
    assert {category["supercategory"] for category in data.dataset["categories"]} == kinds
    (crystal,) = data.loadAnns(data.getAnnIds(catIds=data.getCatIds(catNms=["crystals harvestable"])))
    assert crystal["bbox"] == [106, 80, 107, 80]  # x, y, width, height
    (image,) = data.loadImgs(crystal["image_id"])
    assert (image["width"], image["height"]) == (320, 240)
    assert image["file_name"].startswith("CI022987/3/RMM3_")
    assert (image["person_outcome"], image["sample"]) == ("crystals bad form", 'ABL1 "long"')
    assert (crystal["area"], crystal["segmentation"]) == (107 * 80, [])  # a box, not a polygon
    drops = data.loadAnns(data.getAnnIds(catIds=data.getCatIds(catNms=["drop"])))
    assert [drop["bbox"] for drop in drops] == [[106, 80, 107, 80]] * 3
    assert len(data.anns) == 6


def test_only_what_people_confirmed_and_chops_in_class_folders(exported, plate, tmp_path, system):
    _, said = exported("coco", "--confirmed", "--chops", tmp_path / "chops")
    assert "4 images with 1 boxes" in said
    assert "1 chops in" in said
    assert len(list((tmp_path / "chops").iterdir())) == 13
    (file,) = (tmp_path / "chops" / "crystals_harvestable").iterdir()
    with Image.open(system.config.image_root / "CI022987" / "3" / plate[0].image_name) as original:
        expected = np.asarray(original)[80:160, 106:213]
    with Image.open(file) as chop:
        assert np.array_equal(np.asarray(chop), expected)
    of_picture = file.read_bytes()
    original = system.config.image_root / "CI022987" / "3" / plate[0].image_name
    draw_well(original, shade=200, size=(100, 100))  # a file of its name, in which the box would show something else
    for _ in range(2):
        _, said = exported("csv", "--confirmed", "--chops", tmp_path / "chops")
        assert "left out  the chops of 1 images that can no longer be read, or were replaced since" in said
        assert file.read_bytes() == of_picture
        original.unlink(missing_ok=True)


def test_a_box_ends_where_the_image_does():
    answer = wire.Scored(
        number=0, outcome=Outcome.CLEAR, score=1, probability=1, p_crystal=0, probabilities=(), height=200, width=300,
        pixel_size_um=1, pixel_size_origin="", drop=wire.Drop(box=None, confidence=1), boxes=(), seconds=0,
    )  # fmt: skip
    chop = wire.BestChop(box=(100, 10, 256, 256), outcome=Outcome.CLEAR, probability=1)
    assert clipped(chop.box, answer) == (10, 100, 256, 100)
    assert clipped((200, 10, 5, 5), answer) is None


def test_a_file_that_cannot_be_written_leaves_the_old_one(xtalgrid, plate, tmp_path, system):
    missing = xtalgrid("export", "csv", tmp_path / "none" / "out.csv")
    assert missing.exit_code == 2
    assert "cannot write" in missing.output
    assert "use it with coco" in xtalgrid("export", "csv", tmp_path / "out.csv", "--confirmed").output
    assert (
        "--from is later"
        in xtalgrid("export", "csv", tmp_path / "o", "--from", "2026-02-01", "--to", "2026-01-01").output
    )


def test_memory_does_not_grow_with_the_archive(system, score, exported, monkeypatch):
    monkeypatch.setattr("xtalgrid_server.ledger.plates.BATCH", 100)
    score(WELLS)
    copy_plates(system, 1000)
    tracemalloc.start()
    try:
        exported("jsonl", "--barcode", "CI022987")
        _, one = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        out, said = exported("jsonl")
        _, many = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert said.startswith("4004 images in")
    assert out.stat().st_size > 4_000_000
    assert many - one < out.stat().st_size * 0.6  # what is kept of each plate, and no images


def copy_plates(system, number):
    """The ledger's one plate, under so many further barcodes."""
    with system.ledger._db.writing() as connection:
        images = [dict(row._mapping) for row in connection.execute(sa.select(t.images))]
        scores = {row.image_id: dict(row._mapping) for row in connection.execute(sa.select(t.scores))}
        step = len(images)
        for plate in range(1, number + 1):
            new = [
                {
                    **image,
                    "id": image["id"] + plate * step,
                    "barcode": f"P{plate:05d}",
                    "inspect_id": image["inspect_id"] + plate * step,
                }
                for image in images
            ]
            connection.execute(t.images.insert(), new)
            connection.execute(
                t.scores.insert(),
                [
                    {**scores[old["id"]], "id": scores[old["id"]]["id"] + plate * step, "image_id": image["id"]}
                    for old, image in zip(images, new, strict=True)
                ],
            )
