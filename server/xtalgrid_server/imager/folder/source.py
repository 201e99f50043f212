"""A watched folder, which an imager fills: new images enter the embedded database when their files are complete.

A file is complete if its size and modification time were the same at two scans `import.settle_s` apart and its format's
end marker is there. A file without an end marker waits for up to `import.give_up_hours`; then it is recorded as failed,
until it changes. A file that cannot be read, named or linked is recorded as failed and does not affect the others. What
could not be read or linked, as on a full disk, is tried again after `_AGAIN_S`; what could not be named, when a setting
has changed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_core.files import readable
from xtalgrid_core.whole import missing_end

from ...config import Config
from ...domain.failures import FailureLog
from ...domain.images import ImageRow, file_time
from ...domain.log import log
from ...storage.engines import IN_LIST
from ...storage.originals import open_original, trust
from ..crystaltrak.database import ImagerDatabase
from ..embedded import EmbeddedSource
from .entering import STEP, Imported, convention_of, enter, refuse_vendors
from .formats import PlateFormats
from .listing import DEAD_LINK, EMPTY, NOT_SCORED, SECOND_FORMAT, UNREADABLE, Listing, own_folders, walk
from .seen import OtherFiles, Seen, SeenFiles, State

_BATCH = 1000
_AGAIN_S = 600.0


class FolderSource(EmbeddedSource):
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
        super().__init__(database)
        self._config, self._failures = config, failures
        self._folder = (folder or Path(config.imager.folder).expanduser()).absolute()
        self._convention = convention_of(config, names or config.import_.names)
        self._copy, self._clock, self._pause = copy, clock, pause
        self._seen = SeenFiles(database)
        read_by = (config.import_, names, config.imager.linked_folders, config.imager.light)
        self._settings = hashlib.sha256(msgspec.json.encode(read_by)).hexdigest()
        self._has_compared = False

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
        trust(self._config, self._folder)
        self._compare_formats()
        imported, visited = Imported(), set[str]()
        root = readable(str(self._folder))
        if self._is_empty() and self._seen.has_any_below(root):  # as the place where a share is mounted, without it
            imported.passed_over[EMPTY] += 1
            if OtherFiles(self._database).keep(root, imported.passed_over, recursive=True):
                log.warning("imager.folder: nothing is in %s, where images were; is its share mounted?", self._folder)
            return imported
        self._seen.try_rejected(root, self._settings)
        for folders in _batches(walk(self._folder, own=own_folders(self._config, self._folder))):
            self._scan_folders(folders, imported, visited)
        if UNREADABLE not in imported.passed_over:
            self._forget([seen for seen in self._seen.undone_below(root) if seen.folder not in visited])
        OtherFiles(self._database).keep(root, imported.passed_over, recursive=True)
        return imported

    def _is_empty(self) -> bool:
        try:
            with os.scandir(self._folder) as found:
                return next(found, None) is None
        except OSError:
            return False

    def _compare_formats(self) -> None:
        """Say, once, which plates have another format in ``import.plates`` now: their files are not read again."""
        if not self._has_compared:
            self._has_compared = True
            for line in PlateFormats(self._config, self._database, self._clock).contradictions():
                log.warning("%s", line)

    def _forget(self, gone: list[Seen]) -> None:
        """Forget files that were deleted, moved or renamed, and close their failures."""
        self._seen.forget(gone)
        self._failures.close([f"{seen.folder}{os.sep}{seen.name}" for seen in gone], STEP)

    def _scan_folders(self, folders: list[Listing], imported: Imported, visited: set[str]) -> None:
        known = self._seen.of_folders([readable(str(listing.folder)) for listing in folders])
        visited.update(seen.folder for seen in known.values() if seen.state != "entered")
        there = {_key(listing.folder, entry) for listing in folders for entry in listing.files}
        unknown = {readable(str(listing.folder)) for listing in folders if UNREADABLE in listing.others}
        gone = [seen for key, seen in known.items() if key not in there and key[0] not in unknown]
        self._forget([seen for seen in gone if seen.state != "entered"])
        changed: list[Seen] = []
        ready: dict[Path, Seen] = {}
        for listing in folders:
            imported.passed_over += listing.others
            stems = {
                Path(entry.name).stem: entry.name
                for entry in listing.files
                if (seen := known.get(_key(listing.folder, entry))) is not None
                and seen.state in ("entered", "changing")
            }
            formats = Counter(Path(entry.name).stem for entry in listing.files)
            for entry in listing.files:
                before = known.get(_key(listing.folder, entry))
                path = listing.folder / entry.name
                seen = self._seen_now(listing.folder, entry, before, is_alone=formats[path.stem] == 1)
                if seen is None:
                    imported.passed_over[DEAD_LINK] += entry.is_symlink()
                    continue
                if self._convention is not None and self._convention.passes_over(path):
                    imported.passed_over[NOT_SCORED.format(path.suffix.lower())] += 1
                elif seen.state not in ("waiting", "changing") and not self._is_due(seen):
                    imported.passed_over[SECOND_FORMAT] += seen.state == "double"
                elif stems.get(path.stem, path.name) != path.name:
                    changed.append(replace(seen, state="double"))
                    imported.doubles.append(path)
                    imported.passed_over[SECOND_FORMAT] += 1
                elif seen is not before or self._clock() - seen.since < self._config.import_.settle_s:
                    changed.append(seen)
                    imported.waiting.append(path)
                    imported.settling.append(path)
                elif (why := self._missing_end(path)) is None:
                    stems[path.stem] = path.name
                    ready[path] = seen
                else:
                    changed += self._wait_or_give_up(path, seen, why, imported)
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
        states |= dict.fromkeys(imported.postponed & states.keys(), "postponed")
        now = self._clock()
        changed += [
            replace(ready[path], state=state, since=now if state == "postponed" else ready[path].since)
            for path, state in states.items()
        ]
        visited.update(seen.folder for seen in changed)
        self._seen.keep(changed)

    def _is_due(self, seen: Seen) -> bool:
        """Tell whether to try a file again that could not be read or stored; this computer's clock may be set back."""
        return seen.state == "postponed" and not 0 <= self._clock() - seen.since < _AGAIN_S

    def _wait_or_give_up(self, path: Path, seen: Seen, why: str, imported: Imported) -> list[Seen]:
        """Note an incomplete file as waiting, or after `import.give_up_hours` as failed; return what changed."""
        if self._clock() - seen.first < self._config.import_.give_up_hours * 3600:
            imported.waiting.append(path)
            return []
        imported.rejected[path] = why
        if seen.state == "changing":  # create_work records that its image fails
            return [replace(seen, state="entered")]
        self._failures.add(readable(str(path)), STEP, FailureReason.TRUNCATED, readable(f"{path}: {why}"))
        return [replace(seen, state="failed")]

    def _seen_now(self, folder: Path, entry: os.DirEntry[str], known: Seen | None, *, is_alone: bool) -> Seen | None:
        """Return the file's state: `known` itself if size and time are unchanged, and None if the file is gone.

        A second format of an image is like a new file if it `is_alone`: the first was deleted.
        """
        try:
            status = entry.stat()
        except OSError:
            return None
        is_same = known is not None and (known.size, known.modified) == (status.st_size, file_time(status))
        now = self._clock()
        if known is not None and is_same and not (known.state == "double" and is_alone):
            is_ahead = known.state in ("waiting", "changing") and max(known.first, known.since) > now
            # This computer's clock was ahead: without this, a file would wait until that time comes.
            return replace(known, first=min(known.first, now), since=now) if is_ahead else known
        state: State = "changing" if known is not None and known.state in ("entered", "changing") else "waiting"
        first = known.first if known is not None and known.state == state else now
        return Seen(*_key(folder, entry), status.st_size, file_time(status), first, now, state)

    def _missing_end(self, path: Path) -> str | None:
        try:
            with open_original(self._config, path) as stream:
                return missing_end(stream)
        except ImageError:
            return None  # entering it says what is wrong
        except OSError as error:
            return f"cannot read it: {error.strerror}"


def _key(folder: Path, entry: os.DirEntry[str]) -> tuple[str, str]:
    """Return the folder and name under which a file is recorded."""
    return readable(str(folder)), readable(entry.name)


def _batches(listings: Iterator[Listing]) -> Iterator[list[Listing]]:
    """Group folders into batches, one transaction each, because RockImager's folders have only a file or two."""
    batch: list[Listing] = []
    files = 0
    for listing in listings:
        batch.append(listing)
        files += len(listing.files)
        if len(batch) >= IN_LIST or files >= _BATCH:
            yield batch
            batch, files = [], 0
    if batch:
        yield batch
