"""CSV whose cells no spreadsheet takes for formulas, and which our programs read back as it was."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core.spreadsheets import cell_text, csv_line, open_text

SIGNS = "=+-@＝＋－＠"
TEXTS = st.text(st.sampled_from([*SIGNS, *"'\"; ,\t\r\nab1"]), max_size=12)


def cells(line: bytes, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(line.decode(), newline=""), delimiter=separator))


def test_a_line_of_csv():
    assert csv_line(("a,b", None, 'say "c"', -0.5, 3), "\r\n") == b'"a,b",,"say ""c""",-0.5,3\r\n'


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("before", ["", "PEG;", "PEG; ", "PEG\n", 'PEG;"', " ", "a; b;\t"])
def test_no_cell_begins_a_formula(sign, before):
    """Whatever the spreadsheet separates cells at; it may leave out blanks and quotes before it looks."""
    line = csv_line((f"{before}{sign}1+1", "x"))
    for separator in ",;\t":
        for cell in (cell for row in cells(line, separator) for cell in row):
            assert not re.match(rf"[\s\"]*[{re.escape(SIGNS)}]", cell), (line, separator)


@pytest.mark.parametrize("text", ["\tx", "\rx"])
def test_no_cell_begins_with_a_tab_or_a_line_break(text):
    assert cells(csv_line((text,))) == [[f"'{text}"]]


@pytest.mark.parametrize("text", ["RMM3_01-A.jpg", "2012-11-21 14:00:00", "salt; 20 °C", "it's; a 'quote'", "a=b"])
def test_other_text_stays_as_it_is(text):
    assert cells(csv_line((text,))) == [[text]]


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_what_was_written_is_read(texts):
    assert [[cell_text(cell) for cell in row] for row in cells(csv_line(texts))] == [texts]


@given(TEXTS)
def test_no_formula_whatever_the_text(text):
    assert not re.match(rf"[\s\"]*[{re.escape(SIGNS)}]", cells(csv_line((text,)))[0][0])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_in_each_encoding_that_programs_write(tmp_path, encoding):
    (tmp_path / "table.csv").write_bytes("well,note\r\nA1,5 µl 結晶\r\n".encode(encoding))
    with open_text(tmp_path / "table.csv") as stream:
        assert list(csv.reader(stream)) == [["well", "note"], ["A1", "5 µl 結晶"]]
