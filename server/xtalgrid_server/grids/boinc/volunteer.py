"""``xtalgrid volunteer``: scripts that attach a workstation to a BOINC project; it needs nothing of xtalgrid's."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

System = Literal["linux", "macos", "windows"]
_FILES: dict[System, str] = {"linux": "linux.sh", "macos": "macos.sh", "windows": "windows.ps1"}


def script(system: System) -> str:
    """Return the script for a system. Those for macOS and Windows say that they have not been run."""
    return (files(__package__) / "workstations" / _FILES[system]).read_text(encoding="utf-8")
