"""``set_autoscore``: write the ARTscores of the finalizer's CSV files into the imager's score table.

No transaction spans both databases, so each row is written in three steps: the ledger records the intention, the score
table is written, the ledger records that it is done. If a run is killed between them, the next one finds either no row
or ours, and comes to the same result.

A row that the score table refuses costs no other, nor does one whose inspection was deleted, or is another drop's now.
Their lines go into a file of their own in the outbox, which the next runs try, for `TRY_AGAIN`.
"""

from __future__ import annotations

import csv
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.files import replacing
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_core.spreadsheets import cell_text, csv_line

from ..config import Config
from ..domain.images import ScoreRow
from ..domain.log import log
from ..imager.crystaltrak.database import ImagerDatabase
from ..imager.crystaltrak.writer import Autoscore, ChangedRow, NewScore, ScoreWriter
from ..ledger.publications import ELSEWHERE
from ..ledger.shapes import ScoredImage
from ..ledger.store import Ledger
from .finalize import COLUMNS, restore_csv
from .framed import framed_path
from .publish_ispyb import PublishedInIspyb
from .publish_ispyb_marks import MarksInIspyb
from .refused_rows import TRY_AGAIN, write_rows
from .score_rules import peoples_scores, score_date, standing_score

STEP = "set_autoscore"

_MOST_REFUSED = 2_000
"""Rows that the score table refuses among `_PART`; if there are more, it is not the rows' fault, and the step stops."""
_LEFT = "-refused"
"""End of the name of a file with such rows."""

_PART = 5_000
"""Lines of a CSV file, with their scores, that are in memory at once: a back-fill's first run may have a million."""

_NOT_PUBLISHED = ("hold", "keep", "shadow", "reject", "none")
"""Actions of the finalizer that write nothing."""

_DIGITS = 18
"""Digits of the largest numbers that every database holds."""

Lines = list[tuple[int, dict[str, str]]]
"""Lines of a CSV file, each with the number of its last line in the file."""


@dataclass(slots=True)
class Published:
    """What a run did: number of rows by action (insert, replace, same, keep, elsewhere), refused CSV lines, files.

    `ispyb` is what was written there; None without ``publish.ispyb``. `marks` likewise, with ``publish.ispyb.marks``.
    """

    actions: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    files: int = 0
    ispyb: PublishedInIspyb | None = None
    marks: MarksInIspyb | None = None


class Previous(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was in the imager database before a publication; kept in the ledger for the undo."""

    score_id: int | None = None
    """SCOREID of our row. None: there was none, and `code`, `date` and `image_name` mean nothing."""
    code: str = ""
    date: datetime | None = None
    image_name: str | None = None
    autoscore: Autoscore | None = None
    """The row in the lab's own table of machine scores; None: there was none."""
    image: str = ""
    """Name of the framed image that the publication added to the image table; empty: none."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to do for one inspection."""

    score: ScoredImage
    code: str
    action: str
    date: datetime
    why: str = ""
    own: ScoreRow | None = None

    @property
    def inspect_id(self) -> int:
        return self.score.inspect_id

    @property
    def writes(self) -> bool:
        """Whether the score is in the table afterwards."""
        return self.action not in ("keep", ELSEWHERE)


def publish(
    config: Config, database: ImagerDatabase, ledger: Ledger, files: list[Path] | None = None, dry_run: bool = False
) -> Published:
    """Publish the lines of CSV files whose action is ``publish``.

    Parameters
    ----------
    files
        By default those in the outbox, oldest first. Each file of the outbox is moved to ``outbox/done`` when its
        scores are written.
    dry_run
        Only report what would be written.

    Raises
    ------
    XtalgridError
        If a file cannot be read or is not a CSV file of the finalizer; the other files are done.
    """
    published = Published()
    unreadable: list[XtalgridError] = []
    if files is None:
        if not dry_run:
            restore_csv(config, ledger)
        files = sorted(config.outbox.glob("*.csv"))
    for file in files:
        try:
            for _ in _read_csv(file):  # all of it, before any of it is written
                pass
        except XtalgridError as error:
            unreadable.append(error)
            continue
        lines = _read_csv(file)
        taken: dict[tuple[str, int], int] = {}
        left: Lines = []
        while part := list(itertools.islice(lines, _PART)):
            left += _publish_lines(config, database, ledger, file, part, taken, dry_run, published)
        published.files += 1
        if not dry_run and file.parent == config.outbox:
            _put_away(file, left)
    if unreadable:
        done = f"; the other {published.files} files are done" if published.files else ""
        raise XtalgridError("; ".join(map(str, unreadable)) + done)
    return published


def _put_away(file: Path, left: Lines) -> None:
    """Move a file of the outbox to those that are done, except for the lines that are left, which get their own."""
    again, since = file.with_name(f"{file.stem.removesuffix(_LEFT)}{_LEFT}{file.suffix}"), time.time()
    if file == again:
        since = file.stat().st_mtime
    (file.parent / "done").mkdir(exist_ok=True)
    if not left or time.time() - since > TRY_AGAIN.total_seconds():
        file.replace(file.parent / "done" / file.name)
        return
    with replacing(again) as stream:
        stream.write(csv_line(COLUMNS))
        for _, line in left:
            stream.write(csv_line([line[name] for name in COLUMNS]))
    os.utime(again, (since, since))
    if file != again:
        file.replace(file.parent / "done" / file.name)


def _publish_lines(
    config: Config,
    database: ImagerDatabase,
    ledger: Ledger,
    file: Path,
    lines: Lines,
    taken: dict[tuple[str, int], int],
    dry_run: bool,
    published: Published,
) -> Lines:
    """Publish some lines of a file, and return those that the score table refuses or has no inspection for.

    `taken` has the numbers of the lines so far that publish an inspection, by run and inspect id.
    """
    refused: dict[int, str] = {}
    runs: dict[str, list[ScoredImage]] = {}
    for score, run in _rows_to_publish(config, ledger, file, lines, taken, published):
        runs.setdefault(run, []).append(score)
    most = None if file.stem.endswith(_LEFT) else _MOST_REFUSED
    gone = database.gone([score for scores in runs.values() for score in scores])
    for run, all_scores in runs.items():
        scores = [score for score in all_scores if score.inspect_id not in gone]
        refused.update({taken[run, one]: why for one, why in gone.items() if (run, one) in taken})
        decided = ledger.decisions.ids_of_run(run, [score.score_id for score in scores])
        write = partial(_write, config, database, ledger, run, decided, dry_run, published)
        for score, why in write_rows(scores, write, most):
            refused[taken[run, score.inspect_id]] = f"the score table refuses it: {why}"
    for number, why in sorted(refused.items()):
        _refuse(file, number, why, published)
    return [(number, line) for number, line in lines if number in refused]


def _refuse(file: Path, number: int, why: str, published: Published) -> None:
    published.refused.append(f"{file.name} line {number}: {why}")
    log.warning("%s %s line %d refused: %s", STEP, file.name, number, why)


def _write(
    config: Config,
    database: ImagerDatabase,
    ledger: Ledger,
    run: str,
    decided: dict[int, int],
    dry_run: bool,
    published: Published,
    batch: Sequence[ScoredImage],
) -> None:
    """Write a batch, and record that it is done."""
    plans = database.write(partial(_publish, config, database, ledger, run, batch, decided, dry_run))
    if not dry_run:
        ledger.publications.set_done(run, [plan.score.score_id for plan in plans])
    for plan in plans:
        published.actions[plan.action] = published.actions.get(plan.action, 0) + 1


def _publish(
    config: Config,
    database: ImagerDatabase,
    ledger: Ledger,
    run: str,
    batch: Sequence[ScoredImage],
    decided: dict[int, int],
    dry_run: bool,
    writer: ScoreWriter,
) -> list[_Plan]:
    """Read the score table as it is now and write the scores, in one transaction of the imager database."""
    inspect_ids = [score.inspect_id for score in batch]
    newest = ledger.publications.newest_decisions(inspect_ids)
    rows = writer.scores_of_drops(inspect_ids)
    peoples = peoples_scores(config, ledger, rows, batch)
    plans = [
        _plan(
            config,
            database,
            rows[one.inspect_id],
            peoples[one.inspect_id],
            one,
            newest.get(one.inspect_id, 0) > decided[one.score_id],
        )
        for one in batch
    ]
    if dry_run:
        return plans
    writing = [plan for plan in plans if plan.writes]
    framed = _framed_images(config, writing) if config.publish.image_rows else {}
    autoscores = writer.autoscores([plan.inspect_id for plan in writing]) if config.publish.autoscores else {}
    entered = writer.add_images(framed)
    ledger.publications.intend(
        run, [_intention(plan, autoscores.get(plan.inspect_id), entered.get(plan.inspect_id, "")) for plan in plans]
    )
    by = config.imager.scored_by
    new = [plan for plan in plans if plan.action == "insert"]
    writer.insert_many([NewScore(plan.inspect_id, plan.code, plan.date, plan.score.image_name) for plan in new], by)
    for plan in plans:
        if plan.action == "replace" and plan.own is not None:
            number = plan.own.score_id
            if not writer.replace(number, by, plan.code, plan.date, plan.score.image_name):
                raise ChangedRow(f"SCOREID {number} was changed or deleted by somebody else while it was written")
    if config.publish.autoscores:
        writer.set_autoscores({plan.inspect_id: _autoscore(plan.score) for plan in writing})
    return plans


def _framed_images(config: Config, plans: Sequence[_Plan]) -> dict[int, str]:
    """Return the file names of those framed images that were drawn, by inspect id."""
    paths = {plan.inspect_id: framed_path(config, plan.score) for plan in plans}
    return {inspect_id: path.name for inspect_id, path in paths.items() if path.is_file()}


def _autoscore(score: ScoredImage) -> Autoscore:
    """Convert a score to a row of the lab's own table."""
    empty = score.outcome is Outcome.NULL_EXPERIMENT
    answer = score.answer
    maxima = answer.probabilities if isinstance(answer, wire.Scored) else ()
    clear = dict(zip(CLASSES, maxima, strict=True)).get(Outcome.CLEAR, 0.0) if maxima else 0.0
    return score.p_crystal, clear, 1 if empty else 0


def _rows_to_publish(
    config: Config,
    ledger: Ledger,
    file: Path,
    all_lines: Lines,
    taken: dict[tuple[str, int], int],
    published: Published,
) -> list[tuple[ScoredImage, str]]:
    """Return the scores in a file's ``publish`` lines, each with its run; refuse lines that contradict the ledger."""
    lines = [(number, line) for number, line in all_lines if line["action"] not in _NOT_PUBLISHED]
    ids = [_score_id(line) for _, line in lines]
    scores = {score.score_id: score for score in ledger.scores.by_id(ids)}
    decided = {run: ledger.decisions.ids_of_run(run, list(scores)) for run in {line["run"] for _, line in lines}}
    undone = {run: ledger.publications.undone_scores(run) for run in decided}
    reviews = ledger.decisions.reviews(list(scores))
    rejected = {score_id for score_id, made in reviews.items() if made[-1].verdict == "reject"}
    accepted = []
    for number, line in lines:
        score = scores.get(_score_id(line))
        if line["action"] != "publish":
            why = f"action is {line['action'][:80]!r}, not one of {', '.join(('publish', *_NOT_PUBLISHED))}"
        elif score is None or decided[line["run"]].get(score.score_id) is None:
            why = "this ledger has no such score and run; is the file from another lab, or another home?"
        elif str(score.inspect_id) != line["inspect_id"]:
            why = f"score {score.score_id} belongs to inspection {score.inspect_id}"
        elif line["artscore"] != config.score_code(score.outcome):
            why = (
                f"score {score.score_id} is {config.score_code(score.outcome)}; "
                "to give another score, score as a person"
            )
        elif score.score_id in rejected:
            why = "a person has rejected it since"
        elif score.score_id in undone[line["run"]]:
            why = (
                f"run {line['run']} was undone; `xtalgrid approve {score.score_id}` lets the next finalizer publish it"
            )
        elif (line["run"], score.inspect_id) in taken:
            before = taken[line["run"], score.inspect_id]
            why = f"line {before} publishes this inspection already, and an inspection has one score"
        else:
            taken[line["run"], score.inspect_id] = number
            accepted.append((score, line["run"]))
            continue
        _refuse(file, number, why, published)
    return accepted


def _score_id(line: dict[str, str]) -> int:
    """Return a line's SCOREID; 0, which no score has, if it is no number that a database can hold."""
    text = line["score_id"]
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else 0


def _read_csv(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a CSV file, each with its number in the file.

    Raises
    ------
    XtalgridError
        If it cannot be read, or is not a CSV file of the finalizer.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            for line in reader if not missing else ():
                yield reader.line_num, {key: cell_text(value or "") for key, value in line.items() if key}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise XtalgridError(f"cannot read {file}: {why}; give CSV files of the finalizer") from error
    if missing:
        lacking = [name for name in COLUMNS if name in missing]
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise XtalgridError(
            f"{file}: not a CSV file of the finalizer; it lacks the columns {', '.join(lacking[:3])}{more}; "
            "save it in UTF-8 with commas"
        )


def _plan(
    config: Config,
    database: ImagerDatabase,
    rows: list[ScoreRow],
    peoples: list[ScoreRow],
    score: ScoredImage,
    is_superseded: bool,
) -> _Plan:
    """Decide by the rules what to write for a score.

    `rows` are all rows of its drop in the score table, and `peoples` people's scores of it there and in the viewer,
    both oldest first. `is_superseded` tells whether a later decision about the inspection is published.
    """
    code = config.score_code(score.outcome)
    assert code is not None  # only publishable outcomes get here
    inspect_id = score.inspect_id
    own = own_row(database, rows, inspect_id)
    date = score_date(score.inspected, config.imager.local(score.at.replace(tzinfo=UTC).timestamp()), peoples)
    standing = standing_score(inspect_id, peoples, config.publish.policy)
    if config.publish.policy == "shadow":
        return _Plan(score, code, "keep", date, "policy shadow: nothing is published")
    if is_superseded:
        return _Plan(score, code, "keep", date, "a newer score of this inspection is published")
    if standing is not None:
        return _Plan(score, code, "keep", date, f"scored {standing.code} by {standing.by} in the meantime")
    if not config.publish.score_table:
        return _Plan(score, code, ELSEWHERE, date, "publish.score_table is false")
    if own is None:
        return _Plan(score, code, "insert", date)
    if (own.code, own.date, own.image_name) == (code, date, score.image_name):
        return _Plan(score, code, "same", date, own=own)
    return _Plan(score, code, "replace", date, own=own)


def own_row(database: ImagerDatabase, rows: Sequence[ScoreRow], inspect_id: int) -> ScoreRow | None:
    """Find our row for an inspection among all scores of its drop, which are sorted oldest first."""
    return next((row for row in reversed(rows) if row.inspect_id == inspect_id and database.is_ours(row)), None)


def _intention(plan: _Plan, autoscore: Autoscore | None, image: str) -> dict[str, Any]:
    own = plan.own
    before = (
        Previous(own.score_id, own.code, own.date, own.image_name, autoscore, image)
        if own
        else Previous(autoscore=autoscore, image=image)
    )
    return {
        "score_id": plan.score.score_id,
        "inspect_id": plan.inspect_id,
        "code": plan.code,
        "action": plan.action,
        "previous": "" if before == Previous() else msgspec.json.encode(before).decode(),
        "why": plan.why,
    }
