"""What BOINC's ``script_validator`` and ``script_assimilator`` call: ``check``, ``compare`` and ``assimilate``.

They are given no tokens on BOINC's command lines, since servers differ in which they understand, and get the default arguments:

* ``check FILE``: exit 0, a result that may be used; 1, one that may not; 3, ask again later (older servers take it for 1);
* ``compare FILE_A FILE_B``: exit 0, they agree; 1, they do not;
* ``assimilate WORKUNIT_ID FILE…``, and for a work unit that BOINC gave up ``assimilate --error MASK NAME WORKUNIT_ID BATCH`` (servers since 1.6)
  or ``assimilate --error MASK WORKUNIT_ID``. Any exit code but 0 stops BOINC's assimilator, which goes on with the same work unit
  when it is started again; so bad data are put aside and 0 is returned, and only what may be better later (a full disk) is an error.

None opens a database: what they need and what they leave is in `spool`. A hook's last line on stderr goes to the daemon's log.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import ManifestError, ResultError, XtalgridError
from xtalgrid_core.files import write_atomically

from .. import config as configuration
from ..config import Config
from ..grids.boinc.names import result_of_output, unit_of_output, unit_of_workunit
from ..grids.boinc.spool import Spool
from ..grids.boinc.states import errors_said
from ..steps.assimilate.agree import disagreement
from ..steps.assimilate.validate import KEPT_BYTES, validate

OK = 0
BAD = 1
LATER = 3
STOP = 75

USAGE = (
    "usage: hooks (check FILE | compare FILE_A FILE_B | assimilate WORKUNIT_ID FILE... | assimilate --error MASK ...)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one hook; returns its exit code."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or [""]
    hook = {"check": check, "compare": compare, "assimilate": assimilate}.get(name)
    if hook is None:
        _say(USAGE)
        return STOP
    try:
        return hook(configuration.load(), rest)
    except (OSError, XtalgridError) as error:
        _say(f"{name}: {error}")
        return STOP if name == "assimilate" else LATER


def check(config: Config, arguments: Sequence[str]) -> int:
    """Whether a result may be used; one that may not is kept aside, and its reason for the ledger."""
    if len(arguments) != 1:
        _say(
            f"check: one result file expected, and got {len(arguments)} arguments; see docs/boinc.md on script_validator"
        )
        return LATER
    path = Path(arguments[0])
    data = b""
    try:
        unit, data = _unit(path), _read(path)
        validate(data, _manifest(config, unit))
    except ResultError as error:
        _refuse(Spool(config), path, data, str(error))
        return BAD
    return OK


def compare(config: Config, arguments: Sequence[str]) -> int:
    """Whether two results of a unit agree."""
    if len(arguments) != 2:
        _say(f"compare: two result files expected, and got {len(arguments)} arguments; see docs/boinc.md")
        return LATER
    first, second = (Path(argument) for argument in arguments)
    try:
        options = _manifest(config, _unit(first)).options
        why = disagreement(wire.decode_result(_read(first)), wire.decode_result(_read(second)), options)
    except ResultError as error:
        why = str(error)
    if why:
        _say(f"compare: {result_of_output(first)} and {result_of_output(second)} differ: {why}")
        return BAD
    return OK


def assimilate(config: Config, arguments: Sequence[str]) -> int:
    """Hand a canonical result, or the news that there is none, to `xtalgrid assimilate`. Twice is once."""
    spool = Spool(config)
    spool.inbox.mkdir(parents=True, exist_ok=True)
    if not arguments:
        _say(USAGE)
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


def _give_up(spool: Spool, said: Sequence[str]) -> int:
    """``MASK NAME ID BATCH`` of servers since 1.6, ``MASK ID`` of those before."""
    if len(said) < 2:
        _say(USAGE)
        return STOP
    reason = errors_said(int(said[0])) if said[0].isdigit() else f"error mask {said[0][:20]}"
    return _note_failure(spool, said[1], reason)


def _note_failure(spool: Spool, name: str, reason: str) -> int:
    """Leave word that BOINC has no result of a work unit, which is named, or numbered as older servers do."""
    unit = unit_of_workunit(name)
    if unit is None and not name.isdigit():
        _say(f"assimilate: {name[:200]!r} is no work unit of xtalgrid; passed over")
        return OK
    path = spool.failed(unit) if unit else spool.failed_id(name)
    write_atomically(path, f"{name}\n{reason}\n".encode())
    return OK


def _unit(path: Path) -> str:
    unit = unit_of_output(path)
    if unit is None:
        raise ResultError(f"is named {path.name[:200]!r}, which no result of ours is")
    return unit


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ResultError("was not uploaded")  # BOINC names files that are not there, too
    with path.open("rb") as stream:
        return stream.read(wire.MAX_RESULT_BYTES + 1)


def _manifest(config: Config, unit: str) -> wire.Manifest:
    """What the unit asked for: from the spool, or from the ledger when the unit was done with.

    Raises
    ------
    ResultError
        When there is no such unit.
    LedgerError
        When the ledger can't be read.
    """
    try:
        return wire.decode_manifest(Spool(config).manifest(unit).read_bytes())
    except (FileNotFoundError, ManifestError):
        from ..ledger.store import Ledger  # takes a second to import, and is hardly ever needed

        ledger = Ledger(config)
        try:
            known = ledger.work.unit(unit)
        finally:
            ledger.close()
        if known is None:
            raise ResultError("is of no unit that the ledger knows") from None
        return wire.decode_manifest(known.manifest)


def _refuse(spool: Spool, path: Path, data: bytes, reason: str) -> None:
    """Keep a refused result and why; the same one is kept once."""
    name, digest = result_of_output(path), hashlib.sha256(data).hexdigest()
    _say(f"result {name[:200]} refused: {reason}")
    unit = unit_of_output(path)
    if unit is None:
        return
    for folder in (spool.quarantine, spool.refused):
        folder.mkdir(parents=True, exist_ok=True)
    kept = spool.quarantine / f"{name}.{digest[:12]}.json"
    if kept.exists():
        return
    note = {"unit": unit, "result": name, "sha256": digest, "reason": wire.short_text(reason)}
    write_atomically(spool.refused / f"{name}.json", msgspec.json.encode(note))
    write_atomically(kept, data[:KEPT_BYTES])


def _say(text: str) -> None:
    sys.stderr.write(f"xtalgrid {text}\n")


if __name__ == "__main__":
    sys.exit(main())
