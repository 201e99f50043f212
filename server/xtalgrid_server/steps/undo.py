"""``set_autoscore --undo RUN``: restore the imager database to exactly what it was before a run wrote to it.

The score table is restored first, then the ledger records it. If an undo is killed in between, the next one finds the
table restored and only records it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..domain.images import ScoreRow
from ..imager.crystaltrak.database import ImagerDatabase
from ..imager.crystaltrak.writer import Autoscore, ScoreWriter
from ..ledger.publications import ELSEWHERE
from ..ledger.store import Ledger
from ..storage.engines import chunks
from .publish import Previous, own_row
from .publish_ispyb import UndoneInIspyb, undo_ispyb

_BATCH = 500


@dataclass(slots=True)
class Undone:
    """What an undo did: number of rows removed, number of rows restored, and those left alone, each with its reason.

    `ispyb` is what it did there; None without ``publish.ispyb``.
    """

    removed: int = 0
    restored: int = 0
    left: list[str] = field(default_factory=list)
    ispyb: UndoneInIspyb | None = None


def undo(config: Config, database: ImagerDatabase, ledger: Ledger, run: str, who: str, dry_run: bool = False) -> Undone:
    """Take back what set_autoscore wrote for a run of the finalizer.

    Rows that a later run replaced, or that somebody changed by hand, are left alone and reported.

    Raises
    ------
    XtalgridError
        If the ledger has no such run, or the run wrote nothing.
    """
    of_run = ledger.publications.of_run(run).values()
    wrote = [row for row in of_run if row.action in ("insert", "replace")]
    elsewhere = [row.id for row in of_run if row.action == ELSEWHERE]
    if not wrote and not elsewhere:
        raise XtalgridError(
            f"{run}: no run of this name wrote scores; runs are named like their CSV files in {config.outbox}"
        )
    done, already, later = Undone(), ledger.publications.undone_scores(run), ledger.publications.later_runs(run)
    for batch in chunks([row for row in wrote if row.score_id not in already], _BATCH):
        names = {score.score_id: score.image_name for score in ledger.scores.by_id([row.score_id for row in batch])}
        part, taken = database.write(partial(_undo, config, database, batch, names, later, dry_run))
        if not dry_run:
            ledger.publications.undo(taken, who)
        done.removed += part.removed
        done.restored += part.restored
        done.left += part.left
    if not dry_run:
        ledger.publications.undo(elsewhere, who)
    if config.publish.ispyb.url:
        done.ispyb = undo_ispyb(config, ledger, run, who, dry_run)
    return done


def _undo(
    config: Config,
    database: ImagerDatabase,
    batch: Sequence[Any],
    names: Mapping[int, str],
    later: Mapping[int, str],
    dry_run: bool,
    writer: ScoreWriter,
) -> tuple[Undone, list[int]]:
    """Undo publications in one transaction, which may be retried; return what was done, and the ids of those undone."""
    done = Undone()
    by = config.imager.scored_by
    rows = writer.scores_of_drops([row.inspect_id for row in batch])
    autoscores: dict[int, Autoscore | None] = {}
    taken = []
    for row in batch:
        own = own_row(database, rows[row.inspect_id], row.inspect_id)
        before = msgspec.json.decode(row.previous, type=Previous) if row.previous else Previous()
        if row.inspect_id in later:
            why = f"run {later[row.inspect_id]} has written there since; undo it first"
        elif not (_is(own, row.code, names.get(row.score_id)) or _was(own, before)):
            why = "its row was changed or deleted by somebody else"
        elif not dry_run and not _restore(writer, own, before, by):
            why = "the imager database did not change its row; does another program write there?"
        else:
            taken.append(row.id)
            if before.score_id is None:
                done.removed += 1
            else:
                done.restored += 1
            if not dry_run:
                if before.image:
                    writer.remove_image(row.inspect_id, before.image)
                autoscores[row.inspect_id] = before.autoscore
            continue
        done.left.append(f"inspection {row.inspect_id}: {why}")
    if config.publish.autoscores and autoscores:
        writer.set_autoscores(autoscores)
    return done, taken


def _restore(writer: ScoreWriter, own: ScoreRow | None, before: Previous, by: str) -> bool:
    """Bring our row back to what it was; tell whether the database did so. There is nothing to do without a row."""
    if own is None:
        return True
    if before.score_id is None:
        return writer.remove(own.score_id, by)
    return before.date is None or writer.replace(own.score_id, by, before.code, before.date, before.image_name)


def _is(own: ScoreRow | None, code: str, image_name: str | None) -> bool:
    """Tell whether our row is as the run wrote it."""
    return own is not None and (own.code, own.image_name) == (code, image_name)


def _was(own: ScoreRow | None, before: Previous) -> bool:
    """Tell whether our row is as it was before the run: an undo was killed before it could record this."""
    if own is None or before.score_id is None:
        return own is None and before.score_id is None
    return (own.code, own.date, own.image_name) == (before.code, before.date, before.image_name)
