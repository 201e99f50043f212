"""Feed hostile results and work units to everything that reads them.

    python -m tests.rig.fuzz_results --cases 10000 --seed 0

Each hostile result goes to the validator, to the hook that BOINC's validator calls, and to the assimilator with a real
ledger and spool; each hostile work unit goes to the worker's reader. It must be refused with a reason, or be harmless
(`faults.harmless` states the rule). It may take one CPU second and 300 MB (this process's peak), may write nothing
outside the quarantine and the reader's own folders, and may raise no other error. The exit code is 1 if any of this
does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import logging
import random
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.errors import ImageError, ManifestError, ResultError
from xtalgrid_server.cli import boinc_hooks as hooks
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.grids.boinc.spool import Spool
from xtalgrid_server.ledger import tables
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.assimilate.validate import validate
from xtalgrid_server.steps.system import System
from xtalgrid_worker.workunit import WorkUnit

from .faults import honest
from .faults.harmless import FIELDS, objection
from .faults.hostile_results import Case, hostile_result
from .faults.hostile_units import hostile_unit
from .faults.watch import MOST_MB, Tally, Watch, peak_mb

IMAGES = 4
TOML = """
[grid]
attempts = 1000000
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.getLogger("xtalgrid").setLevel(logging.CRITICAL)
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="xtalgrid-fuzz-") as name:
        folder = Path(name).resolve()
        units = fuzz_units(folder, arguments.cases * 3 // 10, arguments.seed, watch)
        with Lab(folder, watch) as lab:
            rng = random.Random(f"results {arguments.seed}")
            for _ in range(arguments.cases - arguments.cases * 3 // 10):
                lab.try_one(rng)
            results = lab.tally
            results.wrong += lab.what_the_ledger_has()
    results.print("results")
    print()
    units.print("work units")
    peak = peak_mb()
    print(f"\npeak memory of this process {peak:.0f} MB of {MOST_MB:.0f}")
    wrong = [*results.wrong, *units.wrong] + ([f"{peak:.0f} MB of memory"] if peak > MOST_MB else [])
    for line in wrong[:40]:
        print(f"WRONG  {line}")
    print(f"{len(wrong)} wrong")
    sys.exit(bool(wrong))


class Lab:
    """A ledger, a spool and an upload folder; and for each rule, a unit that waits for its result."""

    def __init__(self, folder: Path, watch: Watch) -> None:
        self.tally, self._watch = Tally(), watch
        self.config = from_string(TOML, home=folder / "home")
        self._system = System(self.config)
        self._uploads = folder / "upload"
        self._uploads.mkdir()
        names = [f"{n}.jpg" for n in range(IMAGES)]
        rows = [
            ImageRow(0, "P1", 1, datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None), Well(1, n + 1, 1), name)
            for n, name in enumerate(names)
        ]
        self._rows = self._system.imager.register(rows)
        self._number = 0
        self._waiting = {rule: self._new_unit(rule) for rule in honest.RULES}

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *error: object) -> None:
        self._system.ledger.close()

    def _new_unit(self, rule: str) -> wire.Manifest:
        self._number += 1
        hashes = [hashlib.sha256(row.image_name.encode()).hexdigest() for row in self._rows]
        pairs = [(row.inspect_id, digest) for row, digest in zip(self._rows, hashes, strict=True)]
        asked = honest.manifest(f"xg_{self._number}", rule, pairs)
        planned = [PlannedImage(row, digest) for row, digest in zip(self._rows, hashes, strict=True)]
        self._system.ledger.units.add(asked, planned)
        (self.config.spool / "units" / asked.unit).mkdir(parents=True)
        manifest = Spool(self.config).manifest(asked.unit)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_bytes(wire.encode(asked))
        return asked

    def try_one(self, rng: random.Random) -> None:
        rule = rng.choice(honest.RULES)
        asked = self._waiting[rule]
        case = hostile_result(asked, rng)
        path = self._uploads / f"{asked.unit}.1_{rng.randrange(9)}_r{rng.randrange(10**9)}_0"
        case.write(path)
        try:
            with path.open("rb") as stream:
                head = stream.read(wire.MAX_RESULT_BYTES + 1)
            size, digest = path.stat().st_size, hashlib.sha256(head).hexdigest()
            accepted = {
                "validator": self._validate(case, head, asked),
                "hook": self._hook(case, path),
            }
            path.replace(self.config.spool / "units" / asked.unit / "result.json")
            accepted["assimilator"] = self._assimilate(case, asked, digest)
        finally:
            path.unlink(missing_ok=True)
        if len(set(accepted.values())) != 1:
            self.tally.wrong.append(f"{case.kind}: they disagree: {accepted}")
        if not any(accepted.values()):
            self.tally.refused[case.kind] += 1
            return
        self.tally.accepted[case.kind] += 1
        why = "this must be refused" if case.must_refuse else objection(head, asked)
        if why or size > len(head):
            self.tally.wrong.append(f"{case.kind}: accepted: {why}: {head[:300]!r}")
        self._waiting[rule] = self._new_unit(rule)

    def _validate(self, case: Case, data: bytes, asked: wire.Manifest) -> bool:
        with self.tally.timed(case.kind), self._watch.allowing([]) as outside:
            try:
                validate(data, asked)
                accepted = True
            except ResultError as error:
                accepted = False
                if not str(error):
                    self.tally.wrong.append(f"{case.kind}: refused without a reason")
            except Exception as error:
                accepted = False
                self.tally.wrong.append(f"{case.kind}: validator: {error!r:.200}")
        self.tally.wrong += [f"{case.kind}: validator: {what}" for what in outside]
        return accepted

    def _hook(self, case: Case, path: Path) -> bool:
        spool = Spool(self.config)
        errors = io.StringIO()
        with (
            self.tally.timed(case.kind),
            self._watch.allowing([spool.quarantine, spool.refused]) as outside,
            contextlib.redirect_stderr(errors),
        ):
            try:
                code = hooks.check(self.config, [str(path)])
            except Exception as error:
                code = -1
                self.tally.wrong.append(f"{case.kind}: hook: {error!r:.200}")
        self.tally.wrong += [f"{case.kind}: hook: {what}" for what in outside]
        if code == hooks.BAD and "refused: " not in errors.getvalue():
            self.tally.wrong.append(f"{case.kind}: hook: no reason said")
        for note in spool.refused.glob("*"):
            if not msgspec.json.decode(note.read_bytes())["reason"]:
                self.tally.wrong.append(f"{case.kind}: hook: no reason noted")
            note.unlink()
        _emptied(spool.quarantine)
        return code == hooks.OK

    def _assimilate(self, case: Case, asked: wire.Manifest, digest: str) -> bool:
        spool, home = self.config.spool, self.config.home
        allowed = [spool / "quarantine", spool / "units" / asked.unit, spool / "trash", home / "locks"]
        with self.tally.timed(case.kind), self._watch.allowing(allowed) as outside:
            try:
                done = self._system.assimilate()
            except Exception as error:
                self.tally.wrong.append(f"{case.kind}: assimilator: {error!r:.200}")
                return False
        self.tally.wrong += [f"{case.kind}: assimilator: {what}" for what in outside]
        if (done.accepted + done.refused, len(_emptied(spool / "quarantine"))) != (1, done.refused):
            self.tally.wrong.append(f"{case.kind}: assimilator: {done}")
        return done.accepted == 1

    def what_the_ledger_has(self) -> list[str]:
        """Say what is wrong in the ledger: a refusal without a reason, or a score with a field that is not ours."""
        wrong = []
        with sa.create_engine(self.config.ledger_url).connect() as connection:
            for accepted, reason in connection.execute(sa.select(tables.results.c.accepted, tables.results.c.reason)):
                if bool(accepted) == bool(reason):
                    wrong.append(f"ledger: a result with accepted={accepted} and reason {reason!r}")
            for answer in connection.scalars(sa.select(tables.scores.c.answer)):
                unknown = msgspec.json.decode(answer).keys() - FIELDS - {"status", "reason", "detail"}
                if unknown:
                    wrong.append(f"ledger: a score with {unknown}")
            scores = connection.scalar(sa.select(sa.func.count()).select_from(tables.scores))
        if scores != IMAGES * len(
            honest.RULES
        ):  # each unit of a rule asks for the same scores: all but the first are replays
            wrong.append(f"ledger: {scores} scores of {IMAGES} images by {len(honest.RULES)} rules")
        return wrong


def fuzz_units(folder: Path, number: int, seed: int, watch: Watch) -> Tally:
    """Give hostile units to the worker's reader, which may return only bytes whose SHA-256 the manifest names."""
    tally, rng = Tally(), random.Random(f"units {seed}")
    path = folder / "unit.zip"
    for _ in range(number):
        case = hostile_unit(rng)
        case.write(path)
        with tally.timed(case.kind), watch.allowing([]) as outside:
            try:
                accepted = _read_unit(path)
            except Exception as error:
                accepted = False
                tally.wrong.append(f"{case.kind}: reader: {error!r:.200}")
        tally.wrong += [f"{case.kind}: reader: {what}" for what in outside]
        (tally.accepted if accepted else tally.refused)[case.kind] += 1
        path.unlink()
    return tally


def _read_unit(path: Path) -> bool:
    """Read a unit; say whether all its images could be read."""
    whole = True
    try:
        with WorkUnit(path) as unit:
            for entry in unit.manifest.images:
                try:
                    data = unit.read(entry)
                except ImageError:
                    whole = False
                    continue
                if hashlib.sha256(data).hexdigest() != entry.sha256:
                    raise AssertionError(f"{entry.file} was read with other bytes")
    except ManifestError:
        return False
    return whole


def _emptied(folder: Path) -> list[Path]:
    """Empty a folder, so that thousands of cases don't fill the disk; return what was in it."""
    files = list(folder.glob("*"))
    for path in files:
        path.unlink()
    return files


if __name__ == "__main__":
    main()
