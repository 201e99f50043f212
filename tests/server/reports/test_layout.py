"""Plate layouts as people write them."""

from __future__ import annotations

import openpyxl
import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.wells import Well, parse_well
from xtalgrid_server.exchange.layouts import read_layout, unread
from xtalgrid_server.ledger.contents import Contents


@pytest.fixture
def layout(system, tmp_path):
    def read(text, barcode="", encoding="utf-8"):
        (tmp_path / "screen.csv").write_bytes(text.encode(encoding))
        return read_layout(system.config, system.ledger, tmp_path / "screen.csv", barcode)

    return read


def test_what_an_export_wrote_is_read_back(system, layout, score, xtalgrid, tmp_path):
    score({(1, 1): Outcome.CLEAR})
    condition = "-20 °C; =PEG\n+ salt"
    system.ledger.contents.record([Contents("CI022987", Well(1, 1, 0), sample="@1", condition=condition)])
    assert xtalgrid("export", "csv", tmp_path / "scores.csv").exit_code == 0
    line = "\"'-20 °C;' =PEG\n'+ salt\""
    assert line in (tmp_path / "scores.csv").read_bytes().decode()
    layout(f"well,sample,condition\nB1,'@1,{line}\n", "CI022987")
    inside = system.ledger.contents.of_plates(["CI022987"])("CI022987", Well(2, 1, 1))
    assert (inside.sample, inside.condition) == ("@1", condition)


def test_wells_drops_and_once_more_is_no_harm(system, layout, score, xtalgrid, tmp_path):
    score({(1, 1): Outcome.CLEAR})
    text = 'well,sample,condition,pH\nA1,ABL1,"20 % PEG 3350, 0.1 M Tris",8\nA1c,ABL1 + ligand,,8\nb12,SRC,2 M NaCl,\n'
    done = layout(text, "CI022987")
    assert (done.rows, done.recorded, done.passed_over, done.unseen) == (3, 3, ("ph",), ())
    assert layout(text, "CI022987").recorded == 0
    inside = system.ledger.contents.of_plates(["CI022987"])
    assert inside("CI022987", Well(1, 1, 3)).sample == "ABL1 + ligand"
    assert inside("CI022987", Well(1, 1, 3)).condition == "20 % PEG 3350, 0.1 M Tris"
    assert inside("CI022987", Well(2, 12, 4)).sample == "SRC"
    assert inside("CI022987", Well(2, 12, 4)).origin == "screen.csv"
    result = xtalgrid("layout", tmp_path / "screen.csv", "--barcode", "CI9")
    assert result.output.splitlines()[-3:] == [
        "3 wells read, 3 new or changed",
        "ignored the columns ph",
        "no images of plate CI9 yet",
    ]


def test_rows_and_columns_several_plates_semicolons_and_a_byte_order_mark(system, layout):
    text = "Barcode;Row;Column;Subwell;Project\r\nCI1;A;1;;x\r\nCI1;8;12;c;y\r\nCI2;h;3;2;z\r\nCI2;af;48;;v\r\n;;;;\r\n"
    done = layout(text, encoding="utf-8-sig")
    assert (done.recorded, done.unseen) == (4, ("CI1", "CI2"))
    inside = system.ledger.contents.of_plates(["CI1", "CI2"])
    assert inside("CI1", Well(1, 1, 2)).project == "x"
    assert (inside("CI1", Well(8, 12, 3)).project, inside("CI1", Well(8, 12, 2)).project) == ("y", "")
    assert inside("CI2", Well(8, 3, 2)).project == "z"
    assert inside("CI2", Well(32, 48, 1)).project == "v"  # the last of 1,536 wells


@pytest.fixture
def workbook(system, tmp_path):
    """Read a workbook with these sheets, and return what was read."""

    def read(sheets, barcode="", change=lambda book: None):
        book = openpyxl.Workbook()
        book.remove(book.active)
        for name, rows in sheets.items():
            sheet = book.create_sheet(name)
            for row in rows:
                sheet.append(row)
        change(book)
        book.save(tmp_path / "screen.xlsx")
        return read_layout(system.config, system.ledger, tmp_path / "screen.xlsx", barcode)

    return read


def test_rows_that_excel_hides_are_read_and_counted(system, workbook):
    def hide(book):
        book["Screen"].row_dimensions[3].hidden = True

    done = workbook({"Screen": [["barcode", "well", "sample"], ["CI1", "A1", "x"], ["CI1", "A2", "y"]]}, change=hide)
    assert (done.rows, done.recorded) == (2, 2)
    assert next(unread(done)).startswith("1 row is hidden in Excel, by a filter or by hand, and read like the others")


def test_columns_that_excel_hides_are_read_and_named(system, workbook):
    def hide(book):
        for letter in "BC":
            book["Screen"].column_dimensions[letter].hidden = True

    done = workbook({"Screen": [["barcode", "well", "sample", "pH"], ["CI1", "A1", "x", 7]]}, change=hide)
    assert (done.rows, done.recorded) == (1, 1)
    assert next(unread(done)).startswith("the columns well, sample are hidden in Excel, and read like the others")


def test_sheets_that_excel_hides_are_not_read_and_named(system, workbook):
    def hide(book):
        book["Old"].sheet_state = "hidden"

    head = ["barcode", "well", "sample"]
    done = workbook({"Old": [head, ["CI1", "A1", "x"]], "New": [head, ["CI1", "A2", "y"]]}, change=hide)
    assert (done.rows, done.recorded) == (1, 1)
    assert next(unread(done)) == "the sheet Old is hidden in Excel, and not read; unhide what was meant to be read"


def test_each_sheet_that_is_a_layout_is_read_and_the_others_are_named(system, workbook):
    def merge(book):
        book["Stocks"].merge_cells("A2:A3")

    sheets = {
        "Stocks": [["stock", "volume"], ["PEG", 2], [None, 3]],
        "First": [["barcode", "well", "sample"], ["CI1", "A1", "x"]],
        "Second": [["Plate two"], [], ["barcode", "well", "sample", "pH"], ["CI2", "A1", "y", 8]],
    }
    done = workbook(sheets, change=merge)
    assert (done.rows, done.recorded, done.passed_over) == (2, 2, ("ph",))
    assert next(unread(done)) == "ignored the sheets Stocks"
    inside = system.ledger.contents.of_plates(["CI1", "CI2"])
    assert (inside("CI1", Well(1, 1, 1)).sample, inside("CI2", Well(1, 1, 1)).sample) == ("x", "y")


def test_percents_and_sums_are_as_excel_shows_them(system, workbook):
    """Excel makes 0.2 with the format 0% of a typed 20%, and shows 0.1 + 0.2 as 0.3."""
    head = ["well", "Conc 1", "Unit 1", "Name 1", "Conc 2", "Unit 2", "Name 2"]
    rows = [
        head,
        ["A1", 0.2, None, "PEG 3350", 0.1 + 0.2, "M", "NaCl"],
        ["A2", 0.07, "% w/v", "PEG 3350", 0.2, "M", "NaCl"],
        ["A3", 20, "% w/v", "PEG 3350", 2.0, "M", "NaCl"],
    ]

    def typed(book):
        book.active["B2"].number_format, book.active["B3"].number_format = "0%", "0.0%"
        book.active["B4"].number_format = '0" %"'  # a text behind the number

    assert workbook({"Screen": rows}, "P1", typed).recorded == 3
    inside = system.ledger.contents.of_plates(["P1"])
    assert [inside("P1", Well(1, col, 1)).condition for col in (1, 2, 3)] == [
        "20 % PEG 3350, 0.3 M NaCl",
        "7 % w/v PEG 3350, 0.2 M NaCl",
        "20 % w/v PEG 3350, 2 M NaCl",
    ]


def test_sheets_that_are_both_of_a_plate_are_refused(system, workbook):
    rows = [["well", "sample"], ["A1", "x"]]
    with pytest.raises(ConfigError, match=r"line 2 of sheet Old: P1 A1 is already in line 2 of sheet New"):
        workbook({"New": rows, "Old": rows}, "P1")
    assert system.ledger.contents.of_plates(["P1"])("P1", Well(1, 1, 1)).sample == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("well,sample\nA1,x\nA0,y\nZZZ9,z\nA1,again\n", "3 lines need correction:\n  line 3: 'A0' is not a well.*\n  line 4: 'ZZZ9'.*\n  line 5: P1 A1 is already in line 2"),
        ("well,condition,sample\nA1,0.2 M NaCl,x\nA2,0.2 M NaCl, 20% PEG,y\n", "line 3: 4 cells, but the header has 3: a decimal comma, or a comma in a text"),
        ("well\tcondition\nA1\t0.2 M NaCl\t20% PEG\n", "line 2: 3 cells, but the header has 2"),
        ("row,col,sample\nA,1,x\nA,thirteen,y\n", "line 3: col is 'thirteen'; give a number from 1"),
        ("well,subwell,sample\nA1a,2,x\n", "has a subwell, but the column subwell has '2'"),
        (f"well,condition\nA1,{'x' * 1001}\n", "line 2: condition has 1001 characters; at most 1000"),
        ("well,barcode,sample\nA1,P2,x\n", "line 2: plate P2, but --barcode is P1"),
        ("well,smaple\nA1,x\n", "needs one of the columns project, sample, condition; is 'smaple' meant to be 'sample'"),
        ("sample\nx\n", "needs the column well, or row and col"),
        ("well,row,sample\nA1,A,x\n", "keep one of them"),
        ("well,sample,sample\nA1,x,y\n", "the column sample appears twice"),
        ("well,sample\n", "no lines below the header"),
        ('well,sample\nA1,"x\n', "line 2: not CSV"),
        ("", "needs the column well"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_and_nothing_is_recorded(system, layout, text, why):
    with pytest.raises(ConfigError, match=f"(?s){why}"):
        layout(text, "P1")
    assert system.ledger.contents.of_plates(["P1"])("P1", Well(1, 1, 1)).sample == ""


def test_files_that_are_no_layouts(system, layout, tmp_path):
    with pytest.raises(ConfigError, match="it has no column barcode; give the barcode with --barcode"):
        layout("well,sample\nA1,x\n")
    with pytest.raises(ConfigError, match="save it as CSV UTF-8"):
        layout("well,sample\nA1,Bäcker\n", "P1", encoding="latin-1")
    with pytest.raises(ConfigError, match="cannot read"):
        read_layout(system.config, system.ledger, tmp_path / "none.csv")


def test_names_of_wells():
    for well in (Well(1, 1, 1), Well(8, 12, 4), Well(27, 48, 26), Well(3, 9, 30), Well(703, 100, 1), Well(0, 0, 2)):
        assert parse_well(str(well)) == well
    assert parse_well(" h02D ") == Well(8, 2, 4)
    assert parse_well("A1") == Well(1, 1, 0)
    for text in ("", "A", "1", "A1ab", "A-1", "A00", "R0C"):
        with pytest.raises(ValueError, match="is not a well"):
            parse_well(text)
