"""Write a CycloneDX bill of materials of each lock that ships, and look for known advisories against what is in it.

    python scripts/dev/materials.py FOLDER

FOLDER gets ``xtalgrid-VERSION-server.cdx.json`` and ``…-freeze.cdx.json``: packages with licences and what needs what.
The exit code is 1 if PyPI knows of an advisory, or does not know a package. It needs a network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from check_release import LOCKS, ROOT


def main() -> None:
    """Write the bills, then look for advisories."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the bills")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    with tempfile.TemporaryDirectory() as scratch:
        tools = environment(Path(scratch), "audit")
        for lock in LOCKS:
            bill = folder / f"xtalgrid-{version}-{lock}.cdx.json"
            write_bill(tools, environment(Path(scratch), lock), bill)
            print(bill)
        sys.exit(max(find_advisories(tools, lock) for lock in LOCKS))


def environment(scratch: Path, lock: str) -> Path:
    """Make an environment with exactly a lock's packages; return its Python."""
    folder = scratch / lock
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*install, "--require-hashes", "--no-deps", "-r", str(path_of(lock))], check=True)
    return python


def path_of(lock: str) -> Path:
    """Return a lock's path."""
    return ROOT / "scripts" / "locks" / f"{lock}.lock"


def write_bill(tools: Path, python: Path, bill: Path) -> None:
    """Describe an environment, as part of xtalgrid; the same environment gives the same bytes."""
    command = [
        str(tools),
        "-m",
        "cyclonedx_py",
        "environment",
        str(python),
        "--pyproject",
        str(ROOT / "pyproject.toml"),
    ]
    written = ["--output-reproducible", "--output-format", "JSON", "--output-file", str(bill)]
    subprocess.run([*command, *written], check=True)


def find_advisories(tools: Path, lock: str) -> int:
    """Print the advisories against a lock's packages; return 1 if there are any, or if a package is not known."""
    command = [str(tools), "-m", "pip_audit", "--strict", "--require-hashes", "--disable-pip"]
    done = subprocess.run([*command, "--progress-spinner", "off", "--requirement", str(path_of(lock))])
    return min(done.returncode, 1)


if __name__ == "__main__":
    main()
