"""The system of one configuration, opened: a method for each step that takes its lock, runs it and logs its figures.

Commands, services and ``run`` all go through it, so that a step does the same whoever starts it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from xtalgrid_core.errors import Busy, ConfigError

from ..config import Config
from ..domain.log import log
from ..grids.boinc.grid import BoincGrid
from ..grids.local import LocalGrid, Worked
from ..imager.crystaltrak.database import ImagerDatabase
from ..imager.folder.entering import STEP as IMPORT
from ..imager.folder.entering import Imported, import_folder
from ..imager.folder.source import FolderSource
from ..imager.opening import open_source
from ..ledger.store import Ledger
from ..storage.weights import Pair
from .alerts import Alert, SentAlerts, send_alerts
from .assimilate.assimilate import Assimilated, assimilate
from .create_work import Created, create_work
from .finalize import Finalized, finalize
from .look_again import LookedAgain, look_again, recent
from .notices import tell
from .progress import reopen
from .promote import STEP as MODEL
from .promote import models_in_use, promote, rollback
from .publish import Published, publish
from .publish_ispyb import publish_ispyb
from .publish_ispyb_marks import MarksInIspyb, publish_marks, undo_marks
from .step import paused, step
from .sync import Synced, sync
from .undo import Undone, undo


class System:
    """Ledger, imager database and grid of one configuration; a context manager."""

    def __init__(self, config: Config) -> None:
        self.config = config
        with step(config, "open", wait=60) as report:  # two first runs must not both create the tables
            self.ledger = Ledger(config)
            self.imager = ImagerDatabase(config)
            self.source = open_source(config, self.imager, self.ledger.failures)
            report.quiet = True
        self.grid = LocalGrid(config) if config.grid.kind == "local" else BoincGrid(config)

    def __enter__(self) -> System:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ledger.close()
        self.imager.close()

    def import_folder(
        self,
        folder: Path,
        *,
        recursive: bool = False,
        copy: bool = False,
        names: str | None = None,
        fall_back: bool = False,
    ) -> Imported:
        """Register a folder's images in the embedded imager database."""
        with step(self.config, IMPORT) as report:
            imported = import_folder(
                self.config,
                self.imager,
                self.ledger.failures,
                folder,
                recursive=recursive,
                copy=copy,
                names=names,
                fall_back=fall_back,
            )
            reopen(self.config, self.ledger, imported.entered)
            report.update(images=len(imported.entered), rejected=len(imported.rejected), doubles=len(imported.doubles))
        return imported

    def watch_folder(
        self, folder: Path | None = None, *, copy: bool = False, names: str | None = None
    ) -> Iterator[Imported]:
        """Register the images that appear in a folder (default: ``imager.folder``) once they are complete; never end.

        A scan looks at each file once. Scans take a fifth of the time at most, so that a large archive is not asked
        about all its files without a pause.

        Raises
        ------
        ConfigError
            If there is neither a `folder` nor ``imager.folder``.
        """
        if folder is None and not self.config.imager.folder:
            raise ConfigError("give the FOLDER to watch, or set imager.folder")
        source = FolderSource(self.config, self.imager, self.ledger.failures, folder, copy=copy, names=names)
        while True:
            with step(self.config, IMPORT, wait=600) as report:
                began = time.monotonic()
                imported = source.scan()
                took = time.monotonic() - began
                reopen(self.config, self.ledger, imported.entered)
                entered, rejected = len(imported.entered), len(imported.rejected)
                report.update(images=entered, rejected=rejected, waiting=len(imported.waiting))
                report.quiet = not (entered or rejected)
            yield imported
            time.sleep(max(self.config.import_.settle_s, 1.0, 4 * took))

    def refresh(self) -> None:
        """Register new images at the source, unless an import is already running."""
        try:
            with step(self.config, IMPORT) as report:
                entered = self.source.refresh()
                reopen(self.config, self.ledger, entered)
                report["images"], report.quiet = len(entered), not entered
        except Busy:
            log.info("%s is running; the next create_work finds the images that it imports", IMPORT)

    def create_work(
        self,
        *,
        limit: int | None = None,
        wells_per_unit: int | None = None,
        barcodes: Iterable[str] = (),
        dry_run: bool = False,
        retry: bool = False,
        backfill: bool = False,
    ) -> Created:
        """Pack new images into work units; `wells_per_unit` overrides the configuration."""
        if self._is_paused("create_work"):
            return Created()
        config = self.config
        if wells_per_unit is not None:
            config = msgspec.structs.replace(
                config,
                work=msgspec.structs.replace(
                    config.work, wells_per_unit=wells_per_unit, wells_per_backfill_unit=wells_per_unit
                ),
            )
        if not dry_run:
            self.refresh()
        with step(self.config, "create_work") as report:
            created = create_work(
                config,
                self.source,
                self.ledger,
                self.grid,
                limit=limit,
                barcodes=barcodes,
                dry_run=dry_run,
                retry=retry,
                backfill=backfill,
            )
            report.update(
                found=created.found,
                planned=created.planned,
                **{"waiting": len(created.waiting)} if created.waiting else {},
                failed=len(created.failed),
                units=created.units,
                **{"dated_ahead": len(created.ahead)} if created.ahead else {},
                **{"passed_over": created.lights.passed_over.total()} if created.lights.passed_over else {},
                **{"unusable_rows": len(created.unusable)} if created.unusable else {},
                dry_run="yes" if dry_run else "no",
            )
        return created

    def work(self, *, watch: bool = False, on_progress: Callable[[int], None] | None = None) -> Worked:
        """Run the local grid's workers."""
        grid = self.local_grid
        with step(self.config, "grid") as report:
            worked = grid.work(watch=watch, on_progress=on_progress, is_paused=lambda: paused(self.ledger) is not None)
            report.update(finished=worked.finished, failed=worked.failed, retried=worked.retried)
            report.update(**{"waiting": worked.waiting} if worked.waiting else {})
        return worked

    @property
    def local_grid(self) -> LocalGrid:
        """The grid, if it runs on this machine.

        Raises
        ------
        ConfigError
            If it is BOINC.
        """
        if not isinstance(self.grid, LocalGrid):
            raise ConfigError(
                'grid.kind is "boinc", so BOINC runs the workers (`xtalgrid boinc status`); for this command use a '
                'configuration with kind = "local"'
            )
        return self.grid

    def assimilate(self) -> Assimilated:
        """Validate the returned results and write them into the ledger."""
        with step(self.config, "assimilate") as report:
            done = assimilate(self.config, self.ledger, self.grid)
            report.update(
                accepted=done.accepted, refused=done.refused, failed_units=done.failed_units, scores=done.scores
            )
            report.update({"unread": done.unread} if done.unread else {})
        return done

    def finalize(self, frames: str | None = None, *, shadow: bool = False) -> Finalized:
        """Decide what to do with new scores and write the CSV; with `shadow`, also with those scored in shadow mode."""
        with step(self.config, "finalizer") as report:
            done = finalize(self.config, self.imager, self.ledger, frames, shadow=shadow)
            report.update({"run": done.run or "none", **done.actions})
            report.update({"not_framed": done.not_framed} if done.not_framed else {})
            report.update({"outdated": done.outdated} if done.outdated else {})
        return done

    def publish(self, files: list[Path] | None = None, *, dry_run: bool = False) -> Published:
        """Write ARTscores into the score table."""
        if self._is_paused("set_autoscore"):
            return Published()
        with step(self.config, "set_autoscore") as report:
            done = publish(self.config, self.imager, self.ledger, files, dry_run)
            report.update({"files": done.files, **done.actions, "refused": len(done.refused)})
            report.update(dry_run="yes" if dry_run else "no")
            if self.config.publish.ispyb.url:
                done.ispyb = publish_ispyb(self.config, self.ledger, dry_run)
                report.update({f"ispyb_{action}": number for action, number in done.ispyb.actions.items()})
            if self.config.publish.ispyb.marks:
                done.marks = publish_marks(self.config, self.ledger, dry_run)
                report.update({f"marks_{action}": number for action, number in done.marks.actions.items()})
        return done

    def sync(self) -> Synced:
        """Copy people's scores and the contents of drops from the imager database into the ledger."""
        with step(self.config, "sync") as report:
            done = sync(self.config, self.imager, self.ledger)
            report.update(rows=done.rows, recorded=done.recorded, contents=done.contents)
        return done

    def undo(self, run: str, who: str, *, dry_run: bool = False) -> Undone:
        """Restore the imager database to what it was before a run wrote to it."""
        with step(self.config, "set_autoscore") as report:  # the lock of set_autoscore: never while it writes
            done = undo(self.config, self.imager, self.ledger, run, who, dry_run)
            report.update(undone=run, removed=done.removed, restored=done.restored, left=len(done.left))
            report.update(dry_run="yes" if dry_run else "no")
        return done

    def undo_marks(self, run: str, who: str, *, dry_run: bool = False) -> MarksInIspyb:
        """Delete from ISPyB what a run wrote of marks."""
        with step(self.config, "set_autoscore") as report:
            done = undo_marks(self.config, self.ledger, run, who, dry_run)
            report.update({"undone": run, **done.actions, "dry_run": "yes" if dry_run else "no"})
        return done

    def look_again(
        self, *, everything: bool = False, barcodes: Collection[str] | None = None, minutes: float | None = None
    ) -> LookedAgain:
        """Compare crystals with the drop's first inspection and look at them in UV light, the recent ones or all."""
        since = None if everything or barcodes is not None else recent(self.config)
        with step(self.config, "look_again") as report:
            done = look_again(self.config, self.ledger, inspected_since=since, barcodes=barcodes, minutes=minutes)
            counts = {one.name: getattr(done, one.name) for one in dataclasses.fields(done)}
            reasons = {reason.replace(" ", "_"): number for reason, number in done.unreadable.items()}
            report.update(counts | {"unreadable": done.unreadable.total()} | reasons)
        return done

    def send_alerts(self, show: Callable[[list[Alert]], None]) -> SentAlerts:
        """Tell people about drops with their first crystal; see `steps.alerts.send_alerts` and `steps.notices`."""
        with step(self.config, "alerts") as report:
            sent = send_alerts(self.config, self.ledger, show)
            told = tell(self.config, self.ledger)
            sent.told, sent.failure = told.delivered, "\n".join(filter(None, [sent.failure, *told.failures]))
            report.update(
                drops=len(sent.alerts), mails=sent.mails, waiting=sent.waiting + told.waiting, told=told.delivered
            )
        return sent

    def models_in_use(self) -> Pair:
        """Return the SHA-256 of the segmenter and classifier that new work units name."""
        return models_in_use(self.config, self.ledger)

    def promote(self, candidate: Path, *, force: str | None, who: str) -> Pair:
        """Use a candidate's models for new work units."""
        with step(self.config, MODEL) as report:
            pair = promote(self.config, self.ledger, candidate, force=force, who=who)
            self.grid.offer_models(pair)
            report.update(promoted=pair[1][:12], segmenter=pair[0][:12], forced="yes" if force else "no")
        return pair

    def rollback(self, *, why: str, who: str) -> Pair:
        """Undo the newest promotion."""
        with step(self.config, MODEL) as report:
            pair = rollback(self.config, self.ledger, why=why, who=who)
            self.grid.offer_models(pair)
            report.update(back_to=pair[1][:12], segmenter=pair[0][:12])
        return pair

    def _is_paused(self, name: str) -> bool:
        reason = paused(self.ledger)
        if reason:
            log.info("%s did nothing: %s", name, reason)
        return reason is not None
