"""The Excel workbook, reopened: its table, its plates in colours, its legend; and nothing in it is a formula."""

from __future__ import annotations

from datetime import datetime

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.conftest import INSPECTED, rigaku_name
from tests.server.exchange.conftest import PLATE
from xtalgrid_core.outcomes import STYLES, Group, Outcome
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.export import export
from xtalgrid_server.exchange.xlsx import XlsxWriter
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.entering import enter_images
from xtalgrid_server.ledger.imported_scores import ImportedScore
from xtalgrid_server.reports.entries import Filter
from xtalgrid_server.reports.tables import COLUMNS


@pytest.fixture
def book(system, tmp_path):
    def write():
        export(system.config, system.ledger, "xlsx", tmp_path / "scores.xlsx", Filter())
        return openpyxl.load_workbook(tmp_path / "scores.xlsx")

    return write


@pytest.mark.usefixtures("plate")
def test_the_table_has_the_columns_of_the_csv_and_real_dates(system, book):
    system.ledger.contents.record([Contents(PLATE, Well(1, 1, 0), sample="=1+1", condition="@SUM(A1)\x07 °C")])
    table = book()["Scores"]
    rows = list(table.iter_rows(values_only=True))
    assert rows[0] == COLUMNS
    first = dict(zip(COLUMNS, rows[1], strict=True))
    assert (first["barcode"], first["well"], first["inspected"]) == (PLATE, "A1a", datetime(2012, 11, 21, 14))
    assert (first["sample"], first["condition"]) == ("=1+1", "@SUM(A1)  °C")
    assert (first["artscore"], first["outcome"]) == ("01", "clear")  # with its zero
    cells = {cell.value: cell for row in table.iter_rows() for cell in row if cell.value}
    assert cells["=1+1"].data_type == "s"
    assert cells["=1+1"].quotePrefix
    assert not any(cell.data_type == "f" for sheet in book() for row in sheet.iter_rows() for cell in row)


@pytest.mark.parametrize("inspect_id", [2**53 + 1, -(10**17) - 1, 123456789012345])
def test_ids_of_more_digits_than_excel_has_are_text(system, book, inspect_id):
    row = ImageRow(inspect_id, PLATE, 3, INSPECTED, Well(1, 1, 1), rigaku_name(1))
    with system.ledger._db.writing() as connection:
        enter_images(connection, system.ledger._db.source, [row])
    (image,) = system.ledger.images.of_plate(PLATE)
    system.ledger.imported_scores.add(
        [ImportedScore(image.image_id, "person", "ann", INSPECTED, "scored", "clear", Group.CLEAR)]
    )
    _, first = book()["Scores"].iter_rows()
    cell = first[COLUMNS.index("inspect_id")]
    assert str(cell.value) == str(inspect_id)
    assert cell.data_type == ("n" if len(str(inspect_id)) == 15 else "s")


@pytest.mark.usefixtures("plate")
def test_the_map_has_the_colours_of_what_drops_are_held_to_be(bring, book):
    bring(f"image,score,by\n{rigaku_name(1)},Crystals,ann\n{rigaku_name(2)},clear,ann\n{rigaku_name(2)},3D,ben\n")
    sheet = book()[f"{PLATE} 3"]
    assert sheet["A1"].value == f"{PLATE}, inspection 3, 2012-11-21 14:00"
    assert [cell.value for cell in sheet[2]] == [None, "1", "2", "3", "4"]
    assert [cell.value for cell in sheet[3]] == ["A", "Cr 50 %", "≠ 50 %", "X 50 %", "C 50 %"]
    colours = ["#" + cell.fill.fgColor.rgb[2:] for cell in sheet[3][1:]]
    assert colours == [
        STYLES[Outcome.HARVESTABLE].colour,
        "#a0005a",
        STYLES[Outcome.HARVESTABLE].colour,
        STYLES[Outcome.CLEAR].colour,
    ]
    inks = ["#" + cell.font.color.rgb[2:] for cell in sheet[3][1:]]
    assert inks[0] == STYLES[Outcome.HARVESTABLE].ink


@pytest.mark.usefixtures("plate")
def test_the_legend_names_every_outcome(book):
    rows = [row[1:] for row in book()["Legend"].iter_rows(values_only=True)]
    assert ("crystals harvestable", "crystal", "23") in rows
    assert ("any crystal", "crystal", None) in rows
    assert {str(outcome) for outcome in Outcome} <= {row[0] for row in rows}


@pytest.mark.usefixtures("plate")
def test_a_workbook_comes_in_again(bring, book, tmp_path, held):
    bring(f"image,score,by\n{rigaku_name(1)},Crystals,ann\n")
    book()
    done = bring(tmp_path / "scores.xlsx")
    assert (done.format, done.lines, done.known, done.without_score, done.refused) == ("our own export", 4, 1, 3, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_any_barcodes_make_sheets_of_different_valid_names(system, tmp_path, barcodes):
    with (tmp_path / "names.xlsx").open("wb") as stream, XlsxWriter(system.config, stream) as writer:
        titles = [writer._sheet(barcode).sheet.title for barcode in [*barcodes, *barcodes]]
    assert len({title.casefold() for title in titles}) == len(titles)
    assert all(0 < len(title) <= 31 for title in titles)
    assert set(titles) < set(openpyxl.load_workbook(tmp_path / "names.xlsx").sheetnames)


@pytest.mark.usefixtures("plate")
def test_a_map_prints_on_one_page_in_the_font_of_the_table(book):
    sheet = book()[f"{PLATE} 3"]
    assert sheet.sheet_properties.pageSetUpPr.fitToPage
    assert sheet.page_setup.orientation == "landscape"
    assert {sheet[cell].font.name for cell in ("A1", "B2", "B3")} == {"Calibri"}
    assert sheet.column_dimensions["A"].width < sheet.column_dimensions["B"].width < 13
