"""Write what the documentation does not keep by hand: the reference, and the figures in pages.

    python docs/tools/make_reference.py [--check]

docs/reference/ comes from the code: commands, configuration keys, wire format, ledger tables and modules; and from the
locks, the licences. Figures in pages come from docs/evaluation/. No torch is needed. With ``--check`` nothing is
written, and the exit code is 1 if anything is out of date.
"""

from __future__ import annotations

import sys

from reference import commands, configuration, figures, ledger, licences, modules, wire_format
from reference.text import ROOT

FOLDER = ROOT / "docs" / "reference"


def pages() -> dict[str, str]:
    """Return what each file should hold, by its name."""
    return {
        "commands.md": commands.page(),
        "configuration-keys.md": configuration.page(),
        "wire-format.md": wire_format.page(),
        "manifest.schema.json": wire_format.schema_file("manifest"),
        "result.schema.json": wire_format.schema_file("result"),
        "ledger.md": ledger.page(),
        "modules.md": modules.page(),
        "licences.md": licences.page(),
    }


def main(check: bool) -> int:
    made = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} if FOLDER.is_dir() else {}
    differing = sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))
    for name in differing:
        if check:
            print(f"docs/reference/{name} differs from the code; run python docs/tools/make_reference.py")
        elif name in made:
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / name).write_text(made[name], encoding="utf-8")
            print(f"docs/reference/{name} written")
        else:
            (FOLDER / name).unlink()
            print(f"docs/reference/{name} removed")
    stale = list(figures.stale())
    for path, text in stale:
        if check:
            print(f"{path.relative_to(ROOT)}: figures differ from docs/evaluation; run docs/tools/make_reference.py")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} renewed")
    return 1 if check and (differing or stale) else 0


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    sys.exit(main(check=sys.argv[1:] == ["--check"]))
