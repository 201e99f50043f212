"""TeXRank's scores: ``<barcode>_Scores.csv`` without a header, each line an image's path, rank, faulty and clear.

Ng et al. 2014; github.com/CMD-Oxford/TeXRank. Rank is an order, not a probability. Faulty is 0, 1 (empty) or 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_core.images import SUFFIXES
from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome

from ..domain.groups import rounded
from .foreign import ForeignScore, Line, Place, Source, Told
from .sheets import Row, Sheet, hidden_columns_note, hidden_sheets_note, texts

WHO = "TeXRank"
_CELLS = 4


def texrank_row(path: str, answer: wire.Scored | None) -> tuple[object, ...] | None:
    """Return an image's line; None without the four probabilities. A null experiment is "empty".

    An undecided drop has its rank too: what is not ranked is not looked at.
    """
    if answer is None or answer.groups is None:
        return None
    empty = int(answer.outcome is Outcome.NULL_EXPERIMENT)
    clear = rounded(answer.groups)[SCORED_GROUPS.index(Group.CLEAR)]
    return path, f"{answer.p_crystal:.4f}", empty, f"{clear:.4f}"


def is_texrank(sheet: Sheet) -> bool:
    """Tell whether the first lines of a table are TeXRank's, also in an Excel file that somebody saved them as."""
    lines = 0
    for row in islice(sheet.rows(), 3):
        if _read(row) is None:
            return False
        lines += 1
    return lines > 0


def open_texrank(sheet: Sheet, told: Told) -> Source:
    """Read TeXRank's scores, those of a program."""
    return Source("TeXRank's scores", lambda: _lines(sheet, told), lambda: _to_the_end(sheet), tuple(_notes(sheet)))


def _notes(sheet: Sheet) -> Iterator[str]:
    if sheet.hidden_beside:
        yield hidden_sheets_note(sheet.hidden_beside)
    hidden = next((row.hidden_columns for row in sheet.rows()), frozenset())
    if names := [name for index, name in enumerate("ABCD") if index in hidden]:  # they have no headings
        yield hidden_columns_note(names)


def _lines(sheet: Sheet, told: Told) -> Iterator[Line]:
    for row in sheet.rows():
        read = _read(row)
        if read is None:
            yield Line(
                row.number,
                problem="not an image's path, rank (0 to 1), faulty (0, 1 or 2) and clear (0 to 1)",
                is_hidden=row.is_hidden,
            )
            continue
        path, numbers = read
        place = Place(path, told.barcode, told.inspection)
        score = ForeignScore("program", told.by or WHO, "", numbers=numbers)
        yield Line(row.number, place, (score,), is_hidden=row.is_hidden)


def _to_the_end(sheet: Sheet) -> Iterator[dict[str, float]]:
    for _ in sheet.rows():
        pass
    yield from ()


def _read(row: Row) -> tuple[str, dict[str, float]] | None:
    cells = texts(row.cells)
    if len(cells) != _CELLS or Path(cells[0].replace("\\", "/")).suffix.lower() not in SUFFIXES:
        return None
    try:
        rank, faulty, clear = (float(cell.replace(",", ".")) for cell in cells[1:])
    except ValueError:
        return None
    if not (0 <= rank <= 1 and 0 <= clear <= 1 and faulty in (0, 1, 2)):
        return None
    return cells[0], {"rank": rank, "faulty": faulty, "clear": clear}
