from __future__ import annotations

from xtalgrid_core.markdown import table


def test_a_table_has_a_head_a_rule_and_its_rows() -> None:
    assert table(("plate", "wells"), [("CI022987", "288"), ("MC011145", "")]) == [
        "| plate | wells |",
        "|---|---|",
        "| CI022987 | 288 |",
        "| MC011145 |  |",
    ]


def test_a_name_with_a_bar_stays_in_its_cell() -> None:
    assert table(("plate",), [("A|1\nB",)])[2] == r"| A\|1 B |"
