"""What sources have in common that enter images into the embedded database: they are read from there."""

from __future__ import annotations

from ..domain.images import UnusableRow
from .crystaltrak.database import ImagerDatabase


class EmbeddedSource:
    """An `ImageSource` on the embedded database, but for `refresh`, which enters what is new.

    Parameters
    ----------
    database
        The embedded imager database.
    """

    def __init__(self, database: ImagerDatabase) -> None:
        self._database = database
        self.newest_first = database.newest_first
        self.entered_after, self.highest_ids = database.entered_after, database.highest_ids
        self.of_inspections = database.of_inspections
        self.find_incomplete = database.find_incomplete
        self.of_plate = database.of_plate
        self.count_images = database.count_images
        self.path = database.path

    @property
    def unusable(self) -> list[UnusableRow]:
        """The rows that could not be used so far; see `ImageSource`."""
        return self._database.unusable
