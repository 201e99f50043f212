"""The assimilator: write results into the ledger if the validator accepts them, since any computer may send them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import ResultError
from xtalgrid_core.files import write_atomically

from ...config import Config
from ...domain.log import log
from ...grids.base import Grid
from ...ledger.store import Ledger
from ...ledger.units import Unit
from .doubt import judged
from .validate import KEPT_BYTES, validate

STEP = "assimilate"


@dataclass(slots=True)
class Assimilated:
    """What a run did: numbers of results accepted and refused, of units that failed, and of scores stored.

    `unread` is the number of results whose file could not be read; they wait, as do their images, for the next run.
    """

    accepted: int = 0
    refused: int = 0
    unread: int = 0
    failed_units: int = 0
    scores: int = 0


def assimilate(config: Config, ledger: Ledger, grid: Grid) -> Assimilated:
    """Write the returned results into the ledger; each is removed from the spool only after that."""
    done = Assimilated()
    for name, path in grid.results():
        unit = ledger.units.named(name)
        try:
            with path.open("rb") as stream:
                data = stream.read(wire.MAX_RESULT_BYTES + 1)
            _take(config, ledger, grid, unit, name, data, done)
        except OSError as error:
            done.unread += 1
            log.warning("%s %s: cannot read the result: %s; the next run tries again", STEP, name, error)
    for refused in grid.refused():
        ledger.scores.refuse_result(ledger.units.named(refused.unit), refused.sha256, refused.reason)
        log.warning("%s result of %s refused: %s", STEP, refused.unit, refused.reason)
        done.refused += 1
        grid.forget_refused(refused)
    for name, reason, attempt in grid.given_up():
        unit = ledger.units.named(name)
        if unit is not None and attempt is not None and attempt != (now := ledger.units.attempt(unit)):
            log.warning("%s %s: %s; that was attempt %d, and this is %d", STEP, name, reason, attempt, now)
            continue  # what came of it stays, and so does what the present attempt needs
        if unit is not None and unit.state not in ("returned", "failed"):
            ledger.units.fail(unit, reason)
            done.failed_units += 1
        try:
            grid.discard(name)
        except OSError as error:
            log.warning("%s %s: cannot remove it from the spool: %s; the next run tries again", STEP, name, error)
    return done


def _take(
    config: Config, ledger: Ledger, grid: Grid, unit: Unit | None, name: str, data: bytes, done: Assimilated
) -> None:
    digest = hashlib.sha256(data).hexdigest()
    try:
        if unit is None:
            raise ResultError("belongs to no unit in the ledger")
        if unit.state != "returned":
            manifest = wire.decode_manifest(unit.manifest)
            result = validate(data, manifest)
            names = [image.image_name for image in ledger.units.images(unit)]
            result = msgspec.structs.replace(
                result, images=judged(result.images, names, config.light, manifest.options)
            )
            done.scores += ledger.scores.accept_result(unit, digest, result, manifest)
            done.accepted += 1
    except ResultError as error:
        done.refused += 1
        _quarantine(config, name, digest, data)
        refused = ledger.scores.refuse_result(unit, digest, str(error))
        log.warning("%s result of %s refused: %s", STEP, name, error)
        if unit is not None and refused < config.grid.attempts and grid.do_again(name):
            return
        if unit is not None:
            ledger.units.fail(unit, f"{refused} results refused; the last one: {error}")
            done.failed_units += 1
    grid.discard(name)


def _quarantine(config: Config, name: str, digest: str, data: bytes) -> None:
    folder: Path = config.spool / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.{digest[:12]}.json", data[:KEPT_BYTES])
