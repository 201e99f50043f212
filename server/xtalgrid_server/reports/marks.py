"""``marks``: marks with their positions from the centre of the well in micrometres, where the scale is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from xtalgrid_core import wire

from ..domain.images import ImageRow
from ..ledger.marks import Mark
from ..ledger.shapes import DropImage
from ..ledger.store import Ledger

COLUMNS = (
    "barcode", "inspection", "well", "image", "kind", "x_px", "y_px", "width_px", "height_px", "x_um", "y_um",
    "width_um", "height_um", "what", "note", "who", "at", "origin", "origin_id",
)  # fmt: skip


class ImageScale(msgspec.Struct, frozen=True):
    """An image's size in pixels and its scale; `um` is in micrometres per pixel, None if it is not known.

    A guessed scale says nothing of real lengths; `guessed_um` has it, for rulers that say so.
    """

    width: int
    height: int
    um: float | None
    guessed_um: float | None = None


class PlacedMark(msgspec.Struct, frozen=True):
    """A mark and where it is: micrometres right of and below the centre of the image, which is the well's.

    `um` is (x, y); `size_um` is (width, height). Both are None if the scale is not known, the latter also of points.
    """

    mark: Mark
    um: tuple[float, float] | None
    size_um: tuple[float, float] | None

    @property
    def row(self) -> tuple[float | None, ...]:
        """Position and size in pixels and in micrometres, in the order of `COLUMNS`."""
        mark = self.mark
        numbers = (mark.x, mark.y, mark.width, mark.height, *(self.um or (None, None)), *(self.size_um or (None, None)))
        return tuple(None if number is None else round(number, 1) for number in numbers)


def scale_of(answer: wire.Answer | None) -> ImageScale | None:
    """Return what an answer says of its image's size and scale; None if it has no size."""
    if not isinstance(answer, wire.Scored) or not (answer.width and answer.height):
        return None
    um = answer.pixel_size_um if 0.01 <= answer.pixel_size_um <= 100 else None
    is_guessed = answer.pixel_size_origin == "guessed"
    return ImageScale(answer.width, answer.height, None if is_guessed else um, um if is_guessed else None)


def scales(ledger: Ledger, score_ids: Mapping[int, int | None]) -> dict[int, ImageScale]:
    """Return the scales of images, given by id with the id of a score; images without one are left out."""
    scores = ledger.scores.by_id([score_id for score_id in score_ids.values() if score_id is not None])
    found = {score.image_id: scale_of(score.answer) for score in scores}
    return {image_id: scale for image_id, scale in found.items() if scale is not None}


def placed(mark: Mark, scale: ImageScale | None) -> PlacedMark:
    """Return a mark with its place in micrometres, as far as the scale is known."""
    if scale is None or scale.um is None:
        return PlacedMark(mark, None, None)
    um = (mark.x - scale.width / 2) * scale.um, (mark.y - scale.height / 2) * scale.um
    size = None if mark.width is None or mark.height is None else (mark.width * scale.um, mark.height * scale.um)
    return PlacedMark(mark, um, size)


def plate_marks(
    ledger: Ledger, barcode: str, inspections: Sequence[int] | None = None
) -> list[tuple[DropImage, PlacedMark]]:
    """Return the marks in a plate's images, at some or all inspections, in the order of the plate."""
    marks = ledger.marks.of_plates([barcode])
    images = [image for image in ledger.images.of_plate(barcode, inspections) if image.image_id in marks]
    known = scales(ledger, {image.image_id: image.score_id for image in images})
    return [(image, placed(mark, known.get(image.image_id))) for image in images for mark in marks[image.image_id]]


def mark_rows(marks: Iterable[tuple[ImageRow, PlacedMark]]) -> list[tuple[object, ...]]:
    """Return rows with the columns `COLUMNS`."""
    return [
        (
            image.barcode,
            image.inspection,
            str(image.well),
            image.image_name,
            each.mark.kind,
            *each.row,
            each.mark.what,
            each.mark.note,
            each.mark.who,
            f"{each.mark.at:%Y-%m-%d %H:%M:%S}",
            each.mark.origin,
            each.mark.origin_id,
        )
        for image, each in marks
    ]
