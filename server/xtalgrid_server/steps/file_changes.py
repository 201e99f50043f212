"""Find planned images whose file was replaced: by size and time first, then by content.

A run compares the files of what it reads again, `_LOOKS` of them at most, and of `OLDER` older inspections, a part of
them in each run. A file that differs is read, `_READS` of them at most. If its content was planned before, as after a
copy, a move or a touch, that is noted; otherwise the image is planned again.
"""

from __future__ import annotations

import math
from datetime import UTC

from xtalgrid_core.errors import ImageError

from ..config import Config
from ..domain.images import FileState, ImageRow, file_time
from ..ledger.store import Ledger
from ..ledger.units import PlannedFile
from ..storage.originals import original_status
from .pack import image_path, read_file

_LOOKS, OLDER, _READS = 20_000, 5_000, 1_000
"""Files that a run compares by size and time, among them of older inspections, and those that it reads because they
differ. With a run each five minutes, each of a million files is looked at once a day."""

_NOTES = 250
"""Files noted in the ledger at once."""


class FileChanges:
    """Compares files with the ledger in one run.

    Parameters
    ----------
    config, ledger
        Where the files are, and where they are recorded.
    step
        Name of the step whose failures are closed for files that were noted.
    dry_run
        Whether to note nothing.
    """

    def __init__(self, config: Config, ledger: Ledger, step: str, dry_run: bool) -> None:
        self._config, self._ledger, self._step, self._dry_run = config, ledger, step, dry_run
        self._looks: float = _LOOKS
        self._reads: float = _READS
        self._looked_at: set[int] = set()
        self._differing: dict[tuple[int, str], PlannedFile] = {}
        self._noted: list[tuple[int, FileState]] = []

    def look_at_all(self) -> None:
        """Look at all files of what is read, however many."""
        self._looks = self._reads = math.inf

    def look_at_older(self) -> None:
        """Look at as many files as are looked at of older inspections."""
        self._looks = OLDER

    def differs(self, image: ImageRow, planned: PlannedFile) -> bool:
        """Tell whether a planned image's file has another size or time than when it was last read."""
        if self._looks <= 0 or self._reads <= 0 or planned.image_id in self._looked_at:
            return False
        self._looked_at.add(planned.image_id)
        self._looks -= 1
        about = self.size_and_time(image)
        if about is None or about == (planned.size, planned.modified):
            return False
        if planned.size is None and about[1] < planned.at.replace(tzinfo=UTC).timestamp() * 1e9:
            # an earlier version planned it, and noted neither size nor time
            self._note(planned, FileState(planned.sha256, *about))
            return False
        self._reads -= 1
        self._differing[image.inspect_id, image.image_name] = planned
        return True

    def is_planned(self, image: ImageRow, file: FileState) -> bool:
        """Tell whether the content of a file that differs was planned before; then note its size and time."""
        planned = self._differing.get((image.inspect_id, image.image_name))
        if planned is None or file.sha256 not in planned.contents:
            return False
        self._note(planned, file)
        return True

    def is_same(self, image: ImageRow, planned: PlannedFile) -> bool:
        """Tell whether an image's file, which may lie elsewhere now, is the one that was planned."""
        about = self.size_and_time(image)
        if about is None:
            return False
        if about == (planned.size, planned.modified):
            return True
        if self._reads <= 0:
            return False
        self._reads -= 1
        try:
            return read_file(self._config, image)[1].sha256 in planned.contents
        except ImageError:
            return False

    def size_and_time(self, image: ImageRow) -> tuple[int, int] | None:
        """Return the size of an image's file in bytes and its time in nanoseconds; None if it cannot be read."""
        try:
            about = original_status(self._config, image_path(self._config, image))
        except ImageError:
            return None
        return about.st_size, file_time(about)

    def _note(self, planned: PlannedFile, file: FileState) -> None:
        self._noted.append((planned.image_id, file))
        if len(self._noted) >= _NOTES:
            self.write_notes()

    def write_notes(self) -> None:
        """Write what was noted to the ledger."""
        noted, self._noted = self._noted, []
        if noted and not self._dry_run:
            self._ledger.units.record_files(noted, self._step)
