"""What the imager database holds, as the rest of the server sees it: images of drops at inspections, and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from .wells import Well


class Moment(NamedTuple):
    """A place in the order that inspections are read in: date (naive local), then id."""

    inspected: datetime
    inspect_id: int


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of one drop at one inspection; `inspected` is naive local time."""

    inspect_id: int
    barcode: str
    inspection: int
    inspected: datetime
    well: Well
    image_name: str

    @property
    def moment(self) -> Moment:
        """Its place in reading order."""
        return Moment(self.inspected, self.inspect_id)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row of the score table, with the inspection it belongs to."""

    score_id: int
    inspect_id: int
    code: str
    date: datetime
    by: str
    image_name: str | None


@dataclass(frozen=True, slots=True)
class ScoredDrop:
    """A drop at an inspection, with the newest score a person gave it there.

    `images` are those whose names fit the configured patterns, in the order of their names; `mates` the names of its UV images.
    """

    score: ScoreRow
    images: list[ImageRow]
    mates: list[str]
