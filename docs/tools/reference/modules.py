"""docs/reference/modules.md: every module with the first sentence of its docstring, in the order of an image's way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .text import ROOT, first_sentence, table

HEAD = """# Modules

Where things are in the code: the front door, what a score is and how it is made, the worker, the server from its lowest
layer up, then rendering and training. Import-linter keeps the arrows: xtalgrid, server, worker and nets → scoring →
core, synth → core, nets → synth; and inside the server each layer imports only those below it.
"""

PACKAGES = (
    "models/xtalgrid",
    "models/xtalgrid_core",
    "models/xtalgrid_scoring",
    "worker/xtalgrid_worker",
    "worker/xtalgrid_worker/boinc",
    "server/xtalgrid_server",
    "server/xtalgrid_server/domain",
    "server/xtalgrid_server/config",
    "server/xtalgrid_server/storage",
    "server/xtalgrid_server/imager",
    "server/xtalgrid_server/imager/crystaltrak",
    "server/xtalgrid_server/imager/folder",
    "server/xtalgrid_server/imager/ispyb",
    "server/xtalgrid_server/ledger",
    "server/xtalgrid_server/grids",
    "server/xtalgrid_server/grids/boinc",
    "server/xtalgrid_server/steps",
    "server/xtalgrid_server/steps/assimilate",
    "server/xtalgrid_server/reports",
    "server/xtalgrid_server/exchange",
    "server/xtalgrid_server/service",
    "server/xtalgrid_server/simulation",
    "server/xtalgrid_server/web",
    "server/xtalgrid_server/web/auth",
    "server/xtalgrid_server/web/cache",
    "server/xtalgrid_server/web/pages",
    "server/xtalgrid_server/web/report",
    "server/xtalgrid_server/web/routes",
    "server/xtalgrid_server/cli",
    "server/xtalgrid_server/boinc",
    "models/xtalgrid_synth",
    "models/xtalgrid_nets",
    "models/xtalgrid_nets/cli",
    "models/xtalgrid_nets/networks",
    "models/xtalgrid_nets/sets",
    "models/xtalgrid_nets/fit",
    "models/xtalgrid_nets/adapt",
    "models/xtalgrid_nets/judge",
    "models/xtalgrid_nets/explain",
    "models/xtalgrid_nets/mxnet",
    "models/xtalgrid_nets/tensorflow",
    "models/xtalgrid_nets/marco",
)
"""A package that is not listed comes last."""

LEFT_OUT = "migrations"


def modules() -> Iterator[tuple[Path, str]]:
    """Yield (file, first sentence of its docstring) for every module; the sentence is empty if it has none."""
    for part in ("models", "worker", "server"):
        for file in sorted((ROOT / part).glob("xtalgrid*/**/*.py")):
            if LEFT_OUT not in file.parts:
                yield file, first_sentence(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "")


def page() -> str:
    """Write the page."""
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
