"""The grid `boinc`: a `Grid` that stages files and creates work units with BOINC's own tools.

A unit is in BOINC only once its work unit is in BOINC's database: if a run is killed between staging and creating, the
next run stages and creates again. Results come back as files that the daemons' hooks put into the spool (`spool`).
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.errors import GridError
from xtalgrid_core.files import write_atomically

from ...config import Config
from ...domain.log import log
from ...storage.permissions import SHARED_FILE
from ...storage.weights import Pair
from ..base import GivenUp, Refused, Submission
from .database import BoincDatabase
from .names import unit_and_attempt, workunit_name
from .project import Project, open_project
from .spool import Spool
from .templates import PRIORITY, input_template, limits, output_template
from .weights import WeightFile, weight_files

STEP = "boinc"

Models = tuple[Pair, str | None]
"""The models that a unit names: segmenter and classifier, and its second opinion."""


class BoincGrid:
    """One configuration's BOINC project. Its folder and its database are opened when first needed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._spool = Spool(config)
        self.home = config.home
        self.batch = config.boinc.batch

    @cached_property
    def project(self) -> Project:
        """The project's folder."""
        return open_project(self._config)

    @cached_property
    def database(self) -> BoincDatabase:
        """The project's database."""
        return BoincDatabase(self._config, self.project)

    # ---- to the volunteers -------------------------------------------------------------------------------------

    def staged(self, name: str) -> Path:
        """Return where a unit's zip is built before it is submitted."""
        return self._spool.staged / name / "unit.zip"

    def forget_staged(self) -> None:
        """Delete units that killed runs staged but did not submit."""
        shutil.rmtree(self._spool.staged, ignore_errors=True)
        shutil.rmtree(self._spool.staging, ignore_errors=True)

    def known(self, attempts: Mapping[str, int]) -> set[str]:
        """Return which of these units BOINC has, or is done with while their results wait in the inbox."""
        names = {workunit_name(unit, attempt): unit for unit, attempt in attempts.items()}
        known = {names[name] for name in self.database.known(list(names))}
        return known | self.waiting(attempts)

    def waiting(self, attempts: Mapping[str, int]) -> set[str]:
        """Return those of some units (name → attempt) whose result, or notice of failure, waits for `assimilate`."""
        gone = set[tuple[str, int] | None]()
        for path in _files(self._spool.inbox, ".failed"):
            with suppress(OSError):  # `given_up` says so
                gone.add(unit_and_attempt(self._said(path)[0] or ""))
        back = {unit for unit, _ in self.results()}
        return {unit for unit, attempt in attempts.items() if unit in back or (unit, attempt) in gone}

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Create the work units of staged units.

        Raises
        ------
        GridError
            If BOINC did not take them. Those it took are `known`; the next run submits the rest.
        """
        known = self.known({s.unit: s.attempt for s in submissions})
        new = [s for s in submissions if s.unit not in known]
        if not new:
            return
        weights = self._weights_of(new)
        self._stage_units(new)
        out = output_template(self._config.work, self.project.folder, self._template_name("out"))
        self._write_template("out", out)
        calls = self._kinds(new, weights)
        for (template, priority, beside), names in calls.items():
            path = self._write_template("in", template)
            options = ["--appname", self._config.boinc.app, "--wu_template", path, "--priority", str(priority)]
            options += ["--result_template", self._template_name("out")]
            lines = [" ".join(["--wu_name", name, f"{name}.zip", *beside]) for name in names]
            self.project.create_work(options, lines)
        log.info("%s created=%d calls=%d", STEP, len(new), len(calls))

    def _stage_units(self, submissions: Sequence[Submission]) -> None:
        """Move the zips to BOINC, and write the manifests where the hooks look for them."""
        shutil.rmtree(self._spool.staging, ignore_errors=True)
        self._spool.staging.mkdir(parents=True)
        for submission in submissions:
            name = f"{workunit_name(submission.unit, submission.attempt)}.zip"
            self._make_room(name)
            self.staged(submission.unit).replace(self._spool.staging / name)
            manifest = self._spool.manifest(submission.unit)
            manifest.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(manifest, wire.encode(submission.manifest))
        self.project.stage(self._spool.staging)

    def _kinds(
        self, submissions: Sequence[Submission], weights: Mapping[Models, Sequence[WeightFile]]
    ) -> dict[tuple[str, int, tuple[str, ...]], list[str]]:
        """Group names of work units by (template, priority, physical names of weights).

        Each group is one call of `create_work`: only some servers accept a template or a priority on each line.
        """
        kinds: dict[tuple[str, int, tuple[str, ...]], list[str]] = {}
        for submission in submissions:
            files = weights[_models(submission)]
            kind = self._template(submission, files), PRIORITY[submission.fresh], tuple(f.physical for f in files)
            kinds.setdefault(kind, []).append(workunit_name(submission.unit, submission.attempt))
        return kinds

    def offer_models(self, pair: Pair) -> None:
        """Stage those weights of a pair that are not staged yet."""
        self._stage_weights(weight_files(self._config, pair))

    def _template(self, submission: Submission, files: Sequence[WeightFile]) -> str:
        boinc = self._config.boinc
        is_checked = boinc.quorum == 1 and random.random() < boinc.spot_checks
        limit = limits(boinc, submission.manifest, fresh=submission.fresh, quorum=2 if is_checked else boinc.quorum)
        return input_template(limit, [file.logical for file in files])

    def _weights_of(self, submissions: Sequence[Submission]) -> dict[Models, tuple[WeightFile, ...]]:
        """Stage the weights that the units need, and return them by models."""
        weights = {models: weight_files(self._config, *models) for models in {_models(s) for s in submissions}}
        for files in weights.values():
            self._stage_weights(files)
        return weights

    def _stage_weights(self, files: Sequence[WeightFile]) -> None:
        missing = [file for file in files if _size(self.project.downloads(file.physical)) != len(file.data)]
        if not missing:
            return
        folder = self._spool.staging_weights
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in missing:
            self._make_room(file.physical)
            write_atomically(folder / file.physical, file.data)
        self.project.stage(folder)
        log.info("%s staged weights: %s", STEP, ", ".join(file.physical for file in missing))

    def _make_room(self, name: str) -> None:
        """Delete what a killed run left under this name: no work unit refers to it, and it may be incomplete."""
        path = self.project.downloads(name)
        path.unlink(missing_ok=True)
        path.with_name(f"{name}.md5").unlink(missing_ok=True)

    def _template_name(self, kind: str) -> str:
        return f"templates/{self._config.boinc.app}_{kind}"

    def _write_template(self, kind: str, text: str) -> str:
        name = self._template_name(kind)
        path = self.project.folder / name
        try:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(exist_ok=True)
                write_atomically(path, text.encode())
                path.chmod(SHARED_FILE)
        except OSError as error:
            raise GridError(f"cannot write {path}: {error.strerror}; run this as the project's owner") from error
        return name

    # ---- and back ----------------------------------------------------------------------------------------------

    def results(self) -> Iterator[tuple[str, Path]]:
        """Yield (unit, result file) of results that the assimilator's hook accepted."""
        for path in _files(self._spool.inbox, ".json"):
            yield path.stem, path

    def refused(self) -> Iterator[Refused]:
        """Yield results that the validator's hook refused."""
        for path in _files(self._spool.refused, ".json"):
            try:
                note = json.loads(path.read_bytes())
                refused = Refused(note["unit"], note["sha256"], f"{note['result']}: {note['reason']}", path)
            except (OSError, ValueError, LookupError, TypeError) as error:
                log.error("%s cannot read %s (%s); if that does not end, delete it", STEP, path, error)
                continue
            yield refused

    def forget_refused(self, refused: Refused) -> None:
        """Delete a refused result after it is recorded."""
        refused.token.unlink(missing_ok=True)

    def given_up(self) -> Iterator[GivenUp]:
        """Yield the units that BOINC gave up; the reason says how each instance ended, if still known."""
        for path in _files(self._spool.inbox, ".failed"):
            try:
                workunit, reason = self._said(path)
            except OSError as error:
                log.error("%s cannot read %s (%s); make it readable for this account", STEP, path, error)
                continue
            ours = unit_and_attempt(workunit) if workunit else None
            if workunit is None or ours is None:
                log.error("%s gave up an unknown work unit (%s): %s", STEP, path.name, reason)
                path.unlink(missing_ok=True)
                continue
            details = self.database.failures_of(workunit)
            unit, attempt = ours
            yield GivenUp(unit, f"BOINC gave up {workunit}: {reason}" + (f"; {details}" if details else ""), attempt)
            path.unlink(missing_ok=True)  # recorded by now; `discard` would not find a file named by id

    def _said(self, path: Path) -> tuple[str | None, str]:
        """Read from a hook's note which work unit BOINC gave up, and why.

        On old servers the note has the work unit's id instead of its name.
        """
        name, _, reason = path.read_text(encoding="utf-8", errors="replace").partition("\n")
        is_id = name.isascii() and name.isdecimal()
        return (self.database.name_of(int(name)) if is_id else name), reason.strip().replace("\0", "")

    def do_again(self, name: str) -> bool:
        """Return False: BOINC is done with the work unit; `xtalgrid boinc retry` makes another one."""
        return False

    def discard(self, name: str) -> None:
        """Delete the files of a unit that the ledger is done with; BOINC deletes the work unit itself."""
        for path in (self._spool.result(name), self._spool.failed(name), self._spool.manifest(name)):
            path.unlink(missing_ok=True)


def _models(submission: Submission) -> Models:
    options = submission.manifest.options
    return (options.segmenter, options.classifier), options.second_opinion


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _files(folder: Path, suffix: str) -> list[Path]:
    """Return a folder's finished files, oldest first; those being written begin with a dot.

    Raises
    ------
    GridError
        If the folder cannot be read: what is in it must not seem to be nothing.
    """
    try:
        there = list(folder.iterdir())
    except FileNotFoundError:  # nothing came yet
        return []
    except OSError as error:
        raise GridError(
            f"cannot read {folder}: {error.strerror}; run this as the account of BOINC's daemons"
        ) from error
    found = []
    for path in (path for path in there if path.suffix == suffix and not path.name.startswith(".")):
        with suppress(FileNotFoundError):  # another step has just taken it
            if path.is_file():
                found.append((path.stat().st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(found)]
