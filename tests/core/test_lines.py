"""Foreign text on terminals and in logs."""

from __future__ import annotations

import json
import logging
import sys
import unicodedata

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core.command_group import CommandGroup
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.lines import LineFormatter, json_lines, message_lines, one_line

FORGED = "2026-11-29T12:00:00Z INFO all is well"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("P1\x1b[2J\x1b]0;title\x07", r"P1\x1b[2J\x1b]0;title\x07"),
        ("a\nb\r\nc\x0bd\x85e\u2028f\u2029g", r"a\nb\r\nc\x0bd\x85e\u2028f\u2029g"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202egpj.exe\u2066b\u200f", r"a\u202egpj.exe\u2066b\u200f"),
        ("\u200binvisible\ufeff\U000e0041", r"\u200binvisible\ufeff\U000e0041"),
        ("\udc80", r"\udc80"),
        ("\x00\x7f\t", r"\x00\x7f\t"),
    ],
)
def test_what_controls_a_terminal_is_shown_and_does_nothing(text, shown):
    assert one_line(text) == shown


@pytest.mark.parametrize("text", ["20 °C, 0.1\u00a0M α-β", "晶体\u3000板", "می\u200cخواهم", "बल", r"C:\new"])
def test_text_of_any_alphabet_stays_as_it_is(text):
    assert one_line(text) == text


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_a_line_is_one_line_without_controls(text):
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in shown.replace("\u200c", "").replace("\u200d", "")} & {
        *("Cc", "Cf", "Cs", "Zl", "Zp")
    }


def test_further_lines_of_a_message_are_indented():
    assert message_lines(f"P1\n{FORGED}\n  line 3: \x1b[2J") == f"P1\n  {FORGED}\n  line 3: \\x1b[2J"


@given(st.text())
def test_json_says_the_same(text):
    shown = json_lines(json.dumps({"name": text}, ensure_ascii=False, indent=2).encode())
    assert json.loads(shown) == {"name": text}
    assert all(one_line(line) == line for line in shown.split("\n"))


def test_no_record_looks_like_another(capsys):
    logger = logging.Logger("foreign")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s", "TIME"))
    logger.addHandler(handler)
    logger.warning("image %s", f"a\n{FORGED}\x1b[2J")
    try:
        raise ValueError(f"b\n{FORGED}\r{FORGED}")
    except ValueError:
        logger.exception("failed")
    first, second, *traceback = capsys.readouterr().err.splitlines()
    assert first == rf"TIME WARNING image a\n{FORGED}\x1b[2J"
    assert second == "TIME ERROR failed"
    assert len(traceback) > 3 and all(line.startswith("  ") for line in traceback)


def test_errors_of_commands_quote_nothing_raw():
    @click.group(cls=CommandGroup)
    def program() -> None:
        pass

    @program.command()
    def fail() -> None:
        raise click.ClickException(str(ConfigError(f"no plate \x1b[2J\n{FORGED}")))

    said = CliRunner().invoke(program, ["fail"]).output
    assert said == f"Error: no plate \\x1b[2J\n  {FORGED}\n"
