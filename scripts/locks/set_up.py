#!/usr/bin/env python3
"""Set up an environment with the locked packages of scripts/locks/. An error is one line that says what to do.

    scripts/locks/set_up.py .venv server            packages for `make demo`, and xtalgrid itself, editable
    scripts/locks/set_up.py .venv dev               also those for tests, linters and documentation
    scripts/locks/set_up.py .venv train             also those for training, with torch
    scripts/locks/set_up.py .venv-freeze freeze     packages of the frozen worker, and PyInstaller
    scripts/locks/set_up.py --newest .venv-newest dev    the newest versions that pyproject.toml allows

The Makefile calls it with any Python; one that is too old gets a message.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path(__file__).resolve().parent
EXTRAS = {
    "server": "server,oracle,postgres,boinc",
    "dev": "server,oracle,postgres,boinc,parquet,dev",
    "train": "server,oracle,postgres,boinc,parquet,dev,train",
    "freeze": "freeze",
}
# Output of pip and venv, and what to do about it; the first match counts. `{0}` is the pattern's group, or the lock.
REMEDIES = [
    (r"No space left on device", "the disk is full: free some space for this folder and $TMPDIR, then run it again"),
    (
        r"DO NOT MATCH THE HASHES.*?\n\s+(\S+?==\S+|\S+) (?:from|\()",
        "{0} does not match its hash in scripts/locks/, so nothing was installed: if you changed the lock, run "
        "`git checkout scripts/locks`; otherwise ask whoever runs your package index or proxy",
    ),
    (
        r"Invalid requirement|Invalid[A-Z]\w+:|UndefinedEnvironmentName|Hashes are required|versions pinned"
        r"|Could not open requirements",
        "{0} is broken: restore it with `git checkout scripts/locks`, or renew it with `scripts/lock.sh`",
    ),
    (
        r"Retrying \(Retry|NewConnectionError|ConnectTimeout|ReadTimeout|ConnectionError|ProxyError|SSLError"
        r"|name resolution",
        "cannot reach a package index: check the network, and pip's proxy and index (`pip config list`), then run it "
        "again",
    ),
    (
        r"No matching distribution found for (\S+)",
        "pip finds no {0} for this Python and system: check the index with `pip config list`, or use another Python "
        "with PYTHON=…",
    ),
    (
        r"ensurepip is not|No module named '?(?:ensurepip|venv)",
        "Python's venv is not installed: `apt install python3-venv`, or use another Python with PYTHON=…",
    ),
]


def main() -> None:
    """Create the environment if necessary, and install the packages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path, help="folder of the environment")
    parser.add_argument("part", choices=EXTRAS)
    parser.add_argument("--newest", action="store_true", help="ignore the lock")
    arguments = parser.parse_args()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    check_python(project)
    print(f"setting up {arguments.environment} ({arguments.part}); this can take a minute or two", flush=True)
    python = environment(arguments.environment)
    lock = LOCKS / ("all.lock" if arguments.part == "train" else f"{arguments.part}.lock")
    if arguments.newest:
        pip(python, "--upgrade", "--editable", f"{ROOT}[{EXTRAS[arguments.part]}]")
        return
    pip(python, "--require-hashes", "--no-deps", "-r", str(lock), lock=lock)
    if arguments.part == "train":  # torch has separate builds for each platform, so it is pinned by version only
        pip(python, *re.findall(r'"(torch(?:vision)?==[^"]+)"', project))
    pip(python, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def check_python(project: str) -> None:
    """Refuse a Python that `requires-python` of pyproject.toml excludes."""
    allowed = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', project)
    assert allowed is not None, "pyproject.toml has no requires-python"
    first, beyond = map(int, allowed.groups())
    if not (3, first) <= sys.version_info[:2] < (3, beyond):
        version = ".".join(map(str, sys.version_info[:2]))
        stop(
            f"this is Python {version}, but xtalgrid needs 3.{first} to 3.{beyond - 1}: choose one, as in "
            f"`make demo PYTHON=python3.{first}`"
        )


def environment(folder: Path) -> Path:
    """Return the environment's Python; create the environment if it is missing, or if its Python or pip fails."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() or subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
        run([sys.executable, "-m", "venv", "--clear", str(folder)], folder)
    return python


def pip(python: Path, *words: str, lock: Path | None = None) -> None:
    """Install packages."""
    run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *words], lock=lock
    )


def run(command: list[str], made: Path | None = None, lock: Path | None = None) -> None:
    """Run a command; if it fails, exit with a message that says what to do."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if not done.returncode:
        return
    if made and made.exists() and shutil.disk_usage(made).free < 32 << 20:  # venv does not say why it failed
        stop(REMEDIES[0][1])
    for pattern, remedy in REMEDIES:
        if match := re.search(pattern, done.stdout, re.DOTALL):
            stop(remedy.format(match[1] if match.re.groups else lock and lock.relative_to(ROOT)))
    output = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["no output"]
    errors = [line for line in output if re.search("error", line, re.IGNORECASE)]
    stop(f"{' '.join(command)} failed: {(errors or output)[-1]}")


def stop(message: str) -> None:
    """Exit with a message of one line."""
    sys.exit(f"set-up: {message}")


if __name__ == "__main__":
    main()
