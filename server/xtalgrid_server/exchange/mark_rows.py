"""Marks as rows of a table, for spreadsheets and for ``xtalgrid-train sets boxes``."""

from __future__ import annotations

import msgspec

from ..config import Config
from ..ledger.marks import Mark
from ..ledger.shapes import DropImage
from .regions import image_file

COLUMNS = (
    "image", "plate", "well", "inspection", "kind", "label", "word", "row", "col", "height", "width", "outline",
    "by", "given_by", "date", "origin", "note", "pixel_size_um",
)  # fmt: skip


def mark_row(config: Config, image: DropImage, mark: Mark) -> tuple[object, ...]:
    """Return a mark as a row: lengths in pixels, an outline as ``[[row, col], …]``, the time in UTC.

    `image` is the image's path below the image root; `label` an outcome, a group such as ``any crystal``, or ``drop``.
    """
    outline = [[y, x] for x, y in mark.polygon]
    return (
        image_file(image),
        image.barcode,
        image.well,
        image.inspection,
        mark.kind,
        mark.name,
        mark.word,
        mark.top,
        mark.left,
        mark.height,
        mark.width,
        msgspec.json.encode(outline).decode() if outline else "",
        mark.who,
        mark.given_by,
        f"{mark.at:%Y-%m-%dT%H:%M:%SZ}",
        mark.origin,
        mark.note,
        config.imager.pixel_size_um or "",
    )
