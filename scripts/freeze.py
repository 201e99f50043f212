#!/usr/bin/env python3
"""Freeze the worker with PyInstaller for this system: one file, and one folder. Needs what `make freeze` sets up.

    make freeze                              dist/xtalgrid-worker and dist/xtalgrid-worker-dir/
    python scripts/freeze.py --release       also dist/release/: both under their version and platform, and SHA256SUMS

What is left out, and why, stands in worker/xtalgrid-worker.spec; what to expect of the outcome, in worker/README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "xtalgrid-worker"
MAX_MB = 42.0
SYSTEMS = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}


def main() -> None:
    """Freeze, say what came out, and refuse a file that is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for what is made (default: dist)")
    parser.add_argument(
        "--unpack-in",
        metavar="FOLDER",
        help="folder on the volunteer's computer where the one file unpacks itself; '.' is the one it is started in "
        "(default: the system's folder of temporary files)",
    )
    parser.add_argument("--release", action="store_true", help="also make what is given away, and checksums")
    arguments = parser.parse_args()
    if importlib.util.find_spec("PyInstaller") is None:
        sys.exit("PyInstaller is not installed here: make freeze sets up what is needed")
    freeze(arguments.out, arguments.unpack_in)
    suffix = ".exe" if sys.platform == "win32" else ""
    file, folder = arguments.out / f"{NAME}{suffix}", arguments.out / f"{NAME}-dir"
    size = file.stat().st_size / 1e6
    print(f"{file}: {size:.1f} MB")
    unpacked = sum(path.lstat().st_size for path in folder.rglob("*"))
    print(f"{folder}: {unpacked / 1e6:.0f} MB")
    if arguments.release:
        release(file, folder, arguments.out / "release")
    if size > MAX_MB:
        sys.exit(f"{file} is larger than {MAX_MB:g} MB; see what grew: find {folder} -type f -size +1M -ls")


def freeze(out: Path, unpack_in: str | None) -> None:
    """Run PyInstaller on the specification."""
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--distpath", str(out)]
    command += ["--workpath", str(ROOT / "build" / "freeze"), str(ROOT / "worker" / f"{NAME}.spec")]
    if unpack_in:
        command += ["--", "--unpack-in", unpack_in]
    subprocess.run(command, check=True)


def release(file: Path, folder: Path, to: Path) -> None:
    """Copy the file and pack the folder, named after version and platform, with checksums beside them."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    system = SYSTEMS.get(platform.system(), platform.system().lower())
    name = f"{NAME}-{metadata.version('xtalgrid')}-{system}-{platform.machine().lower()}"
    shutil.copy2(file, to / f"{name}{file.suffix}")
    shutil.make_archive(str(to / name), "zip" if sys.platform == "win32" else "gztar", folder.parent, folder.name)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(to.iterdir())]
    (to / f"SHA256SUMS-{system}.txt").write_text("".join(sums), newline="\n")
    print("".join(sums), end="")


if __name__ == "__main__":
    main()
