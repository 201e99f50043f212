"""MARCO's four probabilities, Polo's runs and TeXRank's scores, out and in."""

from __future__ import annotations

import csv
import json
import math
import re

import openpyxl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.server.conftest import BOTH, rigaku_name
from tests.server.exchange.conftest import PLATE
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.domain.groups import rounded
from xtalgrid_server.exchange.import_scores import import_lines
from xtalgrid_server.exchange.polo import export_runs
from xtalgrid_server.reports.entries import Filter

OUTCOMES = {(1, 1): Outcome.PRECIPITATE, (2, 1): Outcome.NULL_EXPERIMENT, (3, 1): Outcome.UNDECIDED}


@pytest.fixture
def xtalgrid(system):
    def call(*words):
        return CliRunner().invoke(main, ["--home", str(system.config.home), *map(str, words)])

    return call


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda four: sum(four) > 0.01))
def test_rounded_probabilities_sum_to_one(four):
    numbers = rounded([p / sum(four) for p in four])
    assert round(sum(numbers), 9) == 1
    assert all(abs(p / sum(four) - q) < 3e-5 for p, q in zip(four, numbers, strict=True))


def test_marcos_table_out_and_in(score, xtalgrid, bring, system, tmp_path):
    score(OUTCOMES, combined=True)
    score({(4, 1): Outcome.CLEAR})  # by an old worker
    result = xtalgrid("export", "marco", tmp_path / "marco.csv")
    assert "2 images in" in result.output
    assert "left out  2 images without the four probabilities" in result.output
    with (tmp_path / "marco.csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert first == {
        "image": rigaku_name(1), "barcode": PLATE, "inspection": "3", "well": "A1a", "prediction": "Precipitate",
        "Crystals": "0.83000", "Other": "0.05000", "Precipitate": "0.11000", "Clear": "0.01000",
    }  # fmt: skip
    assert second["prediction"] == "Other"
    done = bring(tmp_path / "marco.csv", by="elsewhere")
    assert (done.format, done.new, dict(done.programs)) == ("MARCO's table", 2, {"elsewhere": 2})
    given = {row.image_name: one for row, one in system.ledger.imported_scores.with_images([PLATE])}
    numbers = given[rigaku_name(1)].numbers
    assert tuple(numbers[name] for name in ("Crystals", "Precipitate", "Other", "Clear")) == BOTH
    assert given[rigaku_name(1)].meaning == Group.PRECIPITATE


def test_texranks_scores_out_and_in(score, xtalgrid, bring, system, tmp_path):
    rows = score(OUTCOMES, combined=True)
    assert xtalgrid("export", "texrank", tmp_path / "CI022987_Scores.csv").exit_code == 0
    folder = system.config.image_root / PLATE / "3"
    assert (tmp_path / "CI022987_Scores.csv").read_text().splitlines() == [
        f"{folder / rows[0].image_name},0.8300,0,0.0100",
        f"{folder / rows[1].image_name},0.8300,1,0.0100",
        f"{folder / rows[2].image_name},0.8300,0,0.0100",  # undecided: who reviews by rank sees it all the same
    ]
    done = bring(tmp_path / "CI022987_Scores.csv")
    assert (done.format, done.new, done.people, done.programs.total()) == ("TeXRank's scores", 3, {}, 3)
    assert bring(f"D:\\img\\{rigaku_name(1)},0.5,0,0.1\nx.jpg,0.5,0,0.1\n").refused == 1  # no such image
    given = [one for _, one in system.ledger.imported_scores.with_images([PLATE])]
    assert {(one.kind, one.who, one.meaning) for one in given} == {("program", "TeXRank", None)}


@pytest.mark.usefixtures("plate")
def test_hidden_rows_of_texranks_table_are_read_and_counted(bring, system, tmp_path):
    """As of any table that somebody saved in Excel. The last is hidden and can't be used: it is hidden and refused."""
    book = openpyxl.Workbook()
    for col, faulty in ((1, 0), (2, 1), (3, 2), (4, 7)):
        book.active.append([f"D:\\img\\{rigaku_name(col)}", 0.5, faulty, 0.1])
    for hidden in (2, 4):
        book.active.row_dimensions[hidden].hidden = True
    book.active.column_dimensions["C"].hidden = True
    book.create_sheet("Old").sheet_state = "hidden"
    book.save(tmp_path / "CI022987_Scores.xlsx")
    done = bring(tmp_path / "CI022987_Scores.xlsx")
    assert (done.format, done.lines, done.new, done.refused, done.hidden) == ("TeXRank's scores", 4, 3, 1, 2)
    assert {row.image_name for row, _ in system.ledger.imported_scores.with_images([PLATE])} == {
        rigaku_name(col) for col in (1, 2, 3)
    }
    said = [line for line in import_lines(done, False) if "hidden" in line]
    for one, what in zip(said, ("the sheet Old is hidden", "the column C is hidden", "2 rows are hidden"), strict=True):
        assert what in one


@pytest.mark.usefixtures("plate")
def test_of_several_sheets_of_texranks_scores_one_is_chosen(bring, tmp_path):
    book = openpyxl.Workbook()
    for sheet, col in ((book.active, 1), (book.create_sheet("second"), 2)):
        sheet.append([rigaku_name(col), 0.5, 0, 0.1])
    book.save(tmp_path / "scores.xlsx")
    with pytest.raises(ConfigError, match=r"several sheets have scores \(Sheet, second\); choose one with --sheet"):
        bring(tmp_path / "scores.xlsx")
    assert bring(tmp_path / "scores.xlsx", sheet="second").new == 1


def test_a_run_of_polo_is_one_plate_at_one_inspection(score, xtalgrid, tmp_path):
    score(OUTCOMES, combined=True)
    score({(12, 8): Outcome.CLEAR}, inspection=4, combined=True)
    out = "export", "xtal", tmp_path / "run.xtal"
    assert "a run of Polo is one plate; give it with --barcode" in xtalgrid(*out).output
    assert "1 images in" in xtalgrid(*out, "--barcode", PLATE).output
    assert "3 images in" in xtalgrid(*out, "--barcode", PLATE, "--inspection", 3).output
    head, _, document = (tmp_path / "run.xtal").read_text().partition("=" * 79 + "\n")
    assert all(line.startswith("<>") for line in head.splitlines())
    run = json.loads(document)
    assert (run["__class__"], run["num_wells"], run["plate_id"]) == ("HWIRun", 96, PLATE)
    classes = [(image["well_number"], image["machine_class"]) for image in run["images"]]
    assert classes == [(1, "Precipitate"), (2, "Other"), (3, None)]
    assert run["images"][2]["_prediction_dict"] == {"Crystals": 0, "Precipitate": 0, "Other": 0, "Clear": 0}


HEAD = "<>SAVE TIME:2026-11-29 10:00:00.5\n<>VERSION:0.2.0\n" + "=" * 20 + "\n"
FOUR = {"Crystals": 0.5, "Clear": 0.25, "Precipitate": 0.125, "Other": 0.125}


def run_of(*images):
    objects = [{"__class__": "Image", "__module__": "os", **image} for image in images]
    return HEAD + json.dumps({"__class__": "HWIRun", "__module__": "os", "plate_id": PLATE, "images": objects})


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    "place",
    [
        {"_path": f"x/{rigaku_name(1)}", "human_class": "Crystals"},
        {"_Image__path": rigaku_name(1), "_Image__human_class": "Crystals"},
        {"well_number": 1, "_date": "2012-11-21 14:00:00", "human_class": "Crystals"},
    ],
)
def test_runs_as_newer_and_older_versions_save_them(bring, held, system, place):
    image = place | {"machine_class": "Clear", "prediction_dict": FOUR, "_bites": "not read" * 100}
    done = bring(run_of(image | {"spectrum": "Visible"}), "run.bin")
    assert (done.format, done.refused, dict(done.people), done.programs.total()) == ("Polo's run", 0, {"Polo": 1}, 1)
    assert held() == {"A1a": "any crystal"}
    ((scores),) = system.ledger.imported_scores.of_plates([PLATE]).values()
    found = {(one.kind, one.at_is, str(one.at)) for one in scores}
    assert found == {(kind, "saved", "2026-11-29 09:00:00") for kind in ("person", "program")}  # Berlin's 10:00


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + "{", "no run of Polo"),
        (HEAD + "[" * 100_000, "no run of Polo"),
        (HEAD + '{"images": 5}', "no run of Polo"),
        (HEAD + '{"images": []}', "without images"),
        ("<>" * 100_000, "no run of Polo"),
        ("\ufeff" + HEAD + "{", "no run of Polo"),
        (HEAD + '{"images": [{"_path": "\\ud800"}]}', "no run of Polo"),
    ],
)
def test_a_broken_run_is_refused(bring, text, reason):
    with pytest.raises(ConfigError, match=reason):
        bring(text, "run.xtal")


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"_path": "x.jpg", "human_class": "Clear"}, "no image named x.jpg"),
        ({"well_number": 1, "human_class": "Blob"}, "unknown word 'Blob'"),
        ({"well_number": 1, "machine_class": "Clear", "prediction_dict": FOUR | {"Clear": 5}}, "numbers that sum to 1"),
        ({"well_number": 1, "machine_class": "Clear", "prediction_dict": {"Clear": "x"}}, "numbers that sum to 1"),
        ({"well_number": "1; DROP", "human_class": "Clear"}, "no well"),
        ({"well_number": 1, "human_class": "Clear", "_date": "1999-01-01"}, "no such inspection"),
        ({"well_number": 1, "machine_class": "Clear", "prediction_dict": FOUR | {"Clear": math.nan}}, "'no number'"),
        ({"well_number": 1, "machine_class": "Clear", "prediction_dict": FOUR | {"Clear": -math.inf}}, "'no number'"),
    ],
)
def test_an_image_of_a_run_is_refused_alone(bring, image, reason):
    done = bring(run_of(image, {"well_number": 1, "human_class": "Clear"}))
    assert (done.lines, done.new, done.refused) == (2, 1, 1)
    assert re.search(reason, done.first_refused[0].reason)


@pytest.mark.usefixtures("plate")
def test_something_else_among_the_images_is_refused_alone(bring, held):
    text = run_of({"well_number": 1, "human_class": "Clear"}).replace('"images": [', '"images": [null, 5, ')
    done = bring(text.replace('"human_class"', '"temperature": NaN, "human_class"'))
    assert (done.lines, done.new, done.refused) == (3, 1, 2)
    assert held() == {"A1a": "any clear"}
    assert bring(run_of({"well_number": 1, "human_class": math.nan})).without_score == 1


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_run_that_another_program_saved_again(bring, encoding):
    done = bring(run_of({"well_number": 1, "human_class": "Clear", "note": "µ"}).encode(encoding), "run.xtal")
    assert (done.format, done.new) == ("Polo's run", 1)


@pytest.mark.usefixtures("plate")
def test_other_light_and_control_characters(bring):
    uv = {"well_number": 1, "human_class": "Clear", "spectrum": "UV-TPEF"}
    done = bring(run_of(uv, {"well_number": 1, "human_class": "Cl\0ear"}))
    assert (done.without_score, done.unknown_words) == (1, {"Cl ear": 1})


@pytest.mark.usefixtures("plate")
def test_other_light_in_polos_csv(bring, held):
    columns = "plate_id,well_number,human_class,machine_class,date,spectrum,Crystals,Clear,Precipitate,Other"
    line = "{},1,{},Clear,2012-11-21 14:00:00,{},0.1,0.7,0.1,0.1"
    rows = [line.format(PLATE, *said) for said in (("Clear", "UV-TPEF"), ("Clear", "SHG"), ("Crystals", "Visible"))]
    done = bring("\n".join([columns, *rows, ""]))
    assert (done.format, done.lines, done.new, done.without_score, done.refused) == ("Polo's CSV", 3, 1, 2, 0)
    assert held() == {"A1a": "any crystal"}


def test_what_people_said_here_does_not_come_back_as_polos(score, bring, held, system, tmp_path):
    score({(1, 1): Outcome.CLEAR}, combined=True)
    (image,) = system.ledger.images.of_plate(PLATE)
    system.ledger.corrections.add(image.image_id, Outcome.HARVESTABLE, "ann")
    export_runs(system.config, system.imager, system.ledger, tmp_path / "run.xtal", Filter(barcode=PLATE))
    done = bring(tmp_path / "run.xtal")
    assert (done.new, dict(done.people)) == (1, {})  # the machine's
    assert held() == {"A1a": "crystals harvestable"}


@pytest.mark.usefixtures("plate")
def test_visible_light_in_small_letters_is_visible(bring, held):
    done = bring(run_of({"well_number": 1, "human_class": "Clear", "spectrum": "visible"}))
    assert (done.new, done.without_score) == (1, 0)
    assert held() == {"A1a": "any clear"}
