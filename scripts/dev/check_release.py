"""Check that a tag may be released: it matches the version and CHANGELOG.md, and all of its files exist.

    python scripts/dev/check_release.py v1.2.3             before anything is built
    python scripts/dev/check_release.py v1.2.3 FOLDER      afterwards, with wheel, source archive, lock, bills of
                                                           materials and frozen workers in FOLDER or in folders of it

It exits with 1 and prints a line for each error.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ("linux", "windows", "macos")
LOCKS = ("server", "freeze")


def main() -> None:
    """Check a tag, and the files made for it if a folder is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="the version in pyproject.toml after a v")
    parser.add_argument("folder", nargs="?", type=Path, help="folder with the files")
    arguments = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    errors = of_tag(arguments.tag, project["version"], changes)
    if arguments.folder:
        errors += of_files(project["version"], [path.name for path in arguments.folder.rglob("*") if path.is_file()])
    sys.exit("\n".join(errors))


def of_tag(tag: str, version: str, changes: str) -> list[str]:
    """List the errors of a tag, given the version and the changelog's text."""
    wrong = (
        []
        if tag == f"v{version}"
        else [f"the tag is {tag}, but the version in pyproject.toml is {version}: tag v{version}"]
    )
    newest = re.search(r"^## (.+)$", changes, re.MULTILINE)
    if newest is None or not re.fullmatch(rf"{re.escape(version)}, \d{{4}}-\d\d-\d\d", newest[1]):
        heading = f"'## {newest[1]}'" if newest else "no heading"
        wrong.append(f"CHANGELOG.md begins with {heading}; write '## {version}, YEAR-MONTH-DAY'")
    return wrong


def of_files(version: str, names: list[str]) -> list[str]:
    """List the files that are missing; there must be two workers for each system, one of them for BOINC."""
    wanted = [f"xtalgrid-{version}-py3-none-any.whl", f"xtalgrid-{version}.tar.gz", "server.lock"]
    wanted += [f"xtalgrid-{version}-{lock}.cdx.json" for lock in LOCKS]
    wrong = [f"{name} is missing" for name in wanted if name not in names]
    for system in SYSTEMS:
        start = f"xtalgrid-worker-{version}-{system}-"
        files = [name for name in names if name.startswith(start) and not name.endswith((".zip", ".tar.gz"))]
        if len(files) != 2:
            wrong.append(f"{len(files)} files {start}*; there should be 2, one of them for BOINC")
    return wrong


if __name__ == "__main__":
    main()
