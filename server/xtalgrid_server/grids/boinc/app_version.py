"""``xtalgrid boinc app-version``: package the worker as a BOINC app version, frozen or from a volunteer's own Python.

BOINC's versions are numbers: 0.1.0 is 1.0 (100 for short), 1.2.3 is 102.3 (10203).

A volunteer's computer has only the worker's libraries, so this module needs none of the server's, and
``python -m xtalgrid_server.grids.boinc.app_version`` is the same command.
"""

from __future__ import annotations

import filecmp
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import click

from xtalgrid_core.command_group import CommandGroup, say, say_error
from xtalgrid_core.errors import ConfigError, XtalgridError
from xtalgrid_core.files import write_atomically

from .signing import read_public_key, signature_fault

APP = "xtalgrid"
API_VERSION = "7.20.5"
"""Version of BOINC's protocol that the worker speaks.

Without it, clients take the app for one from BOINC 5 and share no memory with it.
"""

PLATFORMS = {
    ("linux", "x86_64"): "x86_64-pc-linux-gnu",
    ("linux", "aarch64"): "aarch64-unknown-linux-gnu",
    ("windows", "amd64"): "windows_x86_64",
    ("windows", "arm64"): "windows_arm64",
    ("macos", "x86_64"): "x86_64-apple-darwin",
    ("macos", "arm64"): "arm64-apple-darwin",
}
UNPACKS_IN_SLOT = (b"# xtalgrid-worker unpacks itself in the slot", b"pyi-runtime-tmpdir .\0")
"""What worker/boinc.sh says, and how PyInstaller stores the option."""

_NAME = re.compile(r"xtalgrid-worker-(?P<version>\d[^-]*)-(?P<system>[a-z]+)-(?P<machine>\w+)(\.exe)?")


_apps = click.option(
    "--apps",
    type=click.Path(path_type=Path),
    default=Path("apps"),
    show_default=False,
    help="Folder apps of the project; default: ./apps.",
)


@click.group("app-version", cls=CommandGroup)
def app_version() -> None:
    """Package the worker as BOINC app versions (docs/boinc.md, App versions from frozen workers)."""


@app_version.command("frozen")
@click.argument("workers", nargs=-1, required=True, type=click.Path(path_type=Path))
@_apps
def frozen_command(workers: tuple[Path, ...], apps: Path) -> None:
    """Add frozen WORKERS to a project, for any platforms, made by scripts/freeze.py --boinc --release."""
    for worker in workers:
        folder = frozen(worker, apps)
        say(str(folder))
        for program in programs(folder):
            if not program.with_name(f"{program.name}.sig").is_file():
                say_error(f"to be signed: {program} (docs/boinc.md, Signing)")


@app_version.command("check")
@_apps
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    default=Path("keys/code_sign_public"),
    show_default=False,
    help="The project's public key; default: ./keys/code_sign_public.",
)
def check_command(apps: Path, key: Path) -> None:
    """Check the signatures of all app versions, before bin/update_versions registers them.

    The exit code is 1 if there is none, or if clients would refuse one.
    """
    faults = check(apps, key)
    for folder, fault in faults.items():
        say(f"refused {folder.relative_to(apps)}: {fault}" if fault else f"signed {folder.relative_to(apps)}")
    if not faults:
        say_error(f"no app version in {apps}")
    if not faults or any(faults.values()):
        sys.exit(1)


@app_version.command("own-python")
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    default=Path(sys.executable),
    show_default=False,
    help="Python that has xtalgrid; default: this one.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    required=True,
    help="The project's folder in the client's data folder.",
)
def own_python_command(python: Path, into: Path) -> None:
    """Let a volunteer's BOINC client run the worker from a Python on this machine."""
    for path in own_python(python, into):
        say(str(path))


def frozen(worker: Path, apps: Path) -> Path:
    """Create one platform's folder, ``apps/xtalgrid/VERSION/PLATFORM``, for bin/update_versions, and return its path.

    Raises
    ------
    ConfigError
        If the file is not a worker frozen for BOINC, or the version exists with other bytes.
    """
    match = _NAME.fullmatch(worker.name)
    platform = PLATFORMS.get((match["system"], match["machine"])) if match else None
    if match is None or platform is None:
        raise ConfigError(f"{worker}: no version and platform in the name; use a file of scripts/freeze.py --release")
    if not worker.is_file():
        raise ConfigError(f"{worker}: no such file; make it with scripts/freeze.py --boinc --release")
    content = worker.read_bytes()
    if not any(mark in content for mark in UNPACKS_IN_SLOT):
        raise ConfigError(
            f"{worker} unpacks itself in the system's temporary folder, where a killed job leaves its files behind; "
            "freeze it with scripts/freeze.py --boinc --release"
        )
    folder = apps / APP / boinc_version(match["version"]) / platform
    suffix = worker.suffix if worker.suffix == ".exe" else ""
    physical = folder / f"xtalgrid-worker_{match['version']}_{platform}{suffix}"
    if physical.exists() and not filecmp.cmp(worker, physical, shallow=False):
        raise ConfigError(
            f"{physical} already exists with other content, which BOINC never replaces; give the worker a new version"
        )
    folder.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in programs(folder) if path != physical]
    if others:
        raise ConfigError(
            f"{folder} has {others[0]} already: to BOINC, {match['version']} is the same version, which clients would "
            "not fetch again; give the worker a higher version, of numbers alone"
        )
    for left in folder.glob(".*.part"):  # by a run that was killed
        left.unlink()
    if not physical.exists():
        write_atomically(physical, content)
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


def programs(folder: Path) -> list[Path]:
    """Return the files of a platform's folder that clients take."""
    known = {"version.xml"}
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".sig" and path.name not in known and not path.name.startswith(".")
    )


def check(apps: Path, key: Path) -> dict[Path, str | None]:
    """Return what is wrong with each platform's folder under ``apps/xtalgrid``; None for those that clients accept.

    Raises
    ------
    ConfigError
        If the key cannot be read.
    """
    public = read_public_key(key)
    faults: dict[Path, str | None] = {}
    for folder in sorted(path for path in (apps / APP).glob("*/*") if path.is_dir()):
        found = programs(folder)
        wrong = [f"{path.name} is {fault}" for path in found if (fault := signature_fault(path, public))]
        faults[folder] = "; ".join(wrong) or (None if found else "has no program")
    return faults


def own_python(python: Path, into: Path) -> list[Path]:
    """Write app_info.xml and the launcher into the project's folder of a client, and return their paths.

    The client reads them when it starts.

    Raises
    ------
    ConfigError
        If that Python does not exist or has no xtalgrid.
    """
    python = python.absolute()
    if not python.is_file():
        raise ConfigError(f"{python}: no such file; give the Python that has xtalgrid with --python")
    version = version_of(python)
    into.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # pip's own launcher, which contains the path of its Python
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
    done = subprocess.run([python, "-I", "-c", asked], capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"{python} has no {APP}; install it there, or give another Python with --python")
    return done.stdout.strip()


def version_number(version: str) -> int:
    """Return BOINC's number for a version: 1.2.3 is 10203."""
    match = re.match(r"(\d+)\.(\d{1,2})(?:\.(\d{1,2}))?(?!\d)", version)
    if match is None:
        raise ConfigError(f"version {version!r} has no BOINC number; give MAJOR.MINOR.PATCH, the last two below 100")
    major, minor, patch = (int(part or 0) for part in match.groups())
    return major * 10_000 + minor * 100 + patch


def boinc_version(version: str) -> str:
    """Return the name of a version's folder: 1.2.3 is 102.3."""
    number = version_number(version)
    return f"{number // 100}.{number % 100}"


if __name__ == "__main__":
    try:
        app_version(prog_name="xtalgrid boinc app-version")
    except XtalgridError as error:
        say_error(f"xtalgrid: {error}")
        sys.exit(2)
