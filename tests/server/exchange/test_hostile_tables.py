"""Tables that are broken, huge or made to harm: refused with what to do, or read in bounded memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.conftest import rigaku_name
from tests.server.exchange.conftest import PLATE
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_server.exchange import sheets
from xtalgrid_server.exchange.layouts import read_layout
from xtalgrid_server.exchange.sheets import Row

HEAD = "barcode,inspection,well,score,by\n"


def workbook(rows, **parts: bytes) -> bytes:
    """An Excel file; `parts` replace some of its parts by name, with __ for a slash."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return repacked(stream.getvalue(), {name.replace("__", "/") + ".xml": data for name, data in parts.items()})


def repacked(data: bytes, parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, parts.pop(name, None) or old.read(name))
        for name, content in parts.items():
            new.writestr(name, content)
    return out.getvalue()


def sheet_of(rows: str) -> bytes:
    return f'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{rows}</worksheet>'.encode()


ROWS = [HEAD.strip().split(","), [PLATE, 3, "A1a", "clear", "ann"]]
LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><worksheet xmlns="x">&b;</worksheet>'
)
OUTSIDE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><worksheet xmlns="x">&a;</worksheet>'


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"barcode,well\n\xe4\xf6,A1\n", "not UTF-8 text; save it as CSV UTF-8"),
        (HEAD.encode() + b"CI022987,3,A1a,clear,ann\n" * 3000 + b"\xe4", "save it as CSV UTF-8"),
        (b"\xff\xfeb\x00a", "save it as CSV UTF-8"),
        (HEAD.encode() + b"a\x00b\n", "line 2 has a NUL character; this is no table"),
        (HEAD.encode() + b"x" * 3_000_000, "line 2 is too long; this is no table"),
        (HEAD.encode() + b'"' + b"x\n" * 500_000, "not CSV"),
        (HEAD.encode() + b"," * 2000 + b"x\n", "more than 1000 cells"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + b"x" * 100, "an old or encrypted Excel file; save it as .xlsx"),
        (b"PK\x03\x04rubbish", "a damaged Excel file"),
        (repacked(workbook(ROWS), {"xl/workbook.xml": b"<broken"}), "a damaged Excel file"),
        (workbook(ROWS, xl__worksheets__sheet1=sheet_of("<sheetData><row>")), "a damaged Excel file"),
        (workbook(ROWS, xl__worksheets__sheet1=LAUGHS), "its XML declares a document type"),
        (workbook(ROWS, xl__worksheets__sheet1=OUTSIDE), "its XML declares a document type"),
        (workbook(ROWS, xl__sharedStrings=b"<sst>" + b" " * (70 << 20) + b"</sst>"), "unpacks to too much"),
        (repacked(workbook(ROWS), {f"xl/media/{n}.png": b"" for n in range(1100)}), "unpacks to too much"),
    ],
)
def test_what_cannot_be_read_is_refused_whole_and_says_what_to_do(system, bring, content, reason):
    with pytest.raises(ConfigError) as error:
        bring(content, "scores.csv")  # whatever its name says
    assert reason in str(error.value)
    assert system.ledger.imported_scores.inspect_ids() == []


@pytest.mark.usefixtures("plate")
def test_a_zip_that_is_no_workbook(bring):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../etc/passwd", "x")
    with pytest.raises(ConfigError, match="a zip file, but no Excel workbook; unpack it"):
        bring(stream.getvalue(), "scores.xlsx")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (("mimetype", "content.xml", "META-INF/manifest.xml"), "an OpenDocument table, as LibreOffice writes it; save"),
        (("[Content_Types].xml", "xl/workbook.bin"), r"a binary Excel workbook \(.xlsb\); save it as .xlsx"),
        (("Index/Document.iwa", "preview.jpg"), "a table of Numbers; save it as .xlsx, or as CSV UTF-8"),
    ],
)
def test_tables_of_other_programs_are_named(bring, parts, reason):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for part in parts:
            archive.writestr(part, "x")
    with pytest.raises(ConfigError, match=reason):
        bring(stream.getvalue(), "scores.xlsx")


@pytest.mark.usefixtures("plate")
def test_merged_cells_below_the_header_are_refused(bring, tmp_path):
    book = openpyxl.Workbook()
    for row in [*ROWS, [PLATE, 3, "A2a", "clear", "ann"]]:
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    book.save(tmp_path / "merged.xlsx")
    with pytest.raises(ConfigError, match=r"the cells A2:A3 are merged.*unmerge them in Excel and fill in all of them"):
        bring(tmp_path / "merged.xlsx")


@pytest.mark.usefixtures("plate")
def test_a_sheet_that_lies_about_its_size(bring):
    cells = "".join(
        f'<c r="{"ABCDE"[n]}2" t="inlineStr"><is><t>{value}</t></is></c>' for n, value in enumerate(ROWS[1])
    )
    heads = "".join(
        f'<c r="{"ABCDE"[n]}1" t="inlineStr"><is><t>{value}</t></is></c>' for n, value in enumerate(ROWS[0])
    )
    lies = f'<dimension ref="A1:XFD1048576"/><sheetData><row r="1">{heads}</row><row r="2">{cells}</row></sheetData>'
    assert bring(workbook(ROWS, xl__worksheets__sheet1=sheet_of(lies)), "a.xlsx").new == 1
    far = (
        f'<sheetData><row r="1">{heads}</row><row r="99999999999">{cells.replace("2", "99999999999")}</row></sheetData>'
    )
    with pytest.raises(ConfigError, match=r"damaged|more than 1048576 rows"):
        bring(workbook(ROWS, xl__worksheets__sheet1=sheet_of(far)), "b.xlsx")


@pytest.mark.usefixtures("plate")
def test_memory_does_not_grow_with_the_lines(system, bring, tmp_path):
    file = tmp_path / "many.csv"
    peaks = []
    for lines in (1_000, 5_000):
        with file.open("w") as stream:
            stream.write(HEAD)
            stream.writelines(f"{PLATE},3,A{n % 4 + 1}a,{'blob' if n % 3 else 'clear'},ann\n" for n in range(lines))
        tracemalloc.start()
        done = bring(file)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert done.lines == lines == done.new + done.known + done.refused
    assert peaks[1] < peaks[0] + 1_000_000


@pytest.mark.usefixtures("plate")
def test_a_formula_without_its_value_is_refused_where_it_counts(bring, system, tmp_path):
    formula = [PLATE, 3, "A1a", '=IF(1,"clear")', "ann"]  # openpyxl stores no values
    with pytest.raises(ConfigError, match=r"sheet Sheet, row 2: a formula without its value.*save it"):
        bring(workbook([ROWS[0], formula]))
    note = [*ROWS[0], "note"], [*ROWS[1], "=TODAY()"]
    assert bring(workbook(note)).new == 1
    layout = tmp_path / "layout.xlsx"
    layout.write_bytes(workbook([["well", "sample"], ["A1", '="a"&1']]))
    with pytest.raises(ConfigError, match="row 2: a formula without its value"):
        read_layout(system.config, system.ledger, layout, PLATE)


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("value", "counts"),
    [('t="str"><f>A1</f><v>clear</v>', (1, 0)), ('t="str"><f>A1</f><v></v>', (0, 1)), ("><f>A1</f><v>1</v>", (0, 0))],
)
def test_a_formula_is_its_value(bring, value, counts):
    """As Excel and LibreOffice store them, an empty text among them."""
    head = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in ("barcode", "well", "score", "by"))
    cells = f'<c t="inlineStr"><is><t>{PLATE}</t></is></c><c t="inlineStr"><is><t>A1a</t></is></c><c {value}</c>'
    rows = f'<sheetData><row>{head}</row><row>{cells}<c t="inlineStr"><is><t>ann</t></is></c></row></sheetData>'
    done = bring(workbook(ROWS, xl__worksheets__sheet1=sheet_of(rows)))
    assert (done.new, done.without_score) == counts


@pytest.mark.usefixtures("plate")
def test_formulas_stay_text(system, bring, held):
    done = bring(HEAD + f'{PLATE},3,A1a,clear,"=HYPERLINK(""http://x"")"\n')
    assert dict(done.people) == {'=HYPERLINK("http://x")': 1}


text = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=20).map(str.strip)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(text, text, text).filter(any), min_size=1, max_size=5))
def test_what_our_csv_says_is_read_back_cell_by_cell(tmp_path, rows):
    file = tmp_path / "cells.csv"
    file.write_bytes(b"a,b,c\n" + b"".join(map(csv_line, rows)))
    (sheet,) = sheets.sheets(file)
    if sheet.separator == ",":  # else the cells have more of another
        assert [row.cells for row in sheet.rows()][1:] == rows


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(text, text, text).filter(any), min_size=1, max_size=5))
def test_what_excel_holds_is_read_as_text(tmp_path: Path, rows):
    book = openpyxl.Workbook()
    allowed = [[openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", cell) for cell in row] for row in rows]
    for number, row in enumerate(allowed, start=1):
        for column, cell in enumerate(row, start=1):
            book.active.cell(number, column, cell).data_type = "s"
    book.save(tmp_path / "cells.xlsx")
    (sheet,) = sheets.sheets(tmp_path / "cells.xlsx")
    wanted = [
        Row(n, tuple(cell.strip() for cell in row)) for n, row in enumerate(allowed, 1) if any(map(str.strip, row))
    ]
    assert list(sheet.rows()) == wanted


@pytest.mark.usefixtures("plate")
def test_an_image_name_with_folders_never_opens_a_path(bring):
    done = bring(f"image,score,by\n../../../{rigaku_name(1)},clear,ann\nfile:///etc/passwd,clear,ann\n")
    assert (done.new, done.refused) == (1, 1)
