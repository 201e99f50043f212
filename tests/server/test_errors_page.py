"""docs/errors.md names what the code says: a message, a reason, a class or an exit code that is on one side only fails here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from xtalgrid_core import errors
from xtalgrid_server.cli import main as server_cli
from xtalgrid_worker import cli as worker_cli
from xtalgrid_worker.boinc import app as boinc_app

ROOT = Path(__file__).parents[2]
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/errors.md").read_text(), re.M | re.S))
NO_MESSAGES = ("Exit codes", "Images", "For programs")


def first_cells(section: str) -> list[str]:
    """The first cell of each row of a section's tables, without their heads."""
    rows = [line for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [re.split(r" \| ", row.removeprefix("| "))[0] for row in rows[2:]]


def quoted(cell: str) -> list[str]:
    """What stands in code spans."""
    return [text for _, text in re.findall(r"(`+)(.+?)\1(?!`)", cell)]


def templates() -> list[str]:
    """Each text of the code, with … for what is filled in when it is said."""
    texts = []
    for folder in ("server", "worker", "models"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                words = [part.value if isinstance(part, ast.Constant) else "…" for part in parts]
                if all(isinstance(word, str) for word in words) and isinstance(node, ast.JoinedStr | ast.Constant):
                    text = re.sub(r"%[-.0-9]*[sdgrf]", "…", "".join(words))  # of log lines
                    texts.append(re.sub("…+", "…", text))
    return texts


def test_every_quoted_message_is_in_the_code():
    known = "\n".join(templates())
    messages = [
        text
        for section in SECTIONS
        if section not in NO_MESSAGES
        for cell in first_cells(section)
        for text in quoted(cell)
    ]
    assert len(messages) > 80
    assert [text for text in messages if text not in known] == []


def test_every_reason_of_an_image_stands_on_the_page_and_no_other():
    assert [quoted(cell)[0] for cell in first_cells("Images")] == [str(reason) for reason in errors.FailureReason]


def test_every_class_of_error_stands_on_the_page_and_no_other():
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert sorted(n for cell in first_cells("For programs") for n in quoted(cell)) == sorted(
        c.__name__ for c in classes
    )


@pytest.mark.parametrize(
    ("program", "module"), [("xtalgrid", server_cli), ("xtalgrid-worker", worker_cli), ("xtalgrid-worker", boinc_app)]
)
def test_every_exit_code_stands_on_the_page(program, module):
    rows = [line for line in SECTIONS["Exit codes"].splitlines() if f"`{program}`" in line or "| all |" in line]
    said = {int(code) for row in rows for code in re.findall(r"\d+", row.split("|")[1])}
    codes = {value for name, value in vars(module).items() if name.startswith("EXIT_")}
    assert codes and codes <= said
