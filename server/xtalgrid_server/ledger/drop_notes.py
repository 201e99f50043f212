"""Notes on drops, and people's favourites. They belong to the drop, whatever the inspection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from xtalgrid_core.errors import LedgerError

from ..domain.letters import folded, sure_part
from ..domain.wells import Well
from . import tables as t
from .database import LedgerDatabase
from .undoable import UNDO, UndoableEntries, undone_by

NoteKind = Literal["note", "favourite"]

LONGEST_NOTE = 1000
"""Letters of a note."""


class DropNote(msgspec.Struct, frozen=True, kw_only=True):
    """A note on a drop, or that it is one of a person's favourites.

    `at` is UTC. It is stored once under its `key`, which browsers choose. `id` is set when it is read.
    """

    barcode: str
    well: Well
    kind: NoteKind
    text: str = ""
    who: str
    at: datetime
    key: str
    id: int = 0


class DropNotes(UndoableEntries):
    """The part of the ledger for notes and favourites."""

    def __init__(self, database: LedgerDatabase) -> None:
        super().__init__(database, t.drop_notes)

    def add(self, note: DropNote) -> None:
        """Store a note or favourite, except one that is stored already, even if removed since.

        A drop that is one of the person's favourites does not become one a second time.

        Raises
        ------
        LedgerError
            If it is not said whose it is, or a note has no text.
        """
        who, text = note.who.strip()[:100], note.text.strip()[:LONGEST_NOTE]
        if not who or (note.kind == "note" and not text):
            raise LedgerError("a note needs a text and the name of the person who wrote it")
        if note.kind == "favourite" and self.favourite(note.barcode, note.well, who):
            return
        row = {
            "source": self._db.source,
            "barcode": note.barcode[:30],
            **note.well._asdict(),
            "kind": note.kind,
            "text": text,
            "who": who,
            "at": note.at,
            "undoes": None,
        }
        self.add_new({note.key: row})

    def favourite(self, barcode: str, well: Well, who: str) -> DropNote | None:
        """Return the entry by which a drop is one of a person's favourites, or None."""
        of_drop = self.of_plates([barcode]).get((barcode, well), [])
        return next((one for one in of_drop if one.kind == "favourite" and one.who == who), None)

    def of_plates(self, barcodes: Sequence[str]) -> dict[tuple[str, Well], list[DropNote]]:
        """Return notes and favourites by drop, oldest first, without those that were removed."""
        notes = t.drop_notes.c
        statement = sa.select(t.drop_notes).where(notes.source == self._db.source).order_by(notes.id)
        return _standing(self._db.rows_in(statement, notes.barcode, [barcode[:30] for barcode in barcodes]))

    def plates_with(self, part: str, kind: NoteKind = "note") -> set[str]:
        """Return the plates with a note that contains a text, ignoring case; or with a favourite."""
        notes = t.drop_notes.c
        contains = notes.text.icontains(sure_part(part), autoescape=True)
        chosen = notes.source == self._db.source, notes.kind == kind, contains
        rows = self._db.rows(sa.select(notes.barcode).where(*chosen).distinct())
        return {
            barcode
            for (barcode, _), of_drop in self.of_plates([row.barcode for row in rows]).items()
            if any(one.kind == kind and folded(part) in folded(one.text) for one in of_drop)
        }


def _note(row: Any) -> DropNote:
    names = set(DropNote.__struct_fields__) - {"well"}
    return DropNote(well=Well(row.row, row.col, row.subwell), **{name: getattr(row, name) for name in names})


def _standing(entries: Iterable[Any]) -> dict[tuple[str, Well], list[DropNote]]:
    rows = list(entries)
    undone = undone_by(rows)
    found: dict[tuple[str, Well], list[DropNote]] = {}
    for row in rows:
        if row.kind != UNDO and row.id not in undone:
            note = _note(row)
            found.setdefault((note.barcode, note.well), []).append(note)
    return found
