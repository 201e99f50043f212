"""Names of BOINC's work units and files.

They go through unquoted shell lines, so only ``[A-Za-z0-9_.-]`` is allowed. A unit's work unit in BOINC is called
``<unit>.<attempt>``, because BOINC accepts no name twice. Its input is ``<unit>.<attempt>.zip``, its results are
``<unit>.<attempt>_<n>``, and their files ``<unit>.<attempt>_<n>_r<random>_<number>``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_WORKUNIT = re.compile(r"(?P<unit>[A-Za-z0-9_-]{1,100})\.(?P<attempt>[0-9]{1,6})")
_OUTPUT = re.compile(rf"(?P<workunit>{_WORKUNIT.pattern})_[0-9]+_r[0-9]+_[0-9]+")


def workunit_name(unit: str, attempt: int) -> str:
    """Return the name of a unit's work unit in BOINC.

    Raises
    ------
    ValueError
        If it would not survive BOINC's shell lines, or contains ``nodelete``, which BOINC takes as a command.
    """
    name = f"{unit}.{attempt}"
    if not _WORKUNIT.fullmatch(name) or "nodelete" in name:
        raise ValueError(f"{name!r} is not a valid name of a work unit")
    return name


def unit_of_workunit(name: str) -> str | None:
    """Return the unit of a work unit in BOINC, or None if it is not ours."""
    return unit[0] if (unit := unit_and_attempt(name)) else None


def unit_and_attempt(name: str) -> tuple[str, int] | None:
    """Return the unit of a work unit in BOINC and the attempt at it, or None if it is not ours."""
    match = _WORKUNIT.fullmatch(name)
    return (match["unit"], int(match["attempt"])) if match else None


def unit_of_output(path: Path) -> str | None:
    """Return the unit that an uploaded file is a result of, or None if it is not ours."""
    match = _OUTPUT.fullmatch(path.name)
    return match["unit"] if match else None


def result_of_output(path: Path) -> str:
    """Return the name, as on BOINC's pages, of the result that an uploaded file belongs to."""
    return path.name.rsplit("_", 2)[0]


def download_path(download: Path, fanout: int, name: str) -> Path:
    """Return where BOINC keeps a file for clients: in one of `fanout` folders, by the MD5 of its name."""
    number = int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[1:8], 16) % fanout
    return download / f"{number:x}" / name
