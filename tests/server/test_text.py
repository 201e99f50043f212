from xtalgrid_server.storage.text import csv_line, table


def test_columns_are_as_wide_as_they_need_to_be():
    rows = [("PEG 3350, 20 %", 9, "A1a"), ("", 1234, "H12c")]
    assert list(table(("condition", "drops", "best"), rows, right="drops")) == [
        "condition       drops  best",
        "PEG 3350, 20 %      9  A1a",
        "                 1234  H12c",
    ]


def test_a_line_of_csv():
    assert csv_line(("a,b", None, 'say "c"', 0.5)) == b'"a,b",,"say ""c""",0.5\n'
