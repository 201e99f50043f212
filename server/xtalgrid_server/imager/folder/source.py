"""A watched folder, which an imager fills: new images enter the embedded database when their files are complete.

A file is complete if its size and modification time were the same at two scans `import.settle_s` apart and its format's
end marker is there. A file without an end marker waits for up to `import.give_up_hours`; then it is recorded as failed,
until it changes. A file that cannot be read, named or linked is recorded as failed and does not affect the others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from xtalgrid_core.errors import ConfigError, FailureReason
from xtalgrid_core.files import readable
from xtalgrid_core.images import SUFFIXES
from xtalgrid_core.whole import missing_end

from ...config import Config
from ...domain.failures import FailureLog
from ...domain.images import ImageRow, UnusableRow
from ...storage.engines import IN_LIST
from ..crystaltrak.database import ImagerDatabase
from ..source import ImageSource
from .entering import STEP, Imported, convention_of, enter, refuse_vendors
from .seen import Seen, SeenFiles, State

Listing = tuple[Path, list["os.DirEntry[str]"]]
"""Folder and its image files."""

_BATCH = 1000


def open_source(config: Config, database: ImagerDatabase, failures: FailureLog) -> ImageSource:
    """Return the source of images that is configured: the watched folder or the imager database."""
    return FolderSource(config, database, failures) if config.imager.folder else database


class FolderSource:
    """The folder ``imager.folder`` with its subfolders, except hidden ones.

    Parameters
    ----------
    config
        The configuration.
    database
        The embedded imager database.
    failures
        Where files that cannot be imported are recorded.
    folder
        Folder to watch instead of ``imager.folder``.
    names
        Naming convention instead of ``import.names``.
    copy
        Whether to copy the images instead of linking to them.
    clock, pause
        Replacements for `time.time` and `time.sleep`.

    Raises
    ------
    ConfigError
        If the imager database is a vendor's, or ``names`` is invalid.
    """

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
        self.entered_after, self.last_id = database.entered_after, database.last_id
        self.of_plate = database.of_plate
        self.count_images = database.count_images
        self.path = database.path

    @property
    def unusable(self) -> list[UnusableRow]:
        """The rows that could not be used so far; see `ImageSource`."""
        return self._database.unusable

    def refresh(self) -> list[ImageRow]:
        """Import complete files, scanning the folder twice if there are new ones.

        Raises
        ------
        ConfigError
            If the folder does not exist.
        """
        first = self.scan()
        if not first.settling:
            return first.entered
        self._pause(self._config.import_.settle_s)
        return first.entered + self.scan().entered

    def scan(self) -> Imported:
        """Scan every folder once, and import the files that are complete.

        Raises
        ------
        ConfigError
            If the folder does not exist.
        """
        if not self._folder.is_dir():
            raise ConfigError(f"imager.folder: no such folder {self._folder}; is it mounted?")
        imported = Imported()
        for folders in _batches(_image_files(self._folder)):
            self._scan_folders(folders, imported)
        return imported

    def _scan_folders(self, folders: list[Listing], imported: Imported) -> None:
        known = self._seen.of_folders([readable(str(folder)) for folder, _ in folders])
        changed: list[Seen] = []
        ready: dict[Path, Seen] = {}
        for folder, files in folders:
            stems = {
                Path(entry.name).stem: entry.name
                for entry in files
                if (seen := known.get(_key(folder, entry))) is not None and seen.state == "entered"
            }
            for entry in files:
                before = known.get(_key(folder, entry))
                seen = self._seen_now(folder, entry, before)
                if seen is None or seen.state != "waiting":
                    continue
                path = folder / entry.name
                if self._convention is not None and self._convention.passes_over(path):
                    continue
                if stems.get(path.stem, path.name) != path.name:
                    changed.append(replace(seen, state="double"))
                    imported.doubles.append(path)
                elif seen is not before or self._clock() - seen.since < self._config.import_.settle_s:
                    changed.append(seen)
                    imported.waiting.append(path)
                    imported.settling.append(path)
                elif (why := self._missing_end(path)) is None:
                    stems[path.stem] = path.name
                    ready[path] = seen
                elif self._clock() - seen.first < self._config.import_.give_up_hours * 3600:
                    imported.waiting.append(path)
                else:
                    self._failures.add(readable(str(path)), STEP, FailureReason.TRUNCATED, readable(f"{path}: {why}"))
                    imported.rejected[path] = why
                    changed.append(replace(seen, state="failed"))
        if ready:
            enter(
                self._config,
                self._database,
                self._failures,
                list(ready),
                self._convention,
                self._copy,
                imported,
                root=self._folder,
                clock=self._clock,
            )
        waiting = set(imported.waiting)
        states: dict[Path, State] = {
            path: "rejected" if path in imported.rejected else "entered" for path in ready if path not in waiting
        }
        self._seen.keep([*changed, *(replace(ready[path], state=state) for path, state in states.items())])

    def _seen_now(self, folder: Path, entry: os.DirEntry[str], known: Seen | None) -> Seen | None:
        """Return the file's state: `known` itself if size and time are unchanged, and None if the file is gone."""
        try:
            status = entry.stat()
        except OSError:
            return None
        if known is not None and (known.size, known.modified) == (status.st_size, status.st_mtime_ns):
            return known
        now = self._clock()
        first = known.first if known is not None and known.state == "waiting" else now
        return Seen(*_key(folder, entry), status.st_size, status.st_mtime_ns, first, now)

    def _missing_end(self, path: Path) -> str | None:
        try:
            with path.open("rb") as stream:
                return missing_end(stream)
        except OSError as error:
            return f"cannot read it: {error.strerror}"


def _key(folder: Path, entry: os.DirEntry[str]) -> tuple[str, str]:
    """Return the folder and name under which a file is recorded."""
    return readable(str(folder)), readable(entry.name)


def _image_files(folder: Path) -> Iterator[Listing]:
    """Yield the folders with image files, sorted by name, and their files, sorted by stem and format.

    Folders that cannot be listed are skipped.
    """
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
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir():  # noqa: PTH122  faster than Path
            files.append(entry)
    if files:
        yield folder, sorted(files, key=lambda e: (Path(e.name).stem, SUFFIXES.index(Path(e.name).suffix.lower())))
    for name in folders:
        yield from _image_files(folder / name)


def _batches(listings: Iterator[Listing]) -> Iterator[list[Listing]]:
    """Group folders into batches, one transaction each, because RockImager's folders have only a file or two."""
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
