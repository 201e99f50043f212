"""Where images come from, as ``create_work`` sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from xtalgrid_core.errors import FailureReason, ImageError

from ..config import Config
from ..domain.images import ImageRow, Moment


class ImageSource(Protocol):
    """Inspections of drops and their images: `ImagerDatabase` (CrystalTrak), `FolderSource` (a folder that an imager fills)."""

    def refresh(self) -> list[ImageRow]:
        """Look for what is new, where that is not the imager's own work, and return it."""

    def newest_first(self, after: Moment | None, before: Moment | None) -> Iterator[list[ImageRow]]:
        """The fitting images strictly between two moments, inspection by inspection, newest first; None: no bound."""

    def of_plate(self, barcode: str) -> Iterator[list[ImageRow]]:
        """The fitting images of one plate, inspection by inspection, newest first."""

    def count_images(self, before: Moment) -> int:
        """How many fitting images of earlier inspections there are."""

    def path(self, image: ImageRow) -> Path:
        """Where an image's file lies, which may not be there yet.

        Raises
        ------
        ImageError
            When its barcode or name is no file name.
        """


def image_path(config: Config, image: ImageRow) -> Path:
    """Where an image of the imager database lies: ``<image root>/<barcode>/<inspection>/<name>``.

    Raises
    ------
    ImageError
        When the database's barcode or name would lead out of the image root.
    """
    for part in (image.barcode, image.image_name):
        if not part or part in (".", "..") or any(c in part for c in ("/", "\\", "\0")):
            raise ImageError(FailureReason.UNREADABLE_FILE, f"{part!r} is no file name; correct the imager database")
    return config.image_root / image.barcode / str(image.inspection) / image.image_name
