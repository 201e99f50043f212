"""What one place alone may do is done there, and nowhere else in the product's sources."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


@functools.cache
def trees() -> dict[str, ast.Module]:
    """Return each file's syntax; when a test asks for it, as each test process collects this file."""
    files = [path for place in ("models", "worker", "server", "scripts") for path in (ROOT / place).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def calls(name: str) -> list[str]:
    """Return the file of each call of a function or class of this name, whatever stands before it."""
    return [
        file
        for file, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == name
    ]


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a file imports from other packages, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_one_place_makes_sessions_of_onnx_runtime():
    assert calls("InferenceSession") == ["models/xtalgrid_scoring/networks.py"]


def test_one_place_decides_wells():
    assert calls("decide") == ["models/xtalgrid_scoring/score.py"]


def test_onnx_runtime_is_imported_where_sessions_are_made():
    found = {
        file for file, tree in trees().items() if any(name.split(".")[0] == "onnxruntime" for name in imports(tree))
    }
    assert found == {
        "models/xtalgrid_scoring/networks.py",
        "models/xtalgrid_nets/quantize.py",  # its tools, which make int8 weights
    }
