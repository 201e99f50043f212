"""Write people's marks into ISPyB as sub-samples, and delete ours there: a part of ``set_autoscore``.

What is to be done is the difference between the marks that stand and what the ledger knows to be in ISPyB. New rows'
ids are in the ledger before the commit, so that a run that was killed finds its rows by them, and writes none twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import msgspec
import sqlalchemy as sa

from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.lines import first_lines

from ..config import Config
from ..domain.images import ImageRow
from ..domain.log import log
from ..imager.ispyb.connection import Ispyb
from ..imager.ispyb.finding import find_files
from ..imager.ispyb.sub_samples import (
    Rows,
    SubSample,
    comment,
    delete_sub_sample,
    insert_sub_sample,
    read_sub_samples,
)
from ..imager.source import original_size
from ..ledger.database import now
from ..ledger.ispyb_marks import ALL, FAILED, INSERT, LEFT, MISSING, REMOVED, IspybMark
from ..ledger.marks import Mark
from ..ledger.store import Ledger
from ..storage.engines import chunks
from .publish_ispyb import STEP, open_ispyb
from .refused_rows import TRY_AGAIN, write_rows

Known = Mapping[int, IspybMark]
"""What the ledger knows to be in ISPyB, by mark."""

_BATCH = 500
_MOST_REFUSED = 200
"""Marks that ISPyB may refuse in a run; if there are more, it is not their fault."""
_SHOWN = 20
_WORDS = {INSERT: "written", MISSING: "not in ISPyB by their file", REMOVED: "removed"}


@dataclass(slots=True)
class MarksInIspyb:
    """What a run did with marks there: their number by action, and those that were not done, with the reason."""

    run: str
    actions: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Format it as text."""
        if self.actions:
            counts = ", ".join(f"{number} {_WORDS.get(action, action)}" for action, number in self.actions.items())
            yield f"marks in ISPyB: {counts}" + (f" (run {self.run})" if self.actions[INSERT] else "")
        yield from first_lines(self.problems, _SHOWN, more=" marks")


def is_run_of_marks(run: str) -> bool:
    """Whether this names a run that wrote marks, or all of them."""
    return run == ALL or run.startswith(f"{ALL}-")


def publish_marks(config: Config, ledger: Ledger, dry_run: bool = False) -> MarksInIspyb:
    """Write people's marks that ISPyB has not got yet, and delete our rows of those that were removed.

    Only images that ISPyB has by the path of the very file are written to: another copy may be turned or reduced.

    Raises
    ------
    ImagerError
        If ISPyB is not available. What was done is recorded, and the next run goes on from there.
    """
    done, last, since = MarksInIspyb(f"{ALL}-{now():%Y%m%dT%H%M%SZ}"), 0, now() - TRY_AGAIN
    with open_ispyb(config) as ispyb:
        while image_ids := ledger.ispyb_marks.image_ids(last, _BATCH):
            last = image_ids[-1]
            known = ledger.ispyb_marks.of_images(image_ids)
            marks = [mark for each in ledger.marks.of_images(image_ids).values() for mark in each]
            standing = {mark.id for mark in marks}
            new = [m for m in marks if m.given_by == "person" and _is_waiting(known.get(m.id), since)]
            old = [row for row in known.values() if row.action == INSERT and row.mark_id not in standing]
            old = [row for row in old if not row.is_undone]
            if not new and not old:
                continue
            images = ledger.images.by_id(sorted({mark.image_id for mark in new}))

            def write(batch: Sequence[Mark], images: Mapping[int, ImageRow] = images, known: Known = known) -> None:
                rows = ispyb.transact(partial(_write, config, ledger, done.run, batch, images, known, dry_run))
                _account(ledger, done, rows, dry_run)

            for was_refused, most in ((False, _MOST_REFUSED), (True, None)):
                part = [mark for mark in new if _is_refused(known.get(mark.id)) is was_refused]
                refused = write_rows(part, write, most)
                _account(ledger, done, [_failed(done.run, mark, images, why) for mark, why in refused], dry_run)
            _account(ledger, done, _remove_all(ispyb, old, dry_run), dry_run)
    for line in done.problems[:_SHOWN]:
        log.info("%s: %s", STEP, line)
    return done


def _account(ledger: Ledger, done: MarksInIspyb, rows: Sequence[IspybMark], dry_run: bool) -> None:
    if not dry_run:
        ledger.ispyb_marks.record(rows, done=True)
    done.actions.update(row.action for row in rows)
    done.problems += [f"{row.action}  {row.why}" for row in rows if row.why]


def _is_waiting(known: IspybMark | None, since: datetime) -> bool:
    if known is None:
        return True
    if known.is_undone:
        return False
    if known.action in (MISSING, FAILED):
        return known.intended_at is None or known.intended_at >= since
    return known.action in (REMOVED, LEFT) or not known.is_done


def _write(
    config: Config,
    ledger: Ledger,
    run: str,
    marks: Sequence[Mark],
    images: Mapping[int, ImageRow],
    known: Mapping[int, IspybMark],
    dry_run: bool,
    connection: sa.Connection,
) -> list[IspybMark]:
    """Write marks in one transaction, which may be begun again."""
    found, why = find_files(config, connection, images)
    before = {m.id: known[m.id] for m in marks if m.id in known and known[m.id].action in (INSERT, LEFT)}
    there = read_sub_samples(connection, [row.sub_sample for row in before.values() if row.sub_sample is not None])
    rows = []
    for mark in marks:
        earlier = before.get(mark.id)
        if earlier is not None and earlier.sub_sample in there:
            one, _ = there[earlier.sub_sample]
            if earlier.action == LEFT or one == _written(earlier):
                rows.append(msgspec.structs.replace(earlier, action=INSERT, why=""))
                continue
        if mark.image_id not in found:
            rows.append(IspybMark(mark_id=mark.id, run=run, action=MISSING, why=why[mark.image_id]))
            continue
        new = _sub_sample(mark, found[mark.image_id], original_size(config, images[mark.image_id]))
        written = msgspec.json.encode(new).decode()
        row = IspybMark(mark_id=mark.id, run=run, action=INSERT, written=written)
        if not dry_run:
            ids = insert_sub_sample(connection, new)
            row = msgspec.structs.replace(row, **msgspec.structs.asdict(ids))
        rows.append(row)
    if not dry_run:
        ledger.ispyb_marks.record([row for row in rows if row.action == INSERT], done=False)
    return rows


def _sub_sample(mark: Mark, image: int, size: tuple[int, int] | None) -> SubSample:
    """Return a mark as a sub-sample, cut at the image's edges (height and width); of an outline, its box."""
    said = ": ".join(filter(None, (mark.what, mark.note)))
    text = comment(f"{said} ({mark.who}, xtalgrid)")
    height, width = size or (math.inf, math.inf)

    def inside(x: float, y: float) -> tuple[float, float]:
        return round(min(max(x, 0.0), width), 2), round(min(max(y, 0.0), height), 2)

    at = inside(mark.left, mark.top)
    if mark.width is None or mark.height is None:
        return SubSample(image, at, None, text)
    return SubSample(image, at, inside(mark.left + mark.width, mark.top + mark.height), text)


def _written(row: IspybMark) -> SubSample:
    return msgspec.json.decode(row.written, type=SubSample)


def _failed(run: str, mark: Mark, images: Mapping[int, ImageRow], why: str) -> IspybMark:
    """Return the record of a mark that ISPyB refuses, so that it is tried again."""
    image = images[mark.image_id]
    place = f"plate {image.barcode} inspection {image.inspection} {image.well}"
    return IspybMark(mark_id=mark.id, run=run, action=FAILED, why=f"{place}, mark by {mark.who}: {why}")


def _is_refused(known: IspybMark | None) -> bool:
    return known is not None and known.action == FAILED


def _remove_all(ispyb: Ispyb, rows: Sequence[IspybMark], dry_run: bool) -> list[IspybMark]:
    """Delete our rows, except those that somebody changed or uses, and return all as they are afterwards."""
    after = list[IspybMark]()

    def remove(batch: Sequence[IspybMark]) -> None:
        after.extend(ispyb.transact(partial(_remove, batch, dry_run)))

    for row, why in write_rows(rows, remove, None):
        used = f"ISPyB sub-sample {row.sub_sample}: it is used by something else ({why})"
        after.append(msgspec.structs.replace(row, action=LEFT, why=used))
    return after


def _remove(rows: Sequence[IspybMark], dry_run: bool, connection: sa.Connection) -> list[IspybMark]:
    """Delete our rows in one transaction, which may be begun again, except those that somebody changed or queued."""
    ids = [row.sub_sample for row in rows if row.sub_sample is not None]
    there = read_sub_samples(connection, ids, lock=not dry_run)
    after = []
    for row in rows:
        action, why = REMOVED, ""
        if row.sub_sample is not None and row.sub_sample in there:
            now_there, is_queued = there[row.sub_sample]
            if now_there != _written(row):
                action, why = LEFT, "it was changed by somebody else"
            elif is_queued:
                action, why = LEFT, "it waits in a queue"
            elif row.position is not None and not dry_run:
                delete_sub_sample(connection, Rows(row.sub_sample, row.position, row.position2))
        why = f"ISPyB sub-sample {row.sub_sample}: {why}" if why else ""
        after.append(msgspec.structs.replace(row, action=action, why=why))
    return after


def undo_marks(config: Config, ledger: Ledger, run: str, who: str, dry_run: bool = False) -> MarksInIspyb:
    """Delete from ISPyB what a run, or all runs, wrote there, except what somebody changed or uses.

    Raises
    ------
    XtalgridError
        If no such run wrote marks.
    """
    rows = ledger.ispyb_marks.of_run(run)
    if not rows:
        raise XtalgridError(
            f"{run}: no run of this name has marks in ISPyB; set_autoscore prints the names of its runs"
        )
    done = MarksInIspyb(run)
    with open_ispyb(config) as ispyb:
        for batch in chunks(rows, _BATCH):
            after = _remove_all(ispyb, batch, dry_run)
            if not dry_run:
                ledger.ispyb_marks.undo([row for row in after if row.action == REMOVED], who)
            done.actions.update(row.action for row in after)
            done.problems += [row.why for row in after if row.why]
    return done
