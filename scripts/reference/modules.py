"""docs/reference/modules.md: every module with the first sentence of its docstring, packages in the order of an image's way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .text import ROOT, first_sentence, table

HEAD = """# Modules

Where things are in the code. The order is the way of an image: what a score is, how images become work units, who scores them, how scores come back, are
published and are looked at; then rendering and training. Import-linter keeps the arrows: server → core ← worker, synth → core, nets → core and synth.
"""

PACKAGES = (
    "models/xtalgrid_core",
    "server/xtalgrid_server",
    "server/xtalgrid_server/imager",
    "server/xtalgrid_server/work",
    "server/xtalgrid_server/grid",
    "server/xtalgrid_server/boinc",
    "models/xtalgrid_scoring",
    "worker/xtalgrid_worker",
    "worker/xtalgrid_worker/boinc",
    "server/xtalgrid_server/ledger",
    "server/xtalgrid_server/scores",
    "server/xtalgrid_server/viewer",
    "server/xtalgrid_server/viewer/routes",
    "server/xtalgrid_server/viewer/access",
    "server/xtalgrid_server/reports",
    "server/xtalgrid_server/models",
    "server/xtalgrid_server/service",
    "server/xtalgrid_server/simulation",
    "models/xtalgrid_synth",
    "models/xtalgrid_nets",
    "models/xtalgrid_nets/networks",
    "models/xtalgrid_nets/sets",
    "models/xtalgrid_nets/fit",
    "models/xtalgrid_nets/adapt",
    "models/xtalgrid_nets/judge",
    "models/xtalgrid_nets/explain",
    "models/xtalgrid_nets/mxnet",
)
"""In the order of an image's way; a package that is not named here comes last."""

LEFT_OUT = "migrations"


def modules() -> Iterator[tuple[Path, str]]:
    """(file, first sentence of its docstring) of every module; empty where it has none."""
    for part in ("models", "worker", "server"):
        for file in sorted((ROOT / part).glob("xtalgrid_*/**/*.py")):
            if LEFT_OUT not in file.parts:
                yield file, first_sentence(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "")


def page() -> str:
    """The page."""
    found: dict[str, dict[Path, str]] = {package: {} for package in PACKAGES}
    for file, said in modules():
        found.setdefault(file.parent.relative_to(ROOT).as_posix(), {})[file] = said
    parts = [HEAD.strip()]
    for package, files in found.items():
        rows = [
            (f"[`{file.name}`](../../{file.relative_to(ROOT).as_posix()})", said)
            for file, said in files.items()
            if file.name != "__init__.py"
        ]
        name = ".".join(package.split("/")[1:])
        parts += [f"## {name}", files[ROOT / package / "__init__.py"], table(("module", ""), rows)]
    return "\n\n".join(parts) + "\n"
