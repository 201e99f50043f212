"""ISPyB as the source of images: new ones are entered into the embedded database, with links to their files.

A link is made whether the file is there yet or not: `create_work` waits for it as for every other. Where a link may
lead, `storage.originals` decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from xtalgrid_core.errors import FailureReason

from ...config import Config
from ...domain.failures import FailureLog
from ...domain.images import ImageRow
from ...domain.log import log
from ...storage.permissions import outside
from ..crystaltrak.database import ImagerDatabase
from ..embedded import EmbeddedSource
from .connection import Ispyb
from .entered import Entered, EnteredTable
from .images import PAGE, IspybImage, convert, inspections_of, read_again, read_page

STEP = "ispyb"

_IDS_AGAIN = 2000
"""Ids of images before the highest known one that are read again: rows are committed late, and paths change."""
_FAILED_AGAIN = 500


class IspybSource(EmbeddedSource):
    """Images of the inspections in ISPyB, an `ImageSource` on the embedded database.

    Parameters
    ----------
    config
        The configuration.
    database
        The embedded imager database.
    failures
        Where images that cannot be entered are recorded.
    """

    def __init__(self, config: Config, database: ImagerDatabase, failures: FailureLog) -> None:
        super().__init__(database)
        self._config, self._failures = config, failures
        self._table = EnteredTable(database)

    def refresh(self) -> list[ImageRow]:
        """Enter what is new in ISPyB.

        Raises
        ------
        ImagerError
            If ISPyB cannot be read. What was read is entered, and the next call goes on from there.
        """
        entered: list[ImageRow] = []
        with open_images(self._config) as ispyb:
            for rows in self._pages(ispyb):
                entered += self._enter(ispyb, rows)
        return entered

    def _pages(self, ispyb: Ispyb) -> Iterator[Sequence[Any]]:
        """Read images that failed again, then the others in the order of their ids."""
        failed = self._table.failed(_FAILED_AGAIN)
        after = max(self._table.last() - _IDS_AGAIN, 0)
        if failed:
            yield ispyb.read(lambda connection: read_again(connection, self._config, failed))
        while True:
            page = ispyb.read(partial(read_page, config=self._config, after=after))
            yield page
            if len(page) < PAGE:
                return
            after = page[-1].blSampleImageId

    def _enter(self, ispyb: Ispyb, rows: Sequence[Any]) -> list[ImageRow]:
        known = self._table.of([row.blSampleImageId for row in rows])
        new = [row for row in rows if not _is_same(known.get(row.blSampleImageId), row)]
        usable: list[tuple[Any, IspybImage]] = []
        kept: list[Entered] = []
        for row in new:
            try:
                usable.append((row, convert(self._config, row)))
            except ValueError as error:
                kept.append(self._fail(row, str(error)))
        containers = {row.containerId: image.barcode for row, image in usable}
        found = ispyb.read(lambda connection: inspections_of(connection, containers)) if containers else {}
        numbers = self._table.numbers({containers[key]: inspections for key, inspections in found.items()})
        images: list[ImageRow] = []
        for row, image in usable:
            if image.inspection not in numbers:
                kept.append(self._fail(row, f"neither it nor inspection {image.inspection} has a time"))
                continue
            number, first = numbers[image.inspection]
            try:
                name = self._link(image, number, known.get(image.id))
            except OSError as error:
                kept.append(self._fail(row, f"cannot make a link to {image.file}: {error.strerror or error}"))
                continue
            kept.append(Entered(image.id, image.path, image.barcode, number, name, is_entered=True))
            images.append(ImageRow(0, image.barcode, number, first.at, image.well, name))
        entered = self._database.register(images)
        self._table.keep(kept)
        mended = [row for row in new if row.blSampleImageId in known]
        self._failures.close([_named(row) for row in mended if row.blSampleImageId not in _failed(kept)], STEP)
        return entered

    def _fail(self, row: Any, why: str) -> Entered:
        log.warning("ISPyB image %d: %s", row.blSampleImageId, why)
        self._failures.add(_named(row), STEP, FailureReason.UNUSABLE_ROW, f"ISPyB image {row.blSampleImageId}: {why}")
        return Entered(row.blSampleImageId, row.imageFullPath or "")

    def _link(self, image: IspybImage, number: int, known: Entered | None) -> str:
        """Make a link to an image's file under the image root; return its name, which no other image there has."""
        folder = self._config.image_root / image.barcode / str(number)
        again = known is not None and known.is_entered and (known.barcode, known.number) == (image.barcode, number)
        for name in (known.name,) if known and again else (image.name, f"{image.id}_{image.name}"):
            target = folder / name
            is_ours = target.is_symlink() and os.fspath(target.readlink()) == image.file
            if is_ours or again or not os.path.lexists(target):
                with outside(self._config.home, target):
                    folder.mkdir(parents=True, exist_ok=True)
                    temporary = folder / f".{os.getpid()}.part"
                    temporary.unlink(missing_ok=True)
                    temporary.symlink_to(image.file)
                    temporary.replace(target)
                return name
        raise FileExistsError(f"{folder / image.name} is another image")


def open_images(config: Config) -> Ispyb:
    """Open the ISPyB that images and people's scores are read from."""
    settings = config.imager.ispyb
    return Ispyb(config, settings.url, settings.password_file, "imager.ispyb.url")


def entered_images(database: ImagerDatabase, image_ids: Sequence[int]) -> dict[int, Entered]:
    """Return what is known here of images of ISPyB, by their ids."""
    return EnteredTable(database).of(image_ids)


def _is_same(known: Entered | None, row: Any) -> bool:
    return known is not None and known.is_entered and known.path == row.imageFullPath


def _named(row: Any) -> str:
    """Return the name under which a row's failure is recorded."""
    return str(row.imageFullPath or f"BLSampleImage {row.blSampleImageId}")


def _failed(images: Sequence[Entered]) -> set[int]:
    return {each.image_id for each in images if not each.is_entered}
