"""Print what commands find: lines for people, JSON and CSV for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from xtalgrid_core.lines import json_lines, one_line
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_core.terminal import console, print_labelled

from ..domain.images import has_date

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")

IMAGER_TIMES = frozenset({"date", "inspected", "newest_inspected", "newest_scored"})
"""Fields with the imager's naive local time. Other naive times are the ledger's, in UTC."""

_SCORE_TIMES = frozenset({"at", "date"})
"""Fields with the time of a score, which is null if the score table has none."""

_LABEL = re.compile(r"\s*(?:(?:\S+ )?\S+(?: UTC)? {2,}|(?:failed|lost) unit |score table )")
"""Start of a line, such as ``units       2 sent``, by which further lines of its text are indented."""
_ALARM = re.compile(r"\s*(?:PROBLEM|failed|lost|no score|again +(?:DIFFERS|IMPOSSIBLE))")


def print_lines(lines: Iterable[str], err: bool = False) -> None:
    """Print lines; on a terminal their labels are bold, or red if they are bad news, and long text is indented.

    With `err` they go to standard error, plain.
    """
    is_terminal = sys.stdout.isatty() and not err
    for text in lines:
        line = one_line(text)
        if is_terminal:
            label = _LABEL.match(line)
            indent = label.end() if label else len(line) - len(line.lstrip())
            print_labelled(console(), line[:indent], line[indent:], "bold red" if _ALARM.match(line) else "bold")
        else:
            click.echo(line, err=err)


def print_script(script: str) -> None:
    """Print one of the package's own scripts as it is."""
    click.echo(script, nl=False)


def print_found(value: Any, lines: Iterable[str], as_json: bool, imager_times: frozenset[str] = IMAGER_TIMES) -> None:
    """Print what a command found: as JSON for programs, or as lines for people."""
    if as_json:
        print_json(value, imager_times)
    else:
        print_lines(lines)


def print_json(value: Any, imager_times: frozenset[str] = IMAGER_TIMES) -> None:
    """Print a value as one JSON document: times in ISO 8601, with Z if they are UTC, and outcomes by name.

    The time of a score without a date is null.

    Parameters
    ----------
    value
        Dataclasses, msgspec structs, and what they are made of.
    imager_times
        Names of fields whose naive times are the imager's, and are printed without a zone.
    """
    plain = msgspec.to_builtins(value, builtin_types=(datetime,), str_keys=True)
    data = msgspec.json.encode(_with_zones(plain, "", imager_times))
    click.echo(json_lines(msgspec.json.format(data, indent=2)))


def _with_zones(value: Any, name: str, imager_times: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _with_zones(inner, key, imager_times) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_zones(inner, name, imager_times) for inner in value]
    if isinstance(value, datetime):
        if name in _SCORE_TIMES and not has_date(value):
            return None
        if value.tzinfo is None and name not in imager_times:
            return value.replace(tzinfo=UTC)
    return value


def print_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as CSV."""
    is_terminal = sys.stdout.isatty()
    for row in (header, *rows):
        line = csv_line(row, "").decode()
        click.echo(one_line(line) if is_terminal else line)
