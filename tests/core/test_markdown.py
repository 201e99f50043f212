from __future__ import annotations

from xtalgrid_core.markdown import table


def test_a_table_has_a_head_a_rule_and_its_rows() -> None:
    assert table(("plate", "wells"), [("CI022987", "288"), ("MC011145", "")]) == [
        "| plate | wells |",
        "|---|---|",
        "| CI022987 | 288 |",
        "| MC011145 |  |",
    ]
