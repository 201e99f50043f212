"""The hooks that BOINC's ``script_validator`` and ``script_assimilator`` call: ``check``, ``compare``, ``assimilate``.

BOINC's command lines name no tokens, because servers differ in which ones they know, so the hooks get the default
arguments:

* ``check FILE``: exit code 0 for a valid result, 1 for an invalid one, 3 for "ask again later" (1 to older servers);
* ``compare FILE_A FILE_B``: exit code 0 if the results agree, 1 if not. For 1, these two take ``XTALGRID_INVALID`` of
  the environment, by which ``install``'s scripts tell a verdict from a Python that could not start;
* ``assimilate WORKUNIT_ID FILE…``, and for a work unit that BOINC gave up on
  ``assimilate --error MASK NAME WORKUNIT_ID BATCH`` (servers since 1.6) or ``assimilate --error MASK WORKUNIT_ID``.
  Any exit code but 0 stops BOINC's assimilator, which continues with the same work unit when it is started again. So
  bad data are set aside and 0 is returned; only a condition that may pass, such as a full disk, is an error.

The hooks open no database: what they need and what they leave is in the spool. The last line that a hook writes to
standard error goes to the daemon's log.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.command_group import say
from xtalgrid_core.errors import ManifestError, ResultError, XtalgridError
from xtalgrid_core.files import write_atomically

from .. import config as configuration
from ..config import Config
from ..grids.boinc.names import result_of_output, unit_of_output, unit_of_workunit
from ..grids.boinc.spool import Spool
from ..grids.boinc.states import describe_errors
from ..steps.assimilate.agree import disagreement
from ..steps.assimilate.validate import KEPT_BYTES, validate
from ..storage.permissions import keep_private

OK = 0
BAD = 1
LATER = 3
STOP = 75

USAGE = (
    "usage: hooks (check FILE | compare FILE_A FILE_B | assimilate WORKUNIT_ID FILE... | assimilate --error MASK ...)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one hook and return its exit code."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or [""]
    hook = {"check": check, "compare": compare, "assimilate": assimilate}.get(name)
    if hook is None:
        _log(USAGE)
        return STOP
    try:
        return hook(configuration.load(), rest)
    except (OSError, XtalgridError) as error:
        _log(f"{name}: {error}")
    except Exception as error:  # a fault of ours is no host's
        traceback.print_exc()
        _log(f"{name}: {type(error).__name__}: {error}")
    return STOP if name == "assimilate" else LATER


def check(config: Config, arguments: Sequence[str]) -> int:
    """Validate a result. An invalid one is set aside, and the reason is kept for the ledger."""
    if len(arguments) != 1:
        _log(f"check: expected one result file, got {len(arguments)} arguments; see docs/boinc.md on script_validator")
        return LATER
    path = Path(arguments[0])
    data = b""
    try:
        unit, data = _unit(path), _read(path)
        validate(data, _manifest(config, unit))
    except ResultError as error:
        _refuse(Spool(config), path, data, str(error))
        return _bad()
    return OK


def compare(config: Config, arguments: Sequence[str]) -> int:
    """Check whether two results of a unit agree."""
    if len(arguments) != 2:
        _log(f"compare: expected two result files, got {len(arguments)} arguments; see docs/boinc.md")
        return LATER
    first, second = (Path(argument) for argument in arguments)
    try:
        options = _manifest(config, _unit(first)).options
        why = disagreement(wire.decode_result(_read(first)), wire.decode_result(_read(second)), options)
    except ResultError as error:
        why = str(error)
    if why:
        _log(f"compare: {result_of_output(first)} and {result_of_output(second)} differ: {why}")
        return _bad()
    return OK


def _bad() -> int:
    given = os.environ.get("XTALGRID_INVALID", "")
    return int(given) if given.isdecimal() else BAD


def assimilate(config: Config, arguments: Sequence[str]) -> int:
    """Leave a canonical result, or why there is none, for `xtalgrid assimilate`. Repeating this is harmless."""
    spool = Spool(config)
    spool.inbox.mkdir(parents=True, exist_ok=True)
    if not arguments:
        _log(USAGE)
        return STOP
    if arguments[0] == "--error":
        return _give_up(spool, arguments[1:])
    if len(arguments) == 1:
        return _note_failure(spool, arguments[0], "it has no result file")
    path = Path(arguments[1])
    try:
        unit, data = _unit(path), _read(path)
    except ResultError as error:
        _refuse(spool, path, b"", str(error))
        return _note_failure(spool, arguments[0], f"its result {error}")
    write_atomically(spool.result(unit), data)
    return OK


def _give_up(spool: Spool, arguments: Sequence[str]) -> int:
    """Note a failure from ``MASK NAME ID BATCH`` (servers since 1.6) or ``MASK ID`` (older ones)."""
    if len(arguments) < 2:
        _log(USAGE)
        return STOP
    mask, name = arguments[:2]
    reason = describe_errors(int(mask)) if mask.isdigit() else f"error mask {mask[:20]}"
    return _note_failure(spool, name, reason)


def _note_failure(spool: Spool, name: str, reason: str) -> int:
    """Note that BOINC has no result of a work unit; `name` is its name, or its number from older servers."""
    unit = unit_of_workunit(name)
    if unit is None and not name.isdigit():
        _log(f"assimilate: {name[:200]!r} is not a work unit of xtalgrid; ignored")
        return OK
    path = spool.failed(unit) if unit else spool.failed_id(name)
    write_atomically(path, f"{name}\n{reason}\n".encode())
    return OK


def _unit(path: Path) -> str:
    unit = unit_of_output(path)
    if unit is None:
        raise ResultError(f"is named {path.name[:200]!r}, which is not the name of a result of ours")
    return unit


def _read(path: Path) -> bytes:
    """Read an uploaded file.

    Raises
    ------
    ResultError
        If there is none: BOINC also names files that do not exist.
    OSError
        If there may be one: a disk that is away is no host's fault.
    """
    if not path.is_file():
        uploads = path.absolute().parent.parent
        if not path.parent.exists() and not any(uploads.iterdir()):
            raise OSError(f"there is nothing in {uploads}; is the disk of the uploads mounted?")
        raise ResultError("was not uploaded")
    with path.open("rb") as stream:
        return stream.read(wire.MAX_RESULT_BYTES + 1)


def _manifest(config: Config, unit: str) -> wire.Manifest:
    """Read a unit's manifest: from the spool, or from the ledger if the unit is finished.

    Raises
    ------
    ResultError
        If there is no such unit.
    LedgerError
        If the ledger cannot be read.
    """
    try:
        return wire.decode_manifest(Spool(config).manifest(unit).read_bytes())
    except (FileNotFoundError, ManifestError):
        from ..ledger.store import Ledger  # takes a second to import and is rarely needed

        ledger = Ledger(config)
        try:
            known = ledger.units.named(unit)
        finally:
            ledger.close()
        if known is None:
            raise ResultError("belongs to no unit in the ledger") from None
        return wire.decode_manifest(known.manifest)


def _refuse(spool: Spool, path: Path, data: bytes, reason: str) -> None:
    """Keep a refused result and the reason; the same result is kept only once."""
    name, digest = result_of_output(path), hashlib.sha256(data).hexdigest()
    _log(f"result {name[:200]} refused: {reason}")
    unit = unit_of_output(path)
    if unit is None:
        return
    for folder in (spool.quarantine, spool.refused):
        folder.mkdir(parents=True, exist_ok=True)
    copy = spool.quarantine / f"{name}.{digest[:12]}.json"
    if copy.exists():
        return
    note = {"unit": unit, "result": name, "sha256": digest, "reason": wire.short_text(reason)}
    write_atomically(spool.refused / f"{name}.json", msgspec.json.encode(note))
    write_atomically(copy, data[:KEPT_BYTES])


def _log(text: str) -> None:
    say(f"xtalgrid {text}", err=True)


if __name__ == "__main__":
    keep_private()
    sys.exit(main())
