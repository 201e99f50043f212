"""Write the best chops as ground truth for a detector, in COCO format.

Lin et al. 2014; https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import IO, Any

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES, PRIORITY, Outcome

from ..ledger.database import now
from ..reports.entries import DropInspection, Entry

CATEGORIES = [
    {"id": number, "name": str(outcome), "supercategory": str(outcome.group)}
    for number, outcome in enumerate(CLASSES, start=1)
]


def coco_box(chop: wire.BestChop, answer: wire.Scored) -> tuple[int, int, int, int] | None:
    """Convert a chop's box from our ``(row, col, height, width)`` to COCO's ``(x, y, width, height)``.

    Both are in pixels of the original. The result is clipped to the image; None if nothing remains.
    """
    row, col, height, width = chop.box
    right, bottom = min(col + width, answer.width), min(row + height, answer.height)
    return (col, row, right - col, bottom - row) if right > col and bottom > row else None


class CocoWriter:
    """Writes a data set image by image.

    Annotations are kept in a temporary file until the end, because they come after all images. Use it in a ``with``
    statement.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.images = 0
        self.annotations = 0

    def __enter__(self) -> CocoWriter:
        self._waiting = tempfile.TemporaryFile()
        info = {
            "description": "Crystallization drops with their best chops, by xtalgrid",
            "version": "1.0",
            "year": now().year,
            "date_created": f"{now():%Y-%m-%d %H:%M:%S}",
        }
        head = {"info": info, "licenses": [], "categories": CATEGORIES}
        self._stream.write(msgspec.json.encode(head)[:-1] + b',"images":[')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._stream.write(b'],"annotations":[')
            self._waiting.seek(0)
            while block := self._waiting.read(1 << 20):
                self._stream.write(block)
            self._stream.write(b"]}\n")
        self._waiting.close()

    def add(self, inspection: DropInspection, entry: Entry, answer: wire.Scored, chops: list[wire.BestChop]) -> None:
        """Add an image with some of its chops.

        Besides COCO's own fields, it describes the drop; ``person_outcome`` is the outcome a person gave it, or that
        people disagree.
        """
        image, state = entry.image, inspection.state
        self._write(
            self._stream,
            self.images,
            {
                "id": image.image_id,
                "width": answer.width,
                "height": answer.height,
                "file_name": f"{image.barcode}/{image.inspection}/{image.image_name}",
                "date_captured": f"{image.inspected:%Y-%m-%d %H:%M:%S}",
                "barcode": image.barcode,
                "well": str(image.well),
                "inspection": image.inspection,
                "outcome": state.name,
                "person_outcome": state.name if state.said else None,
                "p_crystal": round(image.p_crystal, 5),
                "sample": entry.contents.sample or None,
                "condition": entry.contents.condition or None,
            },
        )
        self.images += 1
        for chop in chops:
            box = coco_box(chop, answer)
            if box is None or chop.outcome not in PRIORITY:
                continue
            x, y, width, height = box
            annotation = {
                "id": self.annotations + 1,
                "image_id": image.image_id,
                "category_id": category(chop.outcome),
                "bbox": box,
                "area": width * height,
                "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
                "iscrowd": 0,
                "score": round(chop.probability, 5),
            }
            self._write(self._waiting, self.annotations, annotation)
            self.annotations += 1

    def _write(self, stream: IO[bytes], before: int, value: Any) -> None:
        stream.write((b",\n" if before else b"\n") + msgspec.json.encode(value))


def category(outcome: Outcome) -> int:
    """Return the id of an outcome's category."""
    return PRIORITY[outcome] + 1
