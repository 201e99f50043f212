"""Write the published ARTscores into ISPyB, and take them back: the last part of ``set_autoscore``.

What is to be written is what the ledger says is published and ISPyB has not got, so that a run that was killed, or an
ISPyB that was away, costs nothing. As in `publish`, the ledger records the intention, ISPyB is written, and the ledger
records that it is done; who finds our own numbers there only records it. What is not there yet, or what ISPyB refuses,
costs no other, and the next runs try it, for `TRY_AGAIN`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from xtalgrid_core.lines import first_lines
from xtalgrid_core.outcomes import SCORED_GROUPS

from ..config import Config
from ..domain.groups import four
from ..domain.log import log
from ..imager.ispyb.auto_scores import Four, class_ids, classes_of, is_same, read_four, write_four
from ..imager.ispyb.connection import Ispyb
from ..imager.ispyb.finding import find_images
from ..ledger.database import now
from ..ledger.ispyb_publications import MISSING, REFUSED, WITHOUT, IspybPublication, Waiting
from ..ledger.shapes import ScoredImage
from ..ledger.store import Ledger
from ..storage.engines import chunks
from .refused_rows import TRY_AGAIN, write_rows

STEP = "set_autoscore"

_BATCH = 500
_MOST_REFUSED = 200
"""Publications of a batch that ISPyB may refuse; if there are more, it is not their fault, and the step stops."""
_SHOWN = 20


@dataclass(slots=True)
class PublishedInIspyb:
    """What a run wrote into ISPyB: scores by action (as `IspybPublication` has), and what is missing or refused."""

    actions: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Format it as text."""
        words = {MISSING: "not in ISPyB", WITHOUT: "without four probabilities"}
        yield "ISPyB: " + (
            ", ".join(f"{number} {words.get(action, action)}" for action, number in self.actions.items()) or "no scores"
        )
        for what, lines in ((MISSING, self.missing), (REFUSED, self.refused)):
            yield from first_lines(lines, _SHOWN, start=f"{what}  ")


@dataclass(slots=True)
class UndoneInIspyb:
    """What an undo did there: images whose probabilities were removed or restored, and those left, with the reason."""

    removed: int = 0
    restored: int = 0
    left: list[str] = field(default_factory=list)


def publish_ispyb(config: Config, ledger: Ledger, dry_run: bool = False) -> PublishedInIspyb:
    """Write all published ARTscores that ISPyB has not got yet.

    Raises
    ------
    ConfigError
        If ISPyB has no such schema.
    ImagerError
        If it is not available. What was written is recorded, and the next run goes on from there.
    """
    settings, done, last = config.publish.ispyb, PublishedInIspyb(), 0
    since = now() - TRY_AGAIN
    with open_ispyb(config) as ispyb:
        while batch := ledger.ispyb.waiting(settings.schema, since, last, _BATCH):
            last = batch[-1].publication_id
            for was_refused, most in ((False, _MOST_REFUSED), (True, None)):
                part = [each for each in batch if each.was_refused is was_refused]
                refused = write_rows(part, partial(_write, config, ledger, ispyb, done, dry_run), most)
                _keep_refused(config, ledger, refused, done)
    for line in (*done.missing[:_SHOWN], *done.refused[:_SHOWN]):
        log.info("%s: %s", STEP, line)
    return done


def _keep_refused(
    config: Config, ledger: Ledger, refused: Sequence[tuple[Waiting, str]], done: PublishedInIspyb
) -> None:
    """Record what ISPyB refuses, so that it is tried again."""
    schema, rows = config.publish.ispyb.schema, list[IspybPublication]()
    scores = {score.score_id: score for score in ledger.scores.by_id([each.score_id for each, _ in refused])}
    for each, why in refused:
        score = scores[each.score_id]
        line = f"plate {score.barcode} inspection {score.inspection} {score.well}: {why}"
        rows.append(IspybPublication(each.publication_id, schema, None, REFUSED, {}, {}, line))
    ledger.ispyb.intend(rows)
    ledger.ispyb.set_done(rows)
    done.actions.update(row.action for row in rows)
    done.refused += [row.why for row in rows]


def open_ispyb(config: Config) -> Ispyb:
    """Open the ISPyB that is written to."""
    settings = config.publish.ispyb
    return Ispyb(config, settings.url, settings.password_file, "publish.ispyb.url")


def _write(
    config: Config, ledger: Ledger, ispyb: Ispyb, done: PublishedInIspyb, dry_run: bool, batch: Sequence[Waiting]
) -> None:
    """Write a batch, and record that it is done."""
    rows = ispyb.transact(partial(_write_in, config, ledger, batch, dry_run))
    if not dry_run:
        ledger.ispyb.set_done(rows)
    done.actions.update(row.action for row in rows)
    done.missing += [row.why for row in rows if row.action == MISSING]


def _write_in(
    config: Config, ledger: Ledger, batch: Sequence[Waiting], dry_run: bool, connection: sa.Connection
) -> list[IspybPublication]:
    """Write a batch in one transaction, which may be begun again."""
    settings = config.publish.ispyb
    classes = class_ids(connection, settings)
    scores = {score.score_id: score for score in ledger.scores.by_id([each.score_id for each in batch])}
    ours = {score_id: _four(score, settings.classes) for score_id, score in scores.items()}
    found, why = find_images(config, connection, {key: score for key, score in scores.items() if ours[key]})
    there = read_four(connection, sorted(set(found.values())), classes, lock=not dry_run)
    rows, written = [], dict[int, Four]()
    for each in batch:
        score_id, four_ours = each.score_id, ours[each.score_id]
        if not four_ours:
            rows.append(IspybPublication(each.publication_id, settings.schema, None, WITHOUT, {}, {}))
        elif score_id not in found:
            reason = why[score_id]
            rows.append(IspybPublication(each.publication_id, settings.schema, None, MISSING, four_ours, {}, reason))
        else:
            key = found[score_id]
            before = there[key]
            action = "insert" if not before else "same" if is_same(before, four_ours) else "replace"
            rows.append(IspybPublication(each.publication_id, settings.schema, key, action, four_ours, before))
            there[key] = written[key] = four_ours
    if not dry_run:
        ledger.ispyb.intend(rows)
        changed = {row.image for row in rows if row.action in ("insert", "replace")}
        write_four(connection, {key: each for key, each in written.items() if key in changed}, classes)
    return rows


def _four(score: ScoredImage, names: Sequence[str]) -> Four:
    """Return a score's probabilities by class; empty if it has none."""
    groups = four(score.answer)
    return {name: groups[group] for name, group in zip(names, SCORED_GROUPS, strict=True)} if groups else {}


def undo_ispyb(config: Config, ledger: Ledger, run: str, who: str, dry_run: bool = False) -> UndoneInIspyb:
    """Take back what was written into ISPyB for a run of the finalizer.

    Images to which a later run wrote, or whose numbers somebody changed, are left alone and reported.
    """
    done, later = UndoneInIspyb(), ledger.ispyb.later_runs(run)
    rows = ledger.ispyb.of_run(run)
    with open_ispyb(config) as ispyb:
        for schema in sorted({row.schema for row in rows}):
            for batch in chunks([row for row in rows if row.schema == schema], _BATCH):
                part, taken = ispyb.transact(partial(_undo, schema, batch, later, dry_run))
                if not dry_run:
                    ledger.ispyb.undo(taken, who)
                done.removed += part.removed
                done.restored += part.restored
                done.left += part.left
    return done


def _undo(
    schema: str,
    batch: Sequence[IspybPublication],
    later: dict[tuple[str, int], str],
    dry_run: bool,
    connection: sa.Connection,
) -> tuple[UndoneInIspyb, list[IspybPublication]]:
    """Undo in one transaction, which may be begun again; return what was done, and which rows are taken back."""
    done, taken, restored = UndoneInIspyb(), list[IspybPublication](), dict[int, Four]()
    known = classes_of(connection, schema)
    names = {name for row in batch for name in (*row.four, *row.previous)} & known.keys()
    classes = {name: known[name] for name in names}
    there = read_four(connection, [row.image for row in batch if row.image is not None], classes, lock=not dry_run)
    for row in batch:
        if row.image is None or row.action == "same":
            taken.append(row)
            continue
        if (run := later.get((schema, row.image))) is not None:
            done.left.append(f"ISPyB image {row.image}: run {run} has written there since; undo it first")
        elif not any(is_same(there[row.image], four) for four in (row.four, row.previous)):
            done.left.append(f"ISPyB image {row.image}: its numbers were changed or deleted by somebody else")
        else:
            restored[row.image] = there[row.image] = row.previous
            taken.append(row)
            done.restored += bool(row.previous)
            done.removed += not row.previous
    if not dry_run:
        write_four(connection, restored, classes)
    return done, taken
