"""Rock Maker's export: plates, wells, inspections and people's scores from its folders and report.csv alone."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.server.conftest import draw_well
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.ledger.entering import enter_images

# As RM_Image_export writes it: the date of dispensing, then path, score, drop and date imaged.
REPORT = r"""01/02/24 09:00:00
"D:\export\DEMO000001\Crystal\DEMO000001_A1_Default_7_17409.jpg","Crystal",1,01/08/24 10:15:00
"D:\export\DEMO000001\Clear\DEMO000001_B12_Default_1_17409.jpg","Clear",1,01/08/24 10:15:30
"D:\export\DEMO000001\Needles\DEMO000001_C3_Default_8_17500.jpg","Needles",2,01.15.24 10.15.00
"D:\export\DEMO000001\Skin\DEMO000001_C4_Default_8_17500.jpg","Skin",1,01/15/24 10:15:00
"""


@pytest.fixture
def export(tmp_path):
    folder = tmp_path / "export"
    images = "Crystal/DEMO000001_A1_Default_7_17409", "Clear/DEMO000001_B12_Default_1_17409"
    images += "Needles/DEMO000001_C3_Default_8_17500", "Skin/DEMO000001_C4_Default_8_17500"
    for shade, name in enumerate((*images, "Clear/DEMO000001_H1_Default_1_17500")):  # the last is in no report
        draw_well(folder / "DEMO000001" / f"{name}.jpg", shade=60 + shade)
    (folder / "DEMO000001" / "report.csv").write_text(REPORT.replace("\\\\", "\\"))
    return folder


@pytest.fixture
def entered(system, export):
    """The same as images of the ledger, as `run` enters them."""
    rows = system.import_folder(export, recursive=True, names="rockmaker-export").entered
    with system.ledger._db.writing() as connection:
        enter_images(connection, system.ledger._db.source, rows)
    return rows


def said(system):
    return {
        (str(image.well), image.inspection): (one.meaning, one.who, one.at)
        for image, one in system.ledger.person_scores.imported(["DEMO000001"])
    }


def test_scores_by_report_and_by_folder(system, export, entered, bring):
    assert {(row.barcode, str(row.well), row.inspection) for row in entered} == {
        ("DEMO000001", "A1a", 17409),
        ("DEMO000001", "B12a", 17409),
        ("DEMO000001", "C3a", 17500),
        ("DEMO000001", "C4a", 17500),
        ("DEMO000001", "H1a", 17500),
    }
    done = bring(export)
    assert (done.format, done.lines, done.new, done.refused) == ("Rock Maker's export", 5, 5, 0)
    found = said(system)
    assert found["A1a", 17409] == (Group.CRYSTAL, "Rock Maker", datetime(2024, 1, 8, 9, 15))  # Berlin is at UTC+1
    assert found["B12a", 17409][0] == Group.CLEAR
    assert found["C3a", 17500] == (Group.CRYSTAL, "Rock Maker", datetime(2024, 1, 15, 9, 15))
    assert found["C4a", 17500][0] is Outcome.OTHER  # by scores.names
    assert found["H1a", 17500][0] == Group.CLEAR
    assert bring(export).known == 5


def test_a_drop_that_was_scored_anew_is_found_though_its_folder_is_another(system, export, entered, bring):
    bring(export)
    shutil.rmtree(export / "DEMO000001" / "Clear")
    shutil.rmtree(export / "DEMO000001" / "Needles")
    path = "DEMO000001/Needles/DEMO000001_B12_Default_8_17409.jpg"
    draw_well(export / path)
    (export / "DEMO000001" / "report.csv").write_text(f'01/02/24 09:00:00\n"D:/{path}","Needles",1,01/09/24 10:15:00\n')
    done = bring(export)
    assert (done.new, done.known) == (1, 2)
    assert said(system)["B12a", 17409][0] == Group.CRYSTAL


@pytest.mark.usefixtures("entered")
def test_a_report_without_a_date_of_dispensing_in_a_folder_of_exports(system, export, bring):
    """The program writes an empty first line for a plate without that date."""
    report = export / "DEMO000001" / "report.csv"
    report.write_text(REPORT.replace("01/02/24 09:00:00", ""))
    (export.parent / "exports").mkdir()
    export.rename(export.parent / "exports" / "2024")
    done = bring(export.parent / "exports")
    assert (done.lines, done.new, done.refused) == (5, 5, 0)
    times = {well: at for (well, _), (_, _, at) in said(system).items()}
    assert (times["A1a"], times["B12a"]) == (datetime(2024, 1, 8, 9, 15), datetime(2024, 1, 8, 9, 15, 30))


def test_drops_of_one_well_with_different_scores_are_refused(system, export, bring):
    # RM_Image_export skips a well's second drop only if its file would have the same name, and so the same score
    folder = export / "DEMO000001"
    draw_well(folder / "Clear" / "DEMO000001_A1_Default_1_17409.jpg", shade=80)
    draw_well(folder / "Clear" / "DEMO000001_A1_Default_1_17500.jpg", shade=90)  # another session tells nothing of it
    with (folder / "report.csv").open("a") as stream:
        stream.write(
            '"D:\\export\\DEMO000001\\Clear\\DEMO000001_A1_Default_1_17409.jpg","Clear",Drop,01/08/24 10:15:01\n'
        )
    rows = system.import_folder(export, recursive=True, names="rockmaker-export").entered
    with system.ledger._db.writing() as connection:
        enter_images(connection, system.ledger._db.source, rows)
    done = bring(export)
    assert (done.lines, done.new, done.refused) == (7, 5, 2)
    assert {one.line for one in done.first_refused} == {2, 6}
    assert all("its well has images scored Clear and Crystal" in one.reason for one in done.first_refused)
    assert said(system)["A1a", 17500][0] == Group.CLEAR
    assert ("A1a", 17409) not in said(system)


@pytest.mark.usefixtures("entered")
def test_lines_that_are_refused_name_report_and_line(system, export, bring):
    (export / "DEMO000001" / "Skin").rename(export / "DEMO000001" / "Odd")
    report = export / "DEMO000001" / "report.csv"
    report.write_text(report.read_text().replace("Skin", "Odd"))
    with report.open("a") as stream:
        stream.write('"D:\\x.jpg","Clear",1,01/08/24 10:15:00\n')
        stream.write('"D:/DEMO000001/Clear/DEMO000001_A1_Default_9_17409.jpg","Clear",1,31/08/24 10:15:00\n')
        stream.write("only,three,cells\n")
    done = bring(export)
    assert done.unknown_words == {"Odd": 1}
    reasons = {one.line: (one.file, one.reason) for one in done.first_refused}
    assert sorted(reasons) == [5, 6, 7, 8]
    assert all(file == "DEMO000001/report.csv" for file, _ in reasons.values())
    assert "is none of Rock Maker's export" in reasons[6][1]
    assert "month must be in 1..12" in reasons[7][1]
    assert "3 cells, not 4" in reasons[8][1]


def test_another_folder(bring, tmp_path):
    (tmp_path / "else").mkdir()
    with pytest.raises(ConfigError, match="no images named as Rock Maker's export names them"):
        bring(tmp_path / "else")


def test_importing_the_images_says_how_the_scores_come_in(system, export):
    result = CliRunner().invoke(
        main,
        ["--home", str(system.config.home), "import-folder", str(export), "--recursive", "--names", "rockmaker-export"],
    )
    assert f"xtalgrid import-scores {export}" in result.output


def test_a_folder_that_cannot_be_read_is_named(system, export, entered, bring, monkeypatch):
    closed, listed = export / "DEMO000001" / "Skin", Path.iterdir

    def iterdir(path):
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    before = bring(export, dry_run=True)
    monkeypatch.setattr(Path, "iterdir", iterdir)
    done = bring(export, dry_run=True)
    assert (done.lines, done.refused) == (before.lines + 1, before.refused + 1)
    assert done.first_refused[-1].reason == "the folder cannot be read: Permission denied"
