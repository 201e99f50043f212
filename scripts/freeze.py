#!/usr/bin/env python3
"""Freeze the worker with PyInstaller for this system, as one file and one folder. Needs the setup of `make freeze`.

    make freeze                              dist/xtalgrid-worker and dist/xtalgrid-worker-dir/
    python scripts/freeze.py --release       also dist/release/: both named by version and platform, and SHA256SUMS
    python scripts/freeze.py --boinc         dist/xtalgrid-worker for BOINC's client, which unpacks itself in the slot

worker/xtalgrid-worker.spec says what is left out and why; worker/README.md describes the result.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "xtalgrid-worker"
MAX_MB = 42.0
SYSTEMS = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}


def main() -> None:
    """Freeze, print the sizes, and refuse a file that is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="output folder (default: dist)")
    parser.add_argument("--boinc", action="store_true", help="make the one file for BOINC's client, and no other")
    parser.add_argument("--release", action="store_true", help="also make the files for a release, with checksums")
    arguments = parser.parse_args()
    if importlib.util.find_spec("PyInstaller") is None:
        sys.exit("PyInstaller is not installed; run `make freeze`, which installs it")
    is_windows = sys.platform == "win32"
    freeze(arguments.out, () if not arguments.boinc else ("--unpack-in", ".") if is_windows else ("--only-folder",))
    suffix = ".exe" if is_windows else ""
    file, folder = arguments.out / f"{NAME}{suffix}", arguments.out / f"{NAME}-dir"
    if arguments.boinc and not is_windows:
        deflate = importlib.import_module("deflate")  # which only the freezing environment has
        self_unpacking(folder, file, lambda data: deflate.gzip_compress(data, 10))
    size = file.stat().st_size / 1e6
    print(f"{file}: {size:.1f} MB")
    unpacked = sum(path.lstat().st_size for path in folder.rglob("*"))
    print(f"{folder}: {unpacked / 1e6:.0f} MB")
    if arguments.release:
        release(file, None if arguments.boinc else folder, arguments.out / "release")
    if size > MAX_MB:
        sys.exit(f"{file} is larger than {MAX_MB:g} MB; find out what grew: find {folder} -type f -size +1M -ls")


def freeze(out: Path, options: tuple[str, ...]) -> None:
    """Run PyInstaller on the specification, with options of its own."""
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--distpath", str(out)]
    with tempfile.TemporaryDirectory() as work:  # two tests may freeze at once
        command += ["--workpath", work, str(ROOT / "worker" / f"{NAME}.spec"), "--", *options]
        subprocess.run(command, check=True)


def self_unpacking(folder: Path, file: Path, compress: Callable[[bytes], bytes]) -> None:
    """Make a file of worker/boinc.sh and, behind it, the packed folder. `compress` makes a gzip file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(folder, folder.name)
    script = (ROOT / "worker" / "boinc.sh").read_text()
    for name, value in (("FIRST_LINE", script.count("\n") + 1), ("SIZE", packed.tell() // 1_000_000 + 1)):
        script = script.replace(name, str(value))
    file.write_bytes(script.encode() + compress(packed.getvalue()))
    file.chmod(0o755)


def release(file: Path, folder: Path | None, to: Path) -> None:
    """Copy the file and pack the folder, named after version and platform, with checksums beside them."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    system = SYSTEMS.get(platform.system(), platform.system().lower())
    name = f"{NAME}-{metadata.version('xtalgrid')}-{system}-{platform.machine().lower()}"
    shutil.copy2(file, to / f"{name}{file.suffix}")
    if folder:
        shutil.make_archive(str(to / name), "zip" if sys.platform == "win32" else "gztar", folder.parent, folder.name)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(to.iterdir())]
    (to / f"SHA256SUMS-{system}.txt").write_text("".join(sums), newline="\n")
    print("".join(sums), end="")


if __name__ == "__main__":
    main()
