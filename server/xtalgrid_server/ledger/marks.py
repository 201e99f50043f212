"""Marks: points, boxes and outlines in images, by people in the viewer and from files of other programs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from xtalgrid_core.errors import LedgerError

from ..domain.drop_state import MEANINGS, Meaning, meaning_name
from . import tables as t
from .database import LedgerDatabase, is_of
from .undoable import UNDO, UndoableEntries, undone_by

MarkKind = Literal["point", "box", "outline"]
Corners = tuple[tuple[float, float], ...]

VIEWER = "viewer"
"""Where marks come from that were not imported."""

_MOST_CORNERS = 2000
_LARGEST = 100_000.0
"""Pixels; no image is larger."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A mark in an image; lengths are in pixels of the original, from its top left corner.

    Attributes
    ----------
    x, y
        Its centre.
    width, height
        Of a box, or of the box around an outline; None for a point.
    polygon
        The corners (x, y) of an outline.
    word, meaning
        What is there, as the person or the file calls it, and the outcome or group that this stands for.
    who, given_by
        The person or the program, and which of the two.
    origin, origin_id
        `VIEWER`, or the name of the file that it was imported from, and its id there.
    at
        UTC.
    key
        It is stored once under it. Empty: it gets one from what makes it the same when it comes again.
    sha256
        Of the image's file as the ledger knew it when the mark was stored; empty if it did not.
    id
        Set when it is read.
    """

    image_id: int
    kind: MarkKind
    x: float
    y: float
    width: float | None = None
    height: float | None = None
    polygon: Corners = ()
    word: str = ""
    meaning: Meaning | None = None
    note: str = ""
    who: str
    given_by: Literal["person", "program"] = "person"
    origin: str = VIEWER
    origin_id: str = ""
    at: datetime
    key: str = ""
    sha256: str = ""
    id: int = 0

    @property
    def left(self) -> float:
        """Left edge of its box; of a point, its x."""
        return self.x - (self.width or 0.0) / 2

    @property
    def top(self) -> float:
        """Top edge of its box; of a point, its y."""
        return self.y - (self.height or 0.0) / 2

    @property
    def name(self) -> str:
        """What is there: our name of the outcome or group, else the word; empty if nobody said."""
        return self.word if self.meaning is None else meaning_name(self.meaning)

    @property
    def what(self) -> str:
        """The same in the giver's own word, if there is one."""
        return self.word or self.name

    @property
    def problem(self) -> str:
        """Why it can't be stored; empty if it can."""
        numbers = [self.x, self.y, *(number for corner in self.polygon for number in corner)]
        if not all(math.isfinite(number) and 0 <= number <= _LARGEST for number in numbers):
            return "it is not inside an image"
        if self.kind != "point" and not all(0 < (side or 0) <= _LARGEST for side in (self.width, self.height)):
            return "it has no size"
        if self.kind == "outline" and not 3 <= len(self.polygon) <= _MOST_CORNERS:
            return f"an outline has 3 to {_MOST_CORNERS} corners, not {len(self.polygon)}"
        return "" if self.who.strip() else "it is not said whose it is"


def box_mark(left: float, top: float, width: float, height: float, **values: Any) -> Mark:
    """Make a box from its edges; `values` are the mark's other fields."""
    return Mark(kind="box", x=left + width / 2, y=top + height / 2, width=width, height=height, **values)


def outline_mark(corners: Iterable[tuple[float, float]], **values: Any) -> Mark:
    """Make an outline from its corners (x, y), of which there must be one at least."""
    polygon = tuple((float(x), float(y)) for x, y in corners)
    left, right = min(x for x, _ in polygon), max(x for x, _ in polygon)
    top, bottom = min(y for _, y in polygon), max(y for _, y in polygon)
    x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    return Mark(kind="outline", x=x, y=y, width=width, height=height, polygon=polygon, **values)


class Undoing(NamedTuple):
    """An entry that undoes another one: its own key, whose it is, and when (UTC)."""

    key: str
    who: str
    at: datetime


class ImageMarks(NamedTuple):
    """An image's marks, oldest first: those that stand, and those that were removed, each with what undid it.

    `earlier` is the number of others that were made in an earlier content of its file.
    """

    standing: list[Mark]
    removed: list[tuple[Mark, Undoing]]
    earlier: int


class Marks(UndoableEntries):
    """The part of the ledger for marks."""

    def __init__(self, database: LedgerDatabase) -> None:
        super().__init__(database, t.marks)

    def add(self, marks: Sequence[Mark]) -> int:
        """Store marks, except those that are stored already, even if removed since; return how many are new.

        Raises
        ------
        ValueError
            If a mark has a `problem`; nothing is stored.
        LedgerError
            If there is no such image; nothing is stored.
        """
        problem = next((mark.problem for mark in marks if mark.problem), "")
        if problem:
            raise ValueError(f"a mark can't be stored: {problem}")
        images = t.images.c
        statement = sa.select(images.id, images.sha256).where(images.source == self._db.source)
        rows = self._db.rows_in(statement, images.id, {mark.image_id for mark in marks})
        files = {row.id: row.sha256 for row in rows}
        missing = next((mark.image_id for mark in marks if mark.image_id not in files), None)
        if missing is not None:
            raise LedgerError(f"there is no image {missing} in the ledger; nothing was recorded")
        return self.add_new({mark.key or content_key(mark): _values(mark, files[mark.image_id]) for mark in marks})

    def of_image(self, image_id: int) -> ImageMarks:
        """Return an image's marks, also the removed ones."""
        entries = self._db.rows(_SELECTED.where(t.marks.c.image_id == image_id))
        undone, standing, removed = undone_by(entries), list[Mark](), list[tuple[Mark, Undoing]]()
        of_file = [row for row in entries if row.kind != UNDO and not _is_earlier(row)]
        for row in of_file:
            if row.id in undone:
                by = undone[row.id]
                removed.append((_mark(row), Undoing(by.key, by.who, by.at)))
            else:
                standing.append(_mark(row))
        earlier = sum(row.kind != UNDO and _is_earlier(row) and row.id not in undone for row in entries)
        return ImageMarks(standing, removed, earlier)

    def of_images(self, image_ids: Sequence[int]) -> dict[int, list[Mark]]:
        """Return the marks that stand in these images, by image id, oldest first."""
        return _standing(self._db.rows_in(_SELECTED, t.marks.c.image_id, image_ids))

    def of_plates(self, barcodes: Sequence[str]) -> dict[int, list[Mark]]:
        """Return the marks that stand in the images of these plates, by image id, oldest first."""
        statement = _SELECTED.where(is_of(self._db.source, t.images.c.source))
        return _standing(self._db.rows_in(statement, t.images.c.barcode, barcodes))


def content_key(mark: Mark) -> str:
    """Return a key of what makes a mark the same one when it comes again: its image, giver, place and words."""
    place = mark.kind, mark.x, mark.y, mark.width, mark.height, mark.polygon
    said = mark.who.casefold(), mark.given_by, mark.word, mark.note
    return hashlib.sha256(msgspec.json.encode((mark.image_id, place, said))).hexdigest()


def _values(mark: Mark, sha256: str) -> dict[str, Any]:
    return {
        "image_id": mark.image_id,
        "sha256": sha256,
        "kind": mark.kind,
        "x": mark.x,
        "y": mark.y,
        "width": mark.width,
        "height": mark.height,
        "polygon": msgspec.json.encode(mark.polygon).decode() if mark.polygon else "",
        "word": mark.word.strip()[:200],
        "meaning": "" if mark.meaning is None else meaning_name(mark.meaning),
        "note": mark.note.strip()[:500],
        "who": mark.who.strip()[:100],
        "given_by": mark.given_by,
        "origin": mark.origin[:500],
        "origin_id": mark.origin_id[:100],
        "at": mark.at,
        "undoes": None,
    }


_SELECTED = (
    sa.select(t.marks, t.images.c.sha256.label("file_sha256"))
    .join(t.images, t.images.c.id == t.marks.c.image_id)
    .order_by(t.marks.c.id)
)


def _is_earlier(row: Any) -> bool:
    """Whether a mark was made in an earlier content of its image's file, which is another image."""
    return bool(row.sha256 and row.file_sha256 and row.sha256 != row.file_sha256)


def _mark(row: Any) -> Mark:
    names = set(Mark.__struct_fields__) - {"polygon", "meaning"}
    return Mark(
        polygon=msgspec.json.decode(row.polygon, type=Corners) if row.polygon else (),
        meaning=MEANINGS.get(row.meaning),
        **{name: getattr(row, name) for name in names},
    )


def _standing(entries: Sequence[Any]) -> dict[int, list[Mark]]:
    undone = undone_by(entries)
    found: dict[int, list[Mark]] = {}
    for row in entries:
        if row.kind != UNDO and row.id not in undone and not _is_earlier(row):
            found.setdefault(row.image_id, []).append(_mark(row))
    return found
