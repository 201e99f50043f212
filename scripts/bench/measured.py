"""Put what a benchmark measured into docs/evaluation/measured.toml, from which `make docs` renews the pages."""

from __future__ import annotations

import json
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from xtalgrid_scoring.networks import RUNTIME

FILE = Path(__file__).resolve().parents[2] / "docs" / "evaluation" / "measured.toml"


def record(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], file: Path = FILE) -> None:
    """Replace a table, with the command, machine and date; what it is about stays as it stands there.

    Raises
    ------
    KeyError
        If there is no such table.
    """
    lines = "".join(f"    {_array(row)},\n" for row in rows)
    _replace(file, name, f"{_origin()}columns = {_array(columns)}\nrows = [\n{lines}]\n")


def record_value(name: str, value: str, file: Path = FILE) -> None:
    """Replace a single value; see `record`."""
    _replace(file, name, f"value = {_text(value)}\n{_origin()}")


def _replace(file: Path, name: str, body: str) -> None:
    text = file.read_text(encoding="utf-8")
    head = re.search(rf"^\[{re.escape(name)}\]\n(?:.*\n)*?(what = .*\n)(?:.+\n)*", text, re.MULTILINE)
    if head is None or "\n[" in head[0]:
        raise KeyError(f"{file}: there is no [{name}] that says what it is; write it first")
    file.write_text(f"{text[: head.start()]}[{name}]\n{head[1]}{body}{text[head.end() :]}", encoding="utf-8")


def _origin() -> str:
    command = f"python scripts/bench/{Path(sys.argv[0]).name} {shlex.join(sys.argv[1:])}".strip()
    machine = f"one core of {_processor()}, {RUNTIME.replace('onnxruntime', 'ONNX Runtime')}"
    return f"command = {_text(command)}\nmachine = {_text(machine)}\ndate = {datetime.now(UTC):%Y-%m-%d}\n"


def _processor() -> str:
    """Return the processor's name and the vector instructions that int8 is fast with, as far as Linux says them."""
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"^model name\s*: (.*)$", said, re.MULTILINE)
    known = [part for part in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if re.search(rf"\b{part}\b", said)]
    return f"{name[1] if name else platform.machine()} ({', '.join(known)})"


def _array(cells: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, cells))}]"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
