"""Lines of text as people on a terminal see them; what pipes get is in the tests of each command."""

from __future__ import annotations

import sys

import pytest

from tests.core.test_terminal import Terminal, without_colour
from xtalgrid_server.cli.printing import print_lines


@pytest.fixture
def printed(monkeypatch):
    """``printed([line])``: what a terminal of 40 columns gets."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")

    def call(lines):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Terminal())
            print_lines(lines)
            return sys.stdout.getvalue()

    return call


def test_text_is_indented_by_its_label_and_words_stay_whole(printed):
    shown = printed(
        ["scores      3 precipitate, 5 clear, 1 clear with other features", "", f"  file       {'/x' * 30}: gone"]
    )
    assert without_colour(shown).splitlines() == [
        "scores      3 precipitate, 5 clear, 1",
        "            clear with other features",
        "",
        f"  file       {'/x' * 30}:",
        "             gone",
    ]


@pytest.mark.parametrize(
    ("line", "label"),
    [("PROBLEM  I_SCORES: is not there", "PROBLEM  "), ("failed unit xg_1: disk full", "failed unit ")],
)
def test_bad_news_is_red(printed, line, label):
    shown = printed([line, "units       2 sent"])
    assert shown.startswith(f"\x1b[1;31m{label}\x1b[0m{line.removeprefix(label)}\n\x1b[1munits  ")
