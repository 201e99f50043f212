#!/usr/bin/env python3
"""Lay out the worker as BOINC's app versions: frozen ones for a project, or one for a volunteer's own Python.

    python scripts/freeze.py --unpack-in . --release
    python scripts/make_app_version.py frozen dist/release/xtalgrid-worker-*-linux-x86_64 --apps PROJECT_DIR/apps
    python scripts/make_app_version.py own-python --python /opt/xtalgrid/bin/python --into PROJECT_FOLDER

`frozen` makes apps/xtalgrid/VERSION/PLATFORM/ with the file and its version.xml, for the project's bin/update_versions.
`own-python` makes app_info.xml and a launcher, for the folder projects/… of a BOINC client; the client reads them when
it starts.

BOINC's versions are numbers: 0.1.0 is 1.0 (100 for short), 1.2.3 is 102.3 (10203).
"""

from __future__ import annotations

import argparse
import filecmp
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

APP = "xtalgrid"
API_VERSION = "7.20.5"
"""Version of BOINC's protocol that the worker speaks.

Without one, clients take the app for one of BOINC 5, and share no memory with it.
"""

PLATFORMS = {
    ("linux", "x86_64"): "x86_64-pc-linux-gnu",
    ("linux", "aarch64"): "aarch64-unknown-linux-gnu",
    ("windows", "amd64"): "windows_x86_64",
    ("windows", "arm64"): "windows_arm64",
    ("macos", "x86_64"): "x86_64-apple-darwin",
    ("macos", "arm64"): "arm64-apple-darwin",
}
UNPACKS_IN_SLOT = b"pyi-runtime-tmpdir .\0"  # as PyInstaller keeps it


def main() -> None:
    """Lay out what is asked for, and say what was made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(required=True)
    way = ways.add_parser("frozen", help="for a project: frozen workers of any platforms")
    way.add_argument("workers", nargs="+", type=Path, help="files of scripts/freeze.py --unpack-in . --release")
    way.add_argument("--apps", type=Path, default=Path("apps"), help="the project's folder apps (default: ./apps)")
    way.set_defaults(make=lambda given: [frozen(worker, given.apps) for worker in given.workers])
    way = ways.add_parser("own-python", help="for a volunteer: the worker of a Python here")
    way.add_argument("--python", type=Path, default=Path(sys.executable), help="that has xtalgrid (default: this one)")
    way.add_argument("--into", type=Path, required=True, help="the project's folder in the client's data folder")
    way.set_defaults(make=lambda given: own_python(given.python, given.into))
    given = parser.parse_args()
    for path in given.make(given):
        print(path)


def frozen(worker: Path, apps: Path) -> Path:
    """Make one platform's folder from a frozen worker; its path."""
    found = re.fullmatch(
        r"xtalgrid-worker-(?P<version>\d[^-]*)-(?P<system>[a-z]+)-(?P<machine>\w+)(\.exe)?", worker.name
    )
    platform = PLATFORMS.get((found["system"], found["machine"])) if found else None
    if found is None or platform is None:
        sys.exit(f"{worker}: no name that says version and platform, as scripts/freeze.py --release gives")
    if not worker.is_file():
        sys.exit(f"{worker}: no such file; make it by scripts/freeze.py --unpack-in . --release")
    if UNPACKS_IN_SLOT not in worker.read_bytes():
        sys.exit(
            f"{worker} unpacks itself among the system's temporary files, where nobody clears up after a killed job; "
            "freeze it by scripts/freeze.py --unpack-in . --release"
        )
    folder = apps / APP / boinc_version(found["version"]) / platform
    physical = (
        folder / f"xtalgrid-worker_{found['version']}_{platform}{worker.suffix if worker.suffix == '.exe' else ''}"
    )
    if physical.exists() and not filecmp.cmp(worker, physical, shallow=False):
        sys.exit(f"{physical} is there with other bytes, and BOINC never changes a file; give the worker a new version")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(worker, physical)
    physical.chmod(0o755)
    (folder / "version.xml").write_text(
        f"""<version>
    <file>
        <physical_name>{physical.name}</physical_name>
        <main_program/>
    </file>
    <api_version>{API_VERSION}</api_version>
</version>
"""
    )
    return folder


def own_python(python: Path, into: Path) -> list[Path]:
    """Make app_info.xml and the launcher in the project's folder of a client; their paths."""
    python = python.absolute()
    if not python.is_file():
        sys.exit(f"{python}: no such Python; name the one that has xtalgrid by --python")
    version = version_of(python)
    into.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # the program that pip made, which has the path of its Python inside
        launcher = into / "xtalgrid-worker.exe"
        shutil.copyfile(python.with_name(launcher.name), launcher)
    else:
        launcher = into / "run_xtalgrid.sh"
        launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -I -m xtalgrid_worker "$@"\n')
        launcher.chmod(0o755)
    info = into / "app_info.xml"
    info.write_text(
        f"""<app_info>
    <app>
        <name>{APP}</name>
        <user_friendly_name>{APP}</user_friendly_name>
    </app>
    <file_info>
        <name>{escape(launcher.name)}</name>
        <executable/>
    </file_info>
    <app_version>
        <app_name>{APP}</app_name>
        <version_num>{version_number(version)}</version_num>
        <api_version>{API_VERSION}</api_version>
        <avg_ncpus>1</avg_ncpus>
        <file_ref>
            <file_name>{escape(launcher.name)}</file_name>
            <main_program/>
        </file_ref>
    </app_version>
</app_info>
"""
    )
    return [info, launcher]


def version_of(python: Path) -> str:
    """Return the version of xtalgrid that a Python has."""
    asked = f"from importlib import metadata; print(metadata.version({APP!r}))"
    said = subprocess.run([python, "-I", "-c", asked], capture_output=True, text=True)
    if said.returncode:
        sys.exit(f"{python} has no {APP}; install it there, or name another by --python")
    return said.stdout.strip()


def version_number(version: str) -> int:
    """Return BOINC's number of a version: 1.2.3 is 10203."""
    found = re.match(r"(\d+)\.(\d{1,2})(?:\.(\d{1,2}))?(?!\d)", version)
    if found is None:
        sys.exit(f"version {version!r} has no number for BOINC; versions are MAJOR.MINOR.PATCH, the last two below 100")
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major * 10_000 + minor * 100 + patch


def boinc_version(version: str) -> str:
    """Name of a version's folder: 1.2.3 is 102.3."""
    number = version_number(version)
    return f"{number // 100}.{number % 100}"


if __name__ == "__main__":
    main()
