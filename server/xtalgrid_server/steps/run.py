"""``run``: take a folder of well images, or a source, through all steps, from import to published scores."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome

from ..imager.folder.entering import Imported
from ..imager.ispyb.source import STEP as ISPYB
from ..ledger.shapes import DropImage
from .account import Account, account
from .finalize import Finalized
from .system import System


@dataclass(slots=True)
class FolderRun:
    """What became of a folder: the account of its files, and the images with a score."""

    imported: Imported
    finalized: Finalized
    account: Account
    scored: list[DropImage]
    looking_like_uv: int
    """Images without an outcome because they are dark, as in UV light."""

    @property
    def total(self) -> int:
        """Number of images in the folder; files that differ only in their suffix count once."""
        return len(self.imported.entered) + len(self.imported.rejected)

    @property
    def outcomes(self) -> dict[Outcome, int]:
        """Number of images by outcome, in order of priority, failed ones last."""
        counts = collections.Counter(image.outcome for image in self.scored)
        counts[Outcome.FAILED] += self.account.failed
        return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}

    def failures(self) -> dict[tuple[str, str], list[str]]:
        """Group the failed files by (reason, detail), since all files of a failed unit share them."""
        files: dict[tuple[str, str], list[str]] = {}
        for one in self.account.failures:
            files.setdefault((one.reason, one.detail), []).append(Path(one.file).name)
        return files


def run_folder(
    system: System,
    folder: Path | None,
    *,
    recursive: bool = False,
    copy: bool = False,
    names: str | None = None,
    frames: str = "all",
    on_progress: Callable[[int], None] | None = None,
) -> FolderRun:
    """Import a folder, score and publish its images, and account for each; a repeated run resumes where one stopped.

    Parameters
    ----------
    folder
        None: the images of all plates that ``imager.ispyb`` or ``imager.folder`` has.
    frames
        Framed images to draw: ``none``, ``crystals`` or ``all``.
    on_progress
        Called with the number of images answered so far.
    """
    grid = system.local_grid
    if folder is None:
        imported = _of_source(system)
    else:
        imported = system.import_folder(folder, recursive=recursive, copy=copy, names=names, fall_back=names is None)
    number = max(len(imported.entered), 1)
    # rounded up, so that no small unit is left over for one worker while the others are idle
    share = -(-number // system.config.grid.workers)
    unit_size = min(share, system.config.work.wells_per_unit)
    system.create_work(
        barcodes=imported.barcodes, limit=max(number, system.config.work.limit), wells_per_unit=unit_size, retry=True
    )
    while True:
        worked = system.work(on_progress=on_progress)
        done = system.assimilate()
        if not (worked.finished or worked.failed or done.refused) or not grid.waiting():
            break  # otherwise run again: units with refused results are repeated, up to grid.attempts
    system.look_again(barcodes=imported.barcodes)
    finalized = system.finalize(frames)
    system.publish()
    return _account(system, imported, finalized)


def _of_source(system: System) -> Imported:
    """Register what is new at the configured source; return all its images.

    Raises
    ------
    ConfigError
        If none is configured that is to be read this way.
    """
    if not (system.config.imager.folder or system.config.imager.ispyb.url):
        raise ConfigError("give the FOLDER with the well images, or set imager.folder or imager.ispyb.url")
    system.refresh()
    imported = Imported()
    for barcode in system.imager.barcodes():
        imported.entered += itertools.chain.from_iterable(system.source.of_plate(barcode))
    unusable = {one.file: one.detail for one in system.ledger.accounts.failures() if one.step == ISPYB}
    imported.rejected |= {Path(file): why for file, why in unusable.items()}
    return imported


def _account(system: System, imported: Imported, finalized: Finalized) -> FolderRun:
    standings = system.ledger.accounts.of(imported.entered)
    images = system.ledger.images.of_inspections(sorted({row.inspect_id for row in imported.entered}))
    scored = [image for image in images if standings.get((image.inspect_id, image.image_name)) == "scored"]
    counted = account(system.config, system.ledger, system.imager, imported)
    dark = system.ledger.scores.looking_like_uv([image.image_id for image in scored])
    return FolderRun(imported, finalized, counted, scored, dark)
