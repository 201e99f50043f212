from xtalgrid_server.storage.text import csv_line


def test_a_line_of_csv():
    assert csv_line(("a,b", None, 'say "c"', 0.5)) == b'"a,b",,"say ""c""",0.5\n'
