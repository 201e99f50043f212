"""Markdown for the reference's pages."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[3]


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format a table; lines inside a cell are joined, bars escaped."""
    lines = [[_cell(cell) for cell in row] for row in (heads, *rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def plain(docstring: str) -> str:
    """Turn a docstring into Markdown: reStructuredText's double backticks become single ones."""
    return re.sub(r"``([^`]+)``", r"`\1`", inspect.cleandoc(docstring))


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring."""
    paragraph = " ".join(plain(docstring).split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", paragraph)[0]


def docs_of_assignments(source: str, inside: str | None = None) -> dict[str, str]:
    """Return, by name, the docstrings that follow assignments in a module or in one of its classes."""
    body: list[ast.stmt] = ast.parse(source).body
    if inside is not None:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == inside).body
    found = {}
    for node, after in itertools.pairwise(body):
        if not (
            isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        ):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]:
            if isinstance(target, ast.Name):
                found[target.id] = plain(after.value.value)
    return found
