"""``create_work``: find new images in the imager database and pack them into work units, the newest first.

`progress` says how far it has read. Some days before the watermark, the look-back, are read again, for rows and files
that arrived late. Images already in a unit with the same options are skipped, so that a run that was killed can simply
be repeated. The archive is read backwards in time, up to the configured number of images per hour, and only while no
fresh image waits. Of images older than the look-back, imported ones too, `work.backfill_under_way` at most are in units
that have not come back. An image whose file was replaced is planned again; see `file_changes`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_core.options import Options, group_limits, second_look
from xtalgrid_core.weights import no_pooling, with_second_opinion

from ..config import Config
from ..domain.images import ImageRow, Moment, UnusableRow, earlier, just_after, unusable_inspection
from ..domain.light import LightsSeen, not_scored
from ..domain.log import log
from ..grids.base import Grid, Submission
from ..imager.source import ImageSource
from ..ledger.store import Ledger
from ..ledger.units import PlannedFile, PlannedImage, Unit, options_hash
from .file_changes import OLDER, FileChanges
from .pack import CheckedImage, check_image, image_path, make_manifest, read_file, write_unit
from .progress import Archive, Gap, Progress, load_progress, not_beyond, progress_key, save_progress
from .promote import model_entries, second_opinion_entry

STEP = "create_work"

_IDS_AGAIN = 2000
"""Inspections read again by id, because their images may be entered later than themselves."""

_STRAYS, _LEAP = 20, 1_000_000
"""At most so many of the highest ids may be strays, which somebody chose by hand: a leap lies below them."""

_ASKED = 250
"""Number of inspections in one query of the ledger."""


@dataclass(slots=True)
class Created:
    """What a run did: numbers of images found and planned and of units, and the failed images with their reasons."""

    found: int = 0
    planned: int = 0
    units: int = 0
    failed: list[tuple[ImageRow, ImageError]] = field(default_factory=list)
    waiting: list[tuple[ImageRow, ImageError]] = field(default_factory=list)
    """Images whose file is not complete, and may still be completed."""
    ahead: list[ImageRow] = field(default_factory=list)
    """Those of the found images that are dated ahead of now."""
    unusable: list[UnusableRow] = field(default_factory=list)
    """Rows of the imager database that could not be used, those that no earlier run recorded."""
    older_wait: str = ""
    """Why images of the archive, or other old ones, are left for a later run; empty if they are not."""
    lights: LightsSeen = field(default_factory=LightsSeen)
    """Images passed over for their light, and drops whose images' light nothing tells; those of earlier runs not."""

    @property
    def tried(self) -> int:
        """Number of images whose file was wanted; where none can be used, no run may go through all there are."""
        return self.planned + len(self.failed) + len(self.waiting)


def work_options(config: Config, ledger: Ledger) -> Options:
    """Return the options with which new units are scored under this configuration.

    Raises
    ------
    ConfigError
        If the models are missing, or the classifier lacks what the decision rule needs: every unit would fail.
    BrokenModel
        If the second opinion lacks what it is combined by.
    """
    segmenter, classifier = model_entries(config, ledger)
    work = config.work
    if work.rule == "pooled" and classifier.pooling is None:
        raise ConfigError(no_pooling(classifier))
    how = {name: getattr(work, name) for name in Options.__struct_fields__ if hasattr(work, name)}
    limits = work.undecided if isinstance(work.undecided, float) else msgspec.structs.asdict(work.undecided)
    models = {"segmenter": segmenter.sha256, "classifier": classifier.sha256, "second_opinion": None}
    judged = {"undecided": group_limits(limits), "possible": classifier.possible}
    is_once = work.rule != "pooled" or config.imager.pixel_size_um
    zoom = {"zoom": None if is_once else second_look(work.zoom)}  # unused, it must not count in a score's identity
    options = Options(**how | models | judged | zoom)
    if not work.second_opinion:
        return options
    return with_second_opinion(options, second_opinion_entry(config), [config.weights])


def create_work(
    config: Config,
    source: ImageSource,
    ledger: Ledger,
    grid: Grid,
    *,
    limit: int | None = None,
    barcodes: Iterable[str] = (),
    dry_run: bool = False,
    retry: bool = False,
    backfill: bool = False,
) -> Created:
    """Plan new images and submit them to the grid.

    Parameters
    ----------
    limit
        Maximum number of images, by default ``work.limit``. Images of one inspection stay together, so there may be a
        few more.
    barcodes
        Plan only these plates, whatever the watermark; it stays as it is.
    dry_run
        Only report what would be planned.
    retry
        Also plan images of failed units again, and those that failed in a worker for a reason that may be its
        computer's, however old they are.
    backfill
        Also plan images of the archive, if no fresh ones wait.
    """
    run = _Run(config, ledger, grid, work_options(config, ledger), limit or config.work.limit, dry_run, retry)
    if not dry_run:
        finish_planned(config, ledger, grid)
    run.take_mended_rows(source)
    if barcodes:
        run.files.look_at_all()
        for barcode in barcodes:
            groups = list(run.unplanned(source.of_plate(barcode)))
            if not groups:
                log.warning("%s plate %s: no image matches imager.patterns; is the barcode right?", STEP, barcode)
            for group in groups:
                if limit is None or not run.full():
                    run.take(group)
    else:
        run.read(source, progress_key(config), backfill)
    run.close_unit()
    run.hand_over()
    run.record_unusable(source.unusable)
    run.tell_corrections()
    if run.created.lights.untold:
        log.warning("%s: %s", STEP, run.created.lights.untold_line)
    return run.created


def finish_planned(config: Config, ledger: Ledger, grid: Grid) -> None:
    """Submit units that a killed run planned but did not send, and those that the grid lost; rebuild missing zips."""
    newest = load_progress(ledger, progress_key(config)).newest
    under_way = ledger.units.attempts("planned", "sent")
    known = grid.known({name: attempt for name, (_, attempt) in under_way.items()})
    for name in (name for name, (state, _) in under_way.items() if name in known and state == "planned"):
        ledger.units.set_state(_unit(ledger, name), "sent")
    lost = [name for name in under_way if name not in known]
    if lost and not _has_entries(config.image_root):
        unbuilt = [name for name in lost if not grid.staged(name).exists()]
        if unbuilt:  # built now, they would hold no images, and all of these would fail for good
            log.warning(
                "%s: %d units wait to be made again: there is nothing in %s; is the share mounted?",
                STEP,
                len(unbuilt),
                config.image_root,
            )
        lost = [name for name in lost if name not in unbuilt]
    for part in (lost[start : start + grid.batch] for start in range(0, len(lost), grid.batch)):
        submissions = []
        for unit in (_unit(ledger, name) for name in part):
            if unit.state not in ("planned", "sent"):
                continue  # it was assimilated, and left the grid, after `attempts` was read
            manifest, images = wire.decode_manifest(unit.manifest), ledger.units.images(unit)
            if not grid.staged(unit.name).exists() and not write_unit(config, grid.staged(unit.name), manifest, images):
                ledger.units.fail(unit, "none of its images can be read as they were planned; the log says why")
                continue
            fresh = all(is_fresh(config, image.moment, newest) for image in images)
            submissions.append(Submission(manifest, under_way[unit.name][1], fresh))
        _submit(ledger, grid, submissions)
    grid.forget_staged()


def is_fresh(config: Config, moment: Moment, newest: Moment | None) -> bool:
    """Tell whether people wait for an inspection's scores: it is within the look-back of the newest one read."""
    return newest is None or moment.inspected >= earlier(newest.inspected, timedelta(days=config.work.look_back_days))


def _submit(ledger: Ledger, grid: Grid, submissions: list[Submission]) -> None:
    grid.submit(submissions)
    for submission in submissions:
        ledger.units.set_state(_unit(ledger, submission.unit), "sent")


def _unit(ledger: Ledger, name: str) -> Unit:
    unit = ledger.units.named(name)
    assert unit is not None, name
    return unit


@dataclass(frozen=True, slots=True)
class _Inspection:
    """One inspection of one drop: the number of its images, and those of them that are not planned yet."""

    moment: Moment
    number: int
    images: list[ImageRow]


class _Run:
    """One run: collects checked images and makes a unit whenever there are enough."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        grid: Grid,
        options: Options,
        limit: int,
        dry_run: bool,
        retry: bool,
    ) -> None:
        self._config, self._ledger, self._grid, self._options = config, ledger, grid, options
        self._limit, self._dry_run, self._retry = limit, dry_run, retry
        self._hash = options_hash(options, config.imager.pixel_size_um)
        self._horizon = config.imager.latest_date()
        self._unit: list[CheckedImage] = []
        self._bytes = 0
        self._fresh = True
        self._room: int | None = None
        self._made: list[Submission] = []
        self._taken: set[tuple[int, str]] = set()
        self._light = config.light
        self._inspections: set[int] = set()
        self._corrected: set[ImageRow] = set()
        self._followed: list[str] = []
        self._not_followed: list[str] = []
        self._noted: set[tuple[int, str]] = set()
        self.files = FileChanges(config, ledger, STEP, dry_run)
        self.created = Created()

    def full(self) -> bool:
        return self.created.planned >= self._limit

    def read(self, source: ImageSource, key: str, backfill: bool) -> None:
        """Read what is new, then gaps, look-back and archive; save the progress once all units are submitted."""
        highest = source.highest_ids(_STRAYS + 1) or [0]
        entered = without_strays(highest)
        progress = not_beyond(self._horizon, load_progress(self._ledger, key))
        if progress.first_id is not None and highest[0] < progress.last_id:
            log.warning(
                "%s: the highest INSPECTID was %d and is %d: inspections were deleted, or the imager database was "
                "restored; what is entered from now on is read again",
                STEP,
                progress.last_id,
                highest[0],
            )
        if progress.first_id is not None and entered < progress.last_id:
            progress = msgspec.structs.replace(
                progress, first_id=min(progress.first_id, entered), last_id=min(progress.last_id, entered)
            )
        if not progress.is_searched:
            source.find_incomplete()
        look_back = timedelta(days=self._config.work.look_back_days)
        start, newest, archive = progress.newest, progress.newest, progress.archive
        if start is None and self._config.imager.url:  # everything in an embedded database is to be scored
            archive = _archive(source, self._horizon, look_back)
            start = archive.before if archive else None
        unread: list[Gap] = []
        for gap in (Gap(start, None), *progress.gaps):
            newest, rest = self._read_gap(source, gap, newest)
            unread.extend(rest)
        if progress.newest is not None and not self.full():
            self._read_look_back(source, progress.newest, look_back)
        first_id, last_id = (entered, entered) if progress.first_id is None else (progress.first_id, progress.last_id)
        # Not beyond `entered`: ids that follow a stray's are never given, so what comes later lies below it.
        last_id = min(self._read_by_id(source, max(last_id - _IDS_AGAIN, first_id), last_id), entered)
        if backfill and archive is not None and newest is not None:
            archive = self._read_archive(source, archive, newest)
        looked_at = self._look_at_older(source, progress.looked_at, newest)
        self._take_mended_files(newest)
        if self._retry:
            self._take_as_there_is_room(self._ledger.units.to_retry(), newest)
        self.close_unit()
        self.hand_over()
        if not self._dry_run and newest is not None:
            save_progress(
                self._ledger, key, Progress(newest, tuple(unread), archive, first_id, last_id, looked_at, True)
            )

    def _read_gap(self, source: ImageSource, gap: Gap, newest: Moment | None) -> tuple[Moment | None, list[Gap]]:
        """Read a gap as far as the limit allows; return the newest moment up to now, and what is left of the gap."""
        before, stopped = gap.before, self.full()
        inspections = source.newest_first(gap.after, gap.before)
        for group in [] if stopped else self.unplanned(inspections, gap.is_read_again):
            if group.moment.inspected <= self._horizon:
                newest = max(newest, group.moment) if newest else group.moment
            fresh = is_fresh(self._config, group.moment, newest)
            if group.images and newest and not fresh and self._room_for_older(newest) <= 0:
                stopped = True
                break
            self.take(group, fresh)
            before = group.moment
            if stopped := self.full():
                break
        return newest, [msgspec.structs.replace(gap, before=before)] if stopped and before else []

    def _room_for_older(self, newest: Moment) -> int:
        """Return how many more images older than the look-back may be planned; if none, note why."""
        if self._room is None:
            since = earlier(newest.inspected, timedelta(days=self._config.work.look_back_days))
            self._room = self._config.work.backfill_under_way - self._ledger.units.images_under_way(before=since)
        if self._room <= 0:
            most = self._config.work.backfill_under_way
            self.created.older_wait = (
                f"{most - self._room} are in units that have not come back, and work.backfill_under_way is {most}"
            )
        return self._room

    def _read_look_back(self, source: ImageSource, newest: Moment, look_back: timedelta) -> None:
        """Read again what lies shortly before the newest image of earlier runs: rows and files may arrive late."""
        after = Moment(earlier(newest.inspected, look_back), -1)
        before = just_after(newest)
        for group in self.unplanned(source.newest_first(after, before)):
            self.take(group)
            if self.full():
                break

    def _read_by_id(self, source: ImageSource, after: int, last_id: int) -> int:
        """Read what was entered after an id, whatever its dates, up to the limit; return the highest id read."""
        for group in self.unplanned(source.entered_after(after), any_options=True):
            if self.full():
                break
            self.take(group)
            last_id = max(last_id, group.moment.inspect_id)
        return last_id

    def _read_archive(self, source: ImageSource, archive: Archive, newest: Moment) -> Archive:
        """Continue the archive as far as the hourly rate allows, if no fresh images wait."""
        before, read = archive.before, archive.read
        if before is None:
            return archive
        if not _has_entries(self._config.image_root):
            self.created.older_wait = f"there is nothing in {self._config.image_root}; is the share mounted?"
            return archive
        since = earlier(newest.inspected, timedelta(days=self._config.work.look_back_days))
        fresh = self._ledger.units.images_under_way(since) or self.created.planned
        if fresh:
            self.created.older_wait = f"{fresh} fresh images are in progress"
            return archive
        lately, per_hour = self._ledger.units.planned_lately(since), self._config.work.backfill_per_hour
        if lately >= per_hour:
            self.created.older_wait = (
                f"{lately} were planned in the last hour, and work.backfill_per_hour is {per_hour}"
            )
        limit = min(self._limit, per_hour - lately, self._room_for_older(newest))
        limit += self.created.tried
        for group in self.unplanned(source.newest_first(None, before)):
            if self.created.tried >= limit:
                break
            self.take(group, fresh=False)
            before, read = group.moment, read + group.number
        else:
            before = None
        return Archive(before, archive.images, read)

    def _look_at_older(self, source: ImageSource, before: Moment | None, newest: Moment | None) -> Moment | None:
        """Look at some more files of images planned at any time; return where the next run goes on."""
        if before is None and newest is not None:
            before = just_after(newest)
        if before is None or self.full():
            return before
        self.files.look_at_older()
        number = 0
        for group in self.unplanned(source.newest_first(None, before), any_options=True, planned_only=True):
            self.take(group, fresh=False)
            before, number = group.moment, number + group.number
            if number >= OLDER or self.full():
                return before
        return None

    def _take_mended_files(self, newest: Moment | None) -> None:
        """Take the images whose file could not be used, and has changed since; of old ones as many as there is room."""
        self.files.look_at_older()
        failed = self._ledger.failures.images(STEP, OLDER)
        changed = [
            image for image, *known in failed if (about := self.files.size_and_time(image)) and list(about) != known
        ]
        self._take_as_there_is_room(changed, newest)

    def _take_as_there_is_room(self, images: Sequence[ImageRow], newest: Moment | None) -> None:
        """Take images that failed before, whatever the options; of old ones as many as there is room."""
        for group in self.unplanned(([image] for image in images), any_options=True):
            if self.full():
                break
            fresh = is_fresh(self._config, group.moment, newest)
            if fresh or newest is None or self._room_for_older(newest) > 0:
                self.take(group, fresh)

    def take_mended_rows(self, source: ImageSource) -> None:
        """Take the images of rows that could not be used and were corrected, and close the failures of these rows."""
        if self._dry_run:
            return
        recorded = self._ledger.failures.open_files(STEP)[:_ASKED]
        ids = {name: number for name in recorded if (number := unusable_inspection(name)) is not None}
        for group in self.unplanned(source.of_inspections(sorted(set(ids.values()))), any_options=True):
            self.take(group)
        unusable = {row.name for row in source.unusable}
        self._ledger.failures.close([name for name in ids if name not in unusable], STEP)

    def unplanned(
        self, inspections: Iterable[list[ImageRow]], any_options: bool = False, planned_only: bool = False
    ) -> Iterator[_Inspection]:
        """Remove images that are not to be scored and those already in a unit, with one query for many inspections.

        Only units with the same options count, or those with any. Images stay whose file differs from the one that was
        planned; with `planned_only`, no others.
        """
        options = None if any_options else self._hash
        rest = iter(inspections)
        while batch := list(itertools.islice(rest, _ASKED)):
            visible = self._visible(batch)
            there = self._ledger.units.planned([image for group in visible for image in group], options, self._retry)
            for group, scored in zip(batch, visible, strict=True):
                new = []
                for image in scored:
                    planned = there.get((image.inspect_id, image.image_name))
                    if planned is not None and not image.is_where(planned.image):
                        self._follow_correction(image, planned)
                    if not planned_only if planned is None else self.files.differs(image, planned):
                        new.append(image)
                if new and group[0].inspect_id not in self._inspections:
                    self._inspections.add(group[0].inspect_id)
                    self.created.lights.add_scored(self._light, scored)
                yield _Inspection(group[0].moment, len(group), new)

    def _follow_correction(self, image: ImageRow, planned: PlannedFile) -> None:
        """Correct the ledger where plate, inspection, well or date were corrected in the imager database."""
        if image in self._corrected or self._dry_run:  # a gap and the look-back may overlap
            return
        self._corrected.add(image)
        what = f"INSPECTID {image.inspect_id}, {planned.image.place}, is {image.place} now"
        if self.files.is_same(image, planned):
            self._ledger.units.correct_image(planned.image_id, image)
            self._followed.append(what)
        else:
            try:
                remedy = f"put its file to {image_path(self._config, image)}"
            except ImageError as error:
                remedy = error.detail
            self._not_followed.append(f"{what}; if that is right, {remedy}")

    def tell_corrections(self) -> None:
        """Log what was corrected in the imager database, and whether the ledger follows."""
        for found, said in (
            (self._followed, "and here"),
            (self._not_followed, "but not here, as the file is not there, or not the one that was scored"),
        ):
            if found:
                log.warning(
                    "%s: %d images were corrected in the imager database, %s; the first: %s",
                    STEP,
                    len(found),
                    said,
                    found[0],
                )

    def _visible(self, inspections: list[list[ImageRow]]) -> list[list[ImageRow]]:
        """Return the images that may be scored; record the others."""
        reasons = not_scored(self._light, itertools.chain.from_iterable(inspections))
        passed_over = self._ledger.passed_over
        new = passed_over.unknown(reasons) if self._dry_run else passed_over.add(reasons)
        self.created.lights.passed_over.update(reason for key, reason in new.items() if key not in self._noted)
        self._noted.update(new)
        return [
            [image for image in group if (image.inspect_id, image.image_name) not in reasons] for group in inspections
        ]

    def take(self, inspection: _Inspection, fresh: bool = True) -> None:
        """Check an inspection's images and add them to the unit; a unit has either fresh images or back-fill."""
        for image in inspection.images:
            key = image.inspect_id, image.image_name
            if key in self._taken:  # a gap and the look-back may overlap
                continue
            self._taken.add(key)
            file = None
            try:
                data, file = read_file(self._config, image)
                if self.files.is_planned(image, file):
                    continue
                self.created.found += 1
                if image.inspected > self._horizon:
                    self._note_ahead(image)
                self._add(check_image(self._config, image, data, file), fresh)
            except ImageError as error:
                log.warning("%s %s: %s", STEP, image.image_name, error)
                if not self._dry_run:
                    self._ledger.failures.add(image.image_name, STEP, error.reason, error.detail, image, file)
                waits = self._ledger.failures.waits(image, error.reason, file.modified if file else None)
                (self.created.waiting if waits else self.created.failed).append((image, error))

    def _add(self, checked: CheckedImage, fresh: bool) -> None:
        work = self._config.work
        if fresh != self._fresh or self._bytes + checked.size > work.max_unit_mb * 2**20:
            self.close_unit()
            self._fresh = fresh
        self._unit.append(checked)
        self._bytes += checked.size
        if not fresh and self._room is not None:
            self._room -= 1
        self.created.planned += 1
        if len(self._unit) == (work.wells_per_unit if fresh else work.wells_per_backfill_unit):
            self.close_unit()

    def _note_ahead(self, image: ImageRow) -> None:
        self.created.ahead.append(image)
        log.warning(
            "%s plate %s inspection %d is dated %s, ahead of now; check the imager's clock and imager.time_zone",
            STEP,
            image.barcode,
            image.inspection,
            image.inspected,
        )

    def record_unusable(self, rows: list[UnusableRow]) -> None:
        """Record the rows that could not be used, each once, whichever runs meet them."""
        by_name: dict[str, list[UnusableRow]] = {}
        for row in rows:
            by_name.setdefault(row.name, []).append(row)
        for name, same in by_name.items():  # an inspection may have several images without a usable name
            wrong = sorted(f"{row.column} is {row.value}, not {row.expected}" for row in same)
            detail = f"{'; '.join(wrong)}; correct the row{'s' if len(same) > 1 else ''}"
            if self._dry_run or self._ledger.failures.add(name, STEP, FailureReason.UNUSABLE_ROW, detail):
                self.created.unusable += same

    def close_unit(self) -> None:
        """Make a unit of the collected images: the zip, then the ledger, then the grid; each can be repeated."""
        images, self._unit, self._bytes = self._unit, [], 0
        if not images:
            return
        self.created.units += 1
        if self._dry_run:
            return
        manifest = make_manifest(self._config, self._options, images)
        write_unit(self._config, self._grid.staged(manifest.unit), manifest, [checked.image for checked in images])
        self._ledger.units.add(manifest, [_planned(checked) for checked in images])
        attempt = self._ledger.units.attempt(_unit(self._ledger, manifest.unit))
        self._made.append(Submission(manifest, attempt, self._fresh))
        if len(self._made) >= self._grid.batch:
            self.hand_over()

    def hand_over(self) -> None:
        """Submit the units made so far."""
        self.files.write_notes()
        made, self._made = self._made, []
        if made:
            _submit(self._ledger, self._grid, made)


def without_strays(ids: Sequence[int]) -> int:
    """Return the highest of the highest ids, given in falling order, that leads on to the others without a leap."""
    below_leaps = (lower for higher, lower in itertools.pairwise(ids) if higher - lower > _LEAP)
    return min(below_leaps, default=ids[0])


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entries)
    except OSError:
        return False


def _planned(checked: CheckedImage) -> PlannedImage:
    return PlannedImage(checked.image, checked.file.sha256, checked.file.size, checked.file.modified)


def _archive(source: ImageSource, latest: datetime, look_back: timedelta) -> Archive | None:
    """Return what is older than the look-back from the newest image; None if there are no images at all."""
    newest = next(source.newest_first(None, Moment(latest, 0)), None)
    if newest is None:
        return None
    before = Moment(earlier(newest[0].inspected, look_back), -1)
    return Archive(before, source.count_images(before))
