"""A folder that an imager fills: its new images enter the embedded database when their files are complete.

Complete is a file that was the same, in size and time of change, at two looks `import.settle_s` apart, and has its format's end.
One without an end waits, for `import.give_up_hours` at most; then it is recorded as failed, until it changes. A file that cannot be
read, named or linked is recorded as failed and stops no other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from xtalgrid_core.errors import ConfigError, FailureReason
from xtalgrid_core.images import SUFFIXES
from xtalgrid_core.whole import missing_end

from ...config import Config
from ...domain.failures import FailureLog
from ...domain.images import ImageRow
from ...storage.engines import IN_LIST
from ..crystaltrak.database import ImagerDatabase
from ..source import ImageSource
from .entering import STEP, Imported, convention_of, enter, refuse_vendors
from .seen import Seen, SeenFiles, State

Listing = tuple[Path, list["os.DirEntry[str]"]]
"""A folder and its image files."""

_BATCH = 1000


def open_source(config: Config, database: ImagerDatabase, failures: FailureLog) -> ImageSource:
    """Where the images of a configuration come from."""
    return FolderSource(config, database, failures) if config.imager.folder else database


class FolderSource:
    """The folder ``imager.folder`` and all below it; hidden folders are passed over."""

    def __init__(
        self,
        config: Config,
        database: ImagerDatabase,
        failures: FailureLog,
        folder: Path | None = None,
        *,
        names: str | None = None,
        copy: bool = False,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        refuse_vendors(config)
        self._config, self._database, self._failures = config, database, failures
        self._folder = (folder or Path(config.imager.folder).expanduser()).absolute()
        self._convention = convention_of(config, names or config.import_.names)
        self._copy, self._clock, self._pause = copy, clock, pause
        self._seen = SeenFiles(database)
        self.newest_first = database.newest_first
        self.of_plate = database.of_plate
        self.count_images = database.count_images
        self.path = database.path

    def refresh(self) -> list[ImageRow]:
        """Take in what is complete; what is new is looked at twice for that.

        Raises
        ------
        ConfigError
            When the folder is not there.
        """
        first = self.look()
        if not first.settling:
            return first.entered
        self._pause(self._config.import_.settle_s)
        return first.entered + self.look().entered

    def look(self) -> Imported:
        """Look once at every folder, and take in what is complete by now.

        Raises
        ------
        ConfigError
            When the folder is not there.
        """
        if not self._folder.is_dir():
            raise ConfigError(f"imager.folder: {self._folder} is not there; is it mounted?")
        found = Imported()
        for folders in _batches(_image_files(self._folder)):
            self._look_into(folders, found)
        return found

    def _look_into(self, folders: list[Listing], found: Imported) -> None:
        known = self._seen.of_folders([str(folder) for folder, _ in folders])
        changed: list[Seen] = []
        ready: dict[Path, Seen] = {}
        for folder, files in folders:
            stems = {
                Path(entry.name).stem: entry.name
                for entry in files
                if (seen := known.get((str(folder), entry.name))) is not None and seen.state == "entered"
            }
            for entry in files:
                before = known.get((str(folder), entry.name))
                seen = self._seen_now(folder, entry, before)
                if seen is None or seen.state != "waiting":
                    continue
                path = folder / entry.name
                if self._convention is not None and self._convention.passes_over(path):
                    continue
                if stems.get(path.stem, path.name) != path.name:
                    changed.append(replace(seen, state="double"))
                    found.doubles.append(path)
                elif seen is not before or self._clock() - seen.since < self._config.import_.settle_s:
                    changed.append(seen)
                    found.waiting.append(path)
                    found.settling.append(path)
                elif (why := self._missing_end(path)) is None:
                    stems[path.stem] = path.name
                    ready[path] = seen
                elif self._clock() - seen.first < self._config.import_.give_up_hours * 3600:
                    found.waiting.append(path)
                else:
                    self._failures.add_failure(str(path), STEP, FailureReason.TRUNCATED, f"{path}: {why}")
                    found.rejected[path] = why
                    changed.append(replace(seen, state="failed"))
        if ready:
            enter(self._config, self._database, self._failures, list(ready), self._convention, self._copy, found)
        states: dict[Path, State] = {path: "rejected" if path in found.rejected else "entered" for path in ready}
        self._seen.keep([*changed, *(replace(seen, state=states[path]) for path, seen in ready.items())])

    def _seen_now(self, folder: Path, entry: os.DirEntry[str], known: Seen | None) -> Seen | None:
        """The file as it is; the record of it where that says the same. None: it went away."""
        try:
            status = entry.stat()
        except OSError:
            return None
        if known is not None and (known.size, known.modified) == (status.st_size, status.st_mtime_ns):
            return known
        now = self._clock()
        first = known.first if known is not None and known.state == "waiting" else now
        return Seen(str(folder), entry.name, status.st_size, status.st_mtime_ns, first, now)

    def _missing_end(self, path: Path) -> str | None:
        try:
            with path.open("rb") as stream:
                return missing_end(stream)
        except OSError as error:
            return f"it cannot be read ({error.strerror})"


def _image_files(folder: Path) -> Iterator[Listing]:
    """The folders with image files, in order of their names, and the files by stem and kind. What cannot be listed is passed over."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return
    files, folders = [], []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir():  # noqa: PTH122  of a million names
            files.append(entry)
    if files:
        yield folder, sorted(files, key=lambda e: (Path(e.name).stem, SUFFIXES.index(Path(e.name).suffix.lower())))
    for name in folders:
        yield from _image_files(folder / name)


def _batches(listings: Iterator[Listing]) -> Iterator[list[Listing]]:
    """Some folders at a time: RockImager's have a file or two each, and each batch is a transaction."""
    batch: list[Listing] = []
    files = 0
    for listing in listings:
        batch.append(listing)
        files += len(listing[1])
        if len(batch) >= IN_LIST or files >= _BATCH:
            yield batch
            batch, files = [], 0
    if batch:
        yield batch
