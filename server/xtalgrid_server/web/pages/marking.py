"""Marks in pictures, and notes and favourites of drops, as the viewer takes and shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec

from xtalgrid_core.errors import Busy
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.wire import BestChop

from ...config import Config
from ...domain.drop_state import Meaning
from ...domain.images import ImageRow
from ...imager.source import original_size
from ...ledger.drop_notes import LONGEST_NOTE, DropNote
from ...ledger.marks import Mark, Undoing
from ...ledger.store import Ledger
from ...ledger.undoable import NothingToUndo
from ...reports.marks import ImageScale, PlacedMark, placed
from ...storage.access_log import AccessLog
from ..query_parameters import GROUP_KINDS, KINDS
from ..threads import FileThreads
from .scoring import PERSON_OUTCOMES, RefusedScoreError, time_given

Key = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Pixels = Annotated[float, msgspec.Meta(ge=0, le=100_000)]

MARKED_AS: dict[str, Meaning] = {
    **GROUP_KINDS,
    **{kind: outcome for kind, outcome in KINDS.items() if outcome in PERSON_OUTCOMES and outcome is not Outcome.CLEAR},
}
"""What a person can say of a mark, by its kind."""


class _Typed(msgspec.Struct, frozen=True, kw_only=True, tag_field="what"):
    """What a browser kept until the viewer could take it; it is stored once under its key.

    `image` is the id of the picture on the page.
    """

    key: Key
    image: Id
    seconds_ago: float = 0.0


class TypedMark(_Typed, frozen=True, kw_only=True, tag="mark"):
    """A point, or with width and height a box, whose centre is (x, y), in pixels of the original."""

    x: Pixels
    y: Pixels
    width: Pixels | None = None
    height: Pixels | None = None
    kind: Annotated[str, msgspec.Meta(max_length=40)] = ""
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class TypedNote(_Typed, frozen=True, kw_only=True, tag="note"):
    """A note on the drop."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NOTE)]


class TypedFavourite(_Typed, frozen=True, kw_only=True, tag="favourite"):
    """That the drop is one of the person's favourites, or is not any more."""

    on: bool


class TypedUndo(_Typed, frozen=True, kw_only=True, tag="undo"):
    """Undoes the entry with this key, be it a mark, a note, a favourite, or itself an undoing one."""

    undoes: Annotated[str, msgspec.Meta(max_length=64)]


Typed = TypedMark | TypedNote | TypedFavourite | TypedUndo


@dataclass(frozen=True, slots=True)
class ShownMark:
    """A mark in the list beside the picture, with its number in the picture; `may_remove`: this visitor may."""

    number: int
    place: PlacedMark
    may_remove: bool


@dataclass(frozen=True, slots=True)
class RemovedMark:
    """A mark that was removed, and by whom; `may_restore`: this visitor may bring it back."""

    place: PlacedMark
    by: Undoing
    may_restore: bool


@dataclass(frozen=True, slots=True)
class PictureMarks:
    """What the page of a drop shows of marks; `earlier` is the number of those in an earlier content of its file."""

    marks: list[ShownMark]
    removed: list[RemovedMark]
    earlier: int

    def has(self, chop: BestChop) -> bool:
        """Whether a chop was confirmed as a mark."""
        marks = (each.place.mark for each in self.marks)
        return chop.box in ((mark.top, mark.left, mark.height, mark.width) for mark in marks)


class Marking:
    """Records marks, notes and favourites, and reads them for pages."""

    def __init__(self, config: Config, ledger: Ledger, access_log: AccessLog, files: FileThreads) -> None:
        self._config, self._ledger, self._access_log, self._files = config, ledger, access_log, files

    def take(self, typed: Typed, who: str, origin: str, received: datetime, *, token: str = "") -> None:
        """Record what a browser or a program sent, once.

        `received` is when (UTC), `origin` the address of the person's computer, and `token` the name of the person's
        token with which a program sent it.

        Raises
        ------
        RefusedScoreError
            If it can never be recorded.
        LedgerError
            If the ledger could not be written.
        """
        row = self._ledger.images.row(typed.image)
        if row is None:
            raise RefusedScoreError("There is no such image.")
        at = time_given(typed.seconds_ago, received)
        for known in (self._ledger.marks.row_with_key(typed.key), self._ledger.drop_notes.row_with_key(typed.key)):
            if known is not None:
                if known.who != who:
                    raise RefusedScoreError("Another entry has this key.")
                return
        said = self._record(typed, row, who, at)
        self._access_log.write(
            "mark",
            who,
            origin,
            barcode=row.barcode,
            inspection=row.inspection,
            well=str(row.well),
            image=typed.image,
            **said,
            **({"token": token} if token else {}),
        )

    def _record(self, typed: Typed, row: ImageRow, who: str, at: datetime) -> dict[str, Any]:
        """Record an entry; return what the log of access says of it."""
        if isinstance(typed, TypedMark):
            self._ledger.marks.add([self._mark(typed, row, who, at)])
            return {"what": "mark", "x": round(typed.x, 1), "y": round(typed.y, 1)}
        notes = self._ledger.drop_notes
        of_drop = DropNote(barcode=row.barcode, well=row.well, kind="favourite", who=who, at=at, key=typed.key)
        if isinstance(typed, TypedNote):
            if not typed.text.strip():
                raise RefusedScoreError("A note needs a text.")
            notes.add(msgspec.structs.replace(of_drop, kind="note", text=typed.text))
            return {"what": "note"}
        if isinstance(typed, TypedFavourite):
            known = notes.favourite(row.barcode, row.well, who)
            if typed.on:
                notes.add(of_drop)
            elif known is not None:
                notes.undo(known.id, who, typed.key, at)
            return {"what": "favourite", "on": typed.on}
        return self._undo(typed, row, who, at)

    def _undo(self, typed: TypedUndo, row: ImageRow, who: str, at: datetime) -> dict[str, Any]:
        for table in (self._ledger.marks, self._ledger.drop_notes):
            entry = table.row_with_key(typed.undoes)
            if entry is None:
                continue
            is_here = (
                entry.image_id == typed.image
                if table is self._ledger.marks
                else (entry.barcode, entry.row, entry.col, entry.subwell) == (row.barcode[:30], *row.well)
            )
            by_program = table is self._ledger.marks and entry.undoes is None and entry.given_by == "program"
            if not is_here or (entry.who != who and not by_program):
                break
            try:
                table.undo(entry.id, who, typed.key, at)
            except NothingToUndo:
                break
            return {"what": "undo", "undoes": entry.kind, "of": entry.key}
        raise RefusedScoreError("There is nothing to undo: it was undone already, or is somebody else's.")

    def _mark(self, typed: TypedMark, row: ImageRow, who: str, at: datetime) -> Mark:
        if typed.kind and typed.kind not in MARKED_AS:
            raise RefusedScoreError("A mark cannot be called this.")
        meaning = MARKED_AS.get(typed.kind)
        is_box = bool(typed.width and typed.height)
        mark = Mark(
            image_id=typed.image,
            kind="box" if is_box else "point",
            x=typed.x,
            y=typed.y,
            width=typed.width if is_box else None,
            height=typed.height if is_box else None,
            word=str(meaning or ""),
            meaning=meaning,
            note=typed.note,
            who=who,
            at=at,
            key=typed.key,
        )
        size = self._size(row)
        if size is not None and not (typed.x <= size[1] and typed.y <= size[0]):
            raise RefusedScoreError(f"This mark lies outside the picture, which has {size[1]} × {size[0]} pixels.")
        return mark

    def _size(self, row: ImageRow) -> tuple[int, int] | None:
        """Return the picture's height and width; None if its file cannot be read now."""
        try:
            return self._files.read_soon(original_size, self._config, row)
        except Busy:
            return None

    def of_picture(
        self, image_id: int, scale: ImageScale | None, who: str, *, may_score: bool, hides_programs: bool
    ) -> PictureMarks:
        """Return the marks that a visitor sees in a picture, those by programs only if they see ARTscores."""
        found = self._ledger.marks.of_image(image_id)
        shown = [mark for mark in found.standing if not (hides_programs and mark.given_by == "program")]
        marks = [
            ShownMark(number, placed(mark, scale), may_score and (mark.who == who or mark.given_by == "program"))
            for number, mark in enumerate(shown, start=1)
        ]
        removed = [RemovedMark(placed(mark, scale), by, may_score and by.who == who) for mark, by in found.removed]
        return PictureMarks(marks, [] if hides_programs else removed, found.earlier)
