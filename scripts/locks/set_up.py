#!/usr/bin/env python3
"""Sets up an environment as scripts/locks/ has it. What goes wrong ends in one line that says what to do.

    scripts/locks/set_up.py .venv server            what `make demo` needs, and xtalgrid itself, editable
    scripts/locks/set_up.py .venv dev               also what tests, linters and documentation need
    scripts/locks/set_up.py .venv train             also the networks' part, with torch
    scripts/locks/set_up.py .venv-freeze freeze     what the frozen worker is made of, and PyInstaller
    scripts/locks/set_up.py --newest .venv-newest dev    the newest versions that pyproject.toml allows

It is called by the Makefile, with any Python: an old one is told so.
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
    "dev": "server,oracle,postgres,boinc,dev",
    "train": "server,oracle,postgres,boinc,dev,train",
    "freeze": "freeze",
}
# What pip and venv print, and what to do about it; the first match counts. `{0}`: the pattern's group, or the lock.
REMEDIES = [
    (r"No space left on device", "the disk is full: make room where this folder and $TMPDIR are, and run it again"),
    (
        r"DO NOT MATCH THE HASHES.*?\n\s+(\S+?==\S+|\S+) (?:from|\()",
        "{0} is not the file that scripts/locks/ names, so nothing was installed: `git checkout scripts/locks` if the "
        "lock was changed; otherwise ask who runs your package index or proxy",
    ),
    (
        r"Invalid requirement|Invalid[A-Z]\w+:|UndefinedEnvironmentName|Hashes are required|versions pinned"
        r"|Could not open requirements",
        "{0} is broken: `git checkout scripts/locks`, or `scripts/lock.sh` to write it anew",
    ),
    (
        r"Retrying \(Retry|NewConnectionError|ConnectTimeout|ReadTimeout|ConnectionError|ProxyError|SSLError"
        r"|name resolution",
        "no package index can be reached: set up the network or pip's proxy or index (`pip config "
        "list`), and run it again",
    ),
    (
        r"No matching distribution found for (\S+)",
        "pip finds no {0} for this Python and system: `pip config list` names the index it asks, PYTHON=… takes "
        "another Python",
    ),
    (
        r"ensurepip is not|No module named '?(?:ensurepip|venv)",
        "Python's venv is missing: `apt install python3-venv`, or PYTHON=… for a Python that has it",
    ),
]


def main() -> None:
    """Make the environment if need be, and install into it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path, help="its folder")
    parser.add_argument("part", choices=EXTRAS)
    parser.add_argument("--newest", action="store_true", help="pay no heed to the lock")
    arguments = parser.parse_args()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    check_python(project)
    print(f"setting up {arguments.environment} ({arguments.part}): takes a minute or two the first time", flush=True)
    python = environment(arguments.environment)
    lock = LOCKS / ("all.lock" if arguments.part == "train" else f"{arguments.part}.lock")
    if arguments.newest:
        pip(python, "--upgrade", "--editable", f"{ROOT}[{EXTRAS[arguments.part]}]")
        return
    pip(python, "--require-hashes", "--no-deps", "-r", str(lock), lock=lock)
    if arguments.part == "train":  # of torch every platform has builds of its own: pinned by version alone
        pip(python, *re.findall(r'"(torch(?:vision)?==[^"]+)"', project))
    pip(python, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def check_python(project: str) -> None:
    """Refuse a Python that `requires-python` of pyproject.toml excludes."""
    allowed = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', project)
    assert allowed is not None, "pyproject.toml says which Python it needs"
    first, beyond = map(int, allowed.groups())
    if not (3, first) <= sys.version_info[:2] < (3, beyond):
        here = ".".join(map(str, sys.version_info[:2]))
        stop(
            f"this is Python {here}, and xtalgrid needs 3.{first} to 3.{beyond - 1}: name one, as in "
            f"`make demo PYTHON=python3.{first}`"
        )


def environment(folder: Path) -> Path:
    """Return the environment's Python, after making it anew if it is missing or its Python or pip does not run."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists() or subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode:
        run([sys.executable, "-m", "venv", "--clear", str(folder)], folder)
    return python


def pip(python: Path, *words: str, lock: Path | None = None) -> None:
    """Install."""
    run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *words], lock=lock
    )


def run(command: list[str], made: Path | None = None, lock: Path | None = None) -> None:
    """Run a command; if it fails, say what to do about it, and end."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if not done.returncode:
        return
    if made and made.exists() and shutil.disk_usage(made).free < 32 << 20:  # venv keeps to itself why it failed
        stop(REMEDIES[0][1])
    for pattern, remedy in REMEDIES:
        if found := re.search(pattern, done.stdout, re.DOTALL):
            stop(remedy.format(found[1] if found.re.groups else lock and lock.relative_to(ROOT)))
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["it said nothing"]
    error = [line for line in said if re.search("error", line, re.IGNORECASE)]
    stop(f"{' '.join(command)} failed: {(error or said)[-1]}")


def stop(what: str) -> None:
    """End with one line."""
    sys.exit(f"set-up: {what}")


if __name__ == "__main__":
    main()
