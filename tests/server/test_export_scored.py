"""People's scores as a table to train from."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner

from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_nets.judge.truth import lab_wells
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.scored import export_scored
from xtalgrid_server.imager.crystaltrak import database as imager
from xtalgrid_server.steps.system import System

from .conftest import INSPECTED, draw_well, rigaku_name

TOML = '[imager]\npatterns = ["*_HF_99_*"]\nautomatic = ["CrystalScore"]\npixel_size_um = 1.131\n[imager.codes]\n"crystals harvestable" = "45"\n'
LATER = INSPECTED + timedelta(days=1)


@pytest.fixture
def lab(tmp_path):
    with System(from_string(TOML, home=tmp_path / "home")) as system:
        yield system


def enter(lab, col, *names, inspection=3, on_disk=True):
    """A drop's images; its inspect id."""
    for name in names:
        row = ImageRow(0, "CI022987", inspection, INSPECTED, Well(1, col, 1), name)
        if on_disk:
            draw_well(lab.config.image_root / "CI022987" / str(inspection) / name)
        (entered,) = lab.imager.register([row])
    return entered.inspect_id


def give(lab, inspect_id, code, by, days=0, image=""):
    with lab.imager.writing() as writer:
        writer.insert(inspect_id, code, LATER + timedelta(days=days), by, image)


def export(lab, tmp_path, *uv):
    done = export_scored(lab.config, lab.imager, lab.ledger, tmp_path / "scored.csv", uv)
    with (tmp_path / "scored.csv").open(newline="") as stream:
        return done, list(csv.DictReader(stream))


def test_the_newest_person_s_score_of_each_inspection(lab, tmp_path):
    name, mate = rigaku_name(1), rigaku_name(1).replace("_HF_99_", "_UV_01_")
    first = enter(lab, 1, name, mate)
    give(lab, first, "13", "jdoe")
    give(lab, first, "45", "jdoe", days=1)
    give(lab, first, "01", "ARTscore", days=2)  # programs, and "not scored", are no labels
    give(lab, first, "02", "CrystalScore", days=3)
    give(lab, first, "20", "jdoe", days=4)
    later = enter(lab, 1, rigaku_name(1, inspection=4), inspection=4)
    give(lab, later, "22", "asmith")
    enter(lab, 2, rigaku_name(2))  # never scored

    done, rows = export(lab, tmp_path, "*_UV_*")
    assert (done.wells, done.pairs, done.codes) == (2, 1, {})
    folder = lab.config.image_root.absolute() / "CI022987"
    assert rows[0] == {
        "image": str(folder / "3" / name),
        "uv_image": str(folder / "3" / mate),
        "plate": "CI022987",
        "well": "A1a",
        "inspection": "3",
        "score": "45",
        "outcome": "crystals harvestable",
        "scored_by": "jdoe",
        "date": str(datetime(2012, 11, 23, 14, 0)),
        "pixel_size_um": "1.131",
        "disagreement": "",
    }
    assert [rows[1][key] for key in ("uv_image", "inspection", "outcome")] == ["", "4", "crystals bad form"]


def say(lab, name, outcome, who):
    """Score an image in the viewer; the correction."""
    image = next(image for image in lab.ledger.images.of_plate("CI022987") if image.image_name == name)
    return lab.ledger.corrections.add(image.image_id, outcome, who)


@pytest.fixture
def both_places(lab, score):
    """A1 to A8: in the viewer only; twice by one person; disputed; group only; a code nobody knows; withdrawn; A7's
    correction is also a row of the score table; A8 has two images."""
    clear = {(col, 1): Outcome.CLEAR for col in range(1, 9)}
    ids = [row.inspect_id for row in score(clear)]
    other = enter(lab, 8, rigaku_name(8).replace("_030_", "_045_"))
    assert other == ids[7]
    say(lab, rigaku_name(1), Outcome.BAD_FORM, "ann")
    give(lab, ids[1], "13", "ANN")
    say(lab, rigaku_name(2), Outcome.CLEAR, "ann")
    give(lab, ids[2], "45", "jdoe")
    say(lab, rigaku_name(3), Outcome.CLEAR, "ann")
    give(lab, ids[3], "45", "jdoe")
    say(lab, rigaku_name(4), Outcome.BAD_FORM, "ann")
    give(lab, ids[4], "15", "jdoe")
    say(lab, rigaku_name(5), Outcome.CLEAR, "ann")
    say(lab, rigaku_name(6), Outcome.CLEAR, "ann")
    say(lab, rigaku_name(6), None, "ann")
    made = say(lab, rigaku_name(7), Outcome.CLEAR, "ann")
    with lab.imager.writing() as writer:
        lab.ledger.corrections.set_written(made.id, writer.insert(ids[6], "01", LATER, "ann", rigaku_name(7)))
    say(lab, rigaku_name(7), Outcome.PRECIPITATE, "ann")
    say(lab, rigaku_name(8), Outcome.CLEAR, "ben")
    give(lab, ids[7], "01", "ben", image=rigaku_name(8).replace("_030_", "_045_"))


@pytest.fixture
def system(lab):
    return lab


@pytest.mark.usefixtures("both_places")
def test_scores_in_the_viewer_count_and_nobody_s_label_is_taken_in_silence(lab, tmp_path):
    done, rows = export(lab, tmp_path)
    columns = ("well", "score", "outcome", "scored_by", "disagreement")
    assert [tuple(row[key] for key in columns) for row in rows] == [
        ("A1a", "22", "crystals bad form", "ann", ""),
        ("A2a", "01", "clear", "ann", ""),
        ("A3a", "", "", "jdoe; ann", "jdoe: crystals harvestable; ann: clear"),
        ("A4a", "", "any crystal", "jdoe; ann", "jdoe: crystals harvestable; ann: crystals bad form"),
        ("A5a", "", "", "jdoe; ann", "jdoe: 15; ann: clear"),
        ("A7a", "13", "precipitate", "ann", ""),
        ("A8a", "01", "clear", "ben", ""),
    ]
    assert (done.wells, done.disputed, done.group_only, done.codes) == (7, 2, 1, {"15": 1})
    assert rows[-1]["image"].endswith(rigaku_name(8))  # scored last


@pytest.mark.usefixtures("both_places")
def test_wells_without_a_label_are_counted_for_the_reader(lab, tmp_path):
    (tmp_path / "xtalgrid.toml").write_text(TOML)
    arguments = ["--config", tmp_path / "xtalgrid.toml", "--home", lab.config.home, "export-scored", tmp_path / "s.csv"]
    output = CliRunner().invoke(main, [str(argument) for argument in arguments]).output
    assert "7 scored wells in" in output
    assert "no label  2 wells that people disagree about: see the column disagreement" in output
    assert "group     1 wells of which people agree only on the group" in output


@pytest.mark.usefixtures("both_places")
def test_pages_have_the_viewer_s_scores_each_once(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(imager, "_PAGE", 2)
    monkeypatch.setattr("xtalgrid_server.exchange.scored._READ_AT_ONCE", 3)
    _, rows = export(lab, tmp_path)
    assert [row["well"] for row in rows] == ["A1a", "A2a", "A3a", "A4a", "A5a", "A7a", "A8a"]


def test_what_has_no_image_or_no_outcome_is_said(lab, tmp_path):
    give(lab, enter(lab, 1, rigaku_name(1)), "15", "jdoe")  # a code of the lab's that nobody has mapped
    give(lab, enter(lab, 2, rigaku_name(2).replace("_HF_99_", "_HF_07_")), "13", "jdoe")  # a focus slice
    give(lab, enter(lab, 3, rigaku_name(3), on_disk=False), "13", "jdoe")
    (tmp_path / "xtalgrid.toml").write_text(TOML)
    arguments = ["--config", tmp_path / "xtalgrid.toml", "--home", lab.config.home, "export-scored", tmp_path / "s.csv"]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "1 scored wells in" in result.output
    assert "1 scores of inspections without an image that matches" in result.output
    assert "1 images that are not under" in result.output
    assert "no outcome for score '15' (1 wells)" in result.output


def test_the_image_that_the_score_names_is_taken(lab, tmp_path):
    other = rigaku_name(1).replace("_030_", "_045_")
    give(lab, enter(lab, 1, rigaku_name(1), other), "13", "jdoe", image=other)
    _, rows = export(lab, tmp_path)
    assert rows[0]["image"].endswith(other)


def test_many_scores_come_page_by_page_and_none_is_lost(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(imager, "_PAGE", 5)
    for col in range(1, 13):
        inspect_id = enter(lab, col, rigaku_name(col))
        give(lab, inspect_id, "13", "jdoe")
        give(lab, inspect_id, "11", "jdoe", days=1)
    _, rows = export(lab, tmp_path)
    assert [row["well"] for row in rows] == [f"A{col}a" for col in range(1, 13)]
    assert {row["score"] for row in rows} == {"11"}


def test_a_file_that_cannot_be_written_is_one_message(lab, tmp_path):
    from xtalgrid_core.errors import ConfigError

    with pytest.raises(ConfigError, match="cannot write"):
        export(lab, tmp_path / "no such folder")


def test_an_image_that_two_inspections_have_is_one_well(lab, tmp_path):
    """Two rows of the imager for one image, such as a well that was entered again: training refuses both."""
    with lab.imager.writing() as writer:
        for inspect_id, col, score in ((101, 1, "45"), (102, 2, "22"), (103, 3, "13"), (104, 4, "13")):
            name = rigaku_name(1 if col < 3 else 3)
            draw_well(lab.config.image_root / "CI022987" / "3" / name)
            place = {"barcodeid": "CI022987", "inspectnumber": 3, "inspectdate": INSPECTED, "i_row": 1, "subwell": 1}
            tables = lab.imager.tables
            writer._connection.execute(tables.inspections.insert().values(inspectid=inspect_id, col=col, **place))
            writer._connection.execute(tables.images.insert().values(inspectid=inspect_id, imagename=name))
            writer.insert(inspect_id, score, LATER, "jdoe", "")
    done, rows = export(lab, tmp_path)
    assert (done.wells, done.again, done.labelled, done.disputed) == (2, 2, 1, 1)
    assert [(row["well"], row["score"], row["outcome"]) for row in rows] == [
        ("A1a", "", ""),
        ("A3a", "13", "precipitate"),
    ]
    assert rows[0]["disagreement"].startswith("another inspection has the same image")
    assert [truth.group for truth in lab_wells(tmp_path / "scored.csv")] == [None, Group.PRECIPITATE]
