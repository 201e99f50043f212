"""Interface of a source of images, as ``create_work`` uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.images import image_size

from ..config import Config
from ..domain.images import ImageRow, Moment, UnusableRow
from ..storage.originals import open_original


class ImageSource(Protocol):
    """Inspections of drops and their images: from CrystalTrak (`ImagerDatabase`) or a watched folder (`FolderSource`).

    `newest_first`, `of_plate` and `count_images` see only images whose names match the configured patterns.
    """

    def refresh(self) -> list[ImageRow]:
        """Import new images if the imager does not enter them itself, and return them."""

    def newest_first(self, after: Moment | None, before: Moment | None) -> Iterator[list[ImageRow]]:
        """Yield the images strictly between two moments by inspection, newest first; None for no bound."""

    def entered_after(self, inspect_id: int) -> Iterator[list[ImageRow]]:
        """Yield the images of inspections with higher ids, in the order of ids, whatever their dates."""

    def of_inspections(self, inspect_ids: Sequence[int]) -> Iterator[list[ImageRow]]:
        """Yield the images of these inspections by inspection."""

    def find_incomplete(self) -> None:
        """Add the rows without a date or an image's name to `unusable`, which may read all inspections."""

    def highest_ids(self, number: int) -> list[int]:
        """Return the highest ids of inspections, at most so many, the highest first."""

    @property
    def unusable(self) -> list[UnusableRow]:
        """The rows that could not be used so far, each once."""

    def of_plate(self, barcode: str) -> Iterator[list[ImageRow]]:
        """Yield the images of one plate by inspection, newest first."""

    def count_images(self, before: Moment) -> int:
        """Count the images of earlier inspections."""

    def path(self, image: ImageRow) -> Path:
        """Return the path of an image's file, which may not exist yet.

        Raises
        ------
        ImageError
            If the barcode or the name is not a valid file name.
        """


def image_path(config: Config, image: ImageRow) -> Path:
    """Return the path of an image of the imager database: ``<image root>/<barcode>/<inspection>/<name>``.

    Raises
    ------
    ImageError
        If the barcode or the name would lead out of the image root.
    """
    for part in (image.barcode, image.image_name):
        if not part or part in (".", "..") or any(c in part for c in ("/", "\\", "\0")):
            raise ImageError(FailureReason.UNREADABLE_FILE, f"{part!r} is not a file name; correct the imager database")
    return config.image_root / image.barcode / str(image.inspection) / image.image_name


def original_size(config: Config, image: ImageRow) -> tuple[int, int] | None:
    """Return an image's height and width in pixels, from its file's header; None if it cannot be read now."""
    try:
        with open_original(config, image_path(config, image)) as stream:
            return image_size(stream)
    except ImageError:
        return None
