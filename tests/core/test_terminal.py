"""Tables as a program and as people on a terminal see them."""

from __future__ import annotations

import io
import re
import sys
from collections import Counter

import pytest

pytest.importorskip("rich", reason="comes with the extras server and train")

from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_core.terminal import print_table, table

HEADER = ("condition", "drops", "best")
ROWS = [("0.1 M HEPES pH 7.5, 20 % PEG 3350 [salt]", 9, "A1a"), ("", 1234, "H12c")]


class Terminal(io.StringIO):
    """Standard output that says it is a terminal, and keeps what was printed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def printed(monkeypatch):
    """``printed(80, header, rows)``: the lines that a terminal of this width gets."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def call(width, *words, **options):
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", str(width))
            patch.setattr(sys, "stdout", Terminal())
            print_table(*words, **options)
            return sys.stdout.getvalue()

    return call


def without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_columns_are_as_wide_as_they_need_to_be():
    rows = [("PEG 3350, 20 %", 9, "A1a"), ("", 1234, "H12c")]
    assert list(table(HEADER, rows, right="drops")) == [
        "condition       drops  best",
        "PEG 3350, 20 %      9  A1a",
        "                 1234  H12c",
    ]


def test_a_pipe_gets_plain_text_whatever_the_environment_says(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = [("x" * 300, Outcome.CLEAR, 1)]
    print_table(HEADER, rows)
    assert capsys.readouterr().out == "\n".join([*table(HEADER, rows), ""])
    assert len("\n".join(table(HEADER, rows))) > 300


def test_text_wraps_inside_its_column(printed):
    lines = without_colour(printed(40, HEADER, ROWS, right="drops")).splitlines()
    assert [line.rstrip() for line in lines] == [
        "condition                    drops  best",
        "0.1 M HEPES pH 7.5, 20 %         9  A1a",
        "PEG 3350 [salt]",
        "                              1234  H12c",
    ]


def test_a_terminal_too_narrow_for_the_columns_gets_a_list(printed):
    lines = without_colour(printed(21, HEADER, ROWS, right="drops")).splitlines()
    assert lines[:2] == ["condition  0.1 M HEPES", "           pH 7.5, 20 %"]
    assert "\x1b[1mbest       \x1b[0mA1a\n" in printed(21, HEADER, ROWS), "only labels are bold"
    assert lines[4:7] == ["drops      9", "best       A1a", ""]


def test_no_width_loses_a_character(printed):
    header = ("network", "parameters", "MiB", "", "source")
    rows = [
        ("squeezenet1.0-mxnet-mean", "742,093", 2.8, "yes", "Iandola et al. 2017 (1602.07360); see Thielmann et al."),
        ("vgg16", "134,313,805", 512.4, "", "Simonyan & Zisserman 2015 (1409.1556); a-path/without/any/spaces.csv"),
    ]  # fmt: skip

    def characters(words):
        return Counter(re.sub(r"\s", "", "".join(map(str, words))))

    cells, heads = characters(cell for row in rows for cell in row), characters(header)
    layouts = {"table": cells + heads, "list": cells + heads + heads}
    seen = set()
    for width in range(1, 151):
        shown = without_colour(printed(width, header, rows, right="parameters MiB"))
        (layout,) = (name for name, expected in layouts.items() if characters(shown) == expected)
        assert layout == "list" or max(map(len, shown.splitlines())) <= width
        seen.add(layout)
    assert seen == {"table", "list"}


def test_outcomes_are_coloured_by_group_unless_colours_are_unwanted(printed, monkeypatch):
    rows = [(Outcome.BAD_FORM, 1, "A1a"), (Group.CRYSTAL, 2, "A1b")]
    assert printed(80, HEADER, rows).count("\x1b[1;31m") == 2
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[\d;]*3\d", printed(80, HEADER, rows))
