"""``set_autoscore``: takes the finalizer's CSV files and writes the ARTscores into the imager's score table.

Two databases take part, so each row goes three ways: the ledger records the intention, the score table is written, the ledger
records that it is done. Killed anywhere, the next run finds either nothing written or our own row, and ends the same.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..database import chunks
from ..imager.database import ImagerDatabase, ScoreRow
from ..imager.writer import ScoreWriter
from ..ledger.records import ScoredImage
from ..ledger.store import Ledger
from ..steps import log
from .finalize import COLUMNS, restore_csv
from .rules import score_date, standing_score

STEP = "set_autoscore"

_BATCH = 200


@dataclass(slots=True)
class Published:
    """What a run did: rows by action (insert, replace, same, keep), refused CSV lines, files done."""

    actions: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    files: int = 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done for one inspection."""

    score: ScoredImage
    code: str
    action: str
    date: datetime
    why: str = ""
    own: ScoreRow | None = None


def set_autoscore(
    config: Config, database: ImagerDatabase, ledger: Ledger, files: list[Path] | None = None, dry_run: bool = False
) -> Published:
    """Publish the rows of CSV files whose action is ``publish``.

    Parameters
    ----------
    files
        Default: those in the outbox, oldest first; a file of the outbox that is done is moved to ``outbox/done``.
    dry_run
        Say what would be written; nothing is.

    Raises
    ------
    XtalgridError
        When a file cannot be read or is no CSV of the finalizer; files before it are done.
    """
    published = Published()
    if files is None:
        if not dry_run:
            restore_csv(config, ledger)
        files = sorted(config.outbox.glob("*.csv"))
    for file in files:
        _publish_file(config, database, ledger, file, dry_run, published)
        published.files += 1
        if not dry_run and file.parent == config.outbox:
            (config.outbox / "done").mkdir(exist_ok=True)
            file.replace(config.outbox / "done" / file.name)
    return published


def _publish_file(
    config: Config, database: ImagerDatabase, ledger: Ledger, file: Path, dry_run: bool, published: Published
) -> None:
    runs: dict[str, list[ScoredImage]] = {}
    for score, run in _rows_to_publish(config, ledger, file, published):
        runs.setdefault(run, []).append(score)
    for run, scores in runs.items():
        for batch in chunks(scores, _BATCH):
            plans: list[_Plan] = []
            with database.writing() as writer:
                newest = ledger.decisions.published_scores([score.image.inspect_id for score in batch])
                plans = [_plan(config, database, writer, score, newest) for score in batch]
                if not dry_run:
                    ledger.decisions.intend(run, [_intention(plan) for plan in plans])
                    for plan in plans:
                        _write(config, writer, plan)
            if not dry_run:
                ledger.decisions.done(run, [plan.score.score_id for plan in plans])
            for plan in plans:
                published.actions[plan.action] = published.actions.get(plan.action, 0) + 1


def _rows_to_publish(config: Config, ledger: Ledger, file: Path, published: Published) -> list[tuple[ScoredImage, str]]:
    """The scores that the file's ``publish`` lines name, each with its run; lines that don't fit the ledger are refused."""
    lines = [(number, line) for number, line in enumerate(_read_csv(file), start=2) if line["action"] == "publish"]
    ids = [int(line["score_id"]) for _, line in lines if line["score_id"].isdecimal()]
    scores = {score.score_id: score for score in ledger.views.scores(score_ids=ids)} if ids else {}
    decided = {
        run: {row.score_id: row.action for row in ledger.decisions.finalizations(run)}
        for run in {ln["run"] for _, ln in lines}
    }
    rejected = {
        score_id for score_id, (verdict, _) in ledger.decisions.verdicts(list(scores)).items() if verdict == "reject"
    }
    found = []
    for number, line in lines:
        score = scores.get(int(line["score_id"])) if line["score_id"].isdecimal() else None
        if score is None or decided[line["run"]].get(score.score_id) is None:
            why = "the ledger knows no such score and run"
        elif str(score.image.inspect_id) != line["inspect_id"]:
            why = f"score {score.score_id} is of inspection {score.image.inspect_id}"
        elif line["artscore"] != config.score_code(score.outcome):
            why = f"score {score.score_id} is {config.score_code(score.outcome)}; to give another score, score as a person"
        elif score.score_id in rejected:
            why = "a person rejected it since"
        else:
            found.append((score, line["run"]))
            continue
        published.refused.append(f"{file.name} line {number}: {why}")
        log.warning("%s %s line %d refused: %s", STEP, file.name, number, why)
    return found


def _read_csv(file: Path) -> list[dict[str, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise XtalgridError(f"{file}: cannot be read ({error})") from error
    reader = csv.DictReader(io.StringIO(text))
    missing = set(COLUMNS) - set(reader.fieldnames or ())
    if missing:
        raise XtalgridError(f"{file}: no CSV of the finalizer; it lacks the columns {', '.join(sorted(missing))}")
    return [{key: value or "" for key, value in line.items() if key} for line in reader]


def _plan(
    config: Config, database: ImagerDatabase, writer: ScoreWriter, score: ScoredImage, newest: dict[int, int]
) -> _Plan:
    """Look at the score table as it is now, inside the transaction that will write."""
    code = config.score_code(score.outcome)
    assert code is not None  # only publishable outcomes get here
    inspect_id = score.image.inspect_id
    rows = writer.scores_of_drop(inspect_id)
    peoples = [row for row in rows if database.is_persons(row)]
    own = next((row for row in reversed(rows) if row.inspect_id == inspect_id and database.is_ours(row)), None)
    date = score_date(score.image.inspected, peoples)
    standing = standing_score(inspect_id, peoples, config.publish.policy)
    if config.publish.policy == "shadow":
        return _Plan(score, code, "keep", date, "policy shadow: nothing is published")
    if newest.get(inspect_id, 0) > score.score_id:
        return _Plan(score, code, "keep", date, "a newer score of this inspection is published")
    if standing is not None:
        return _Plan(score, code, "keep", date, f"scored {standing.code} by {standing.by} in the meantime")
    if own is None:
        return _Plan(score, code, "insert", date)
    if (own.code, own.date, own.image_name) == (code, date, score.image.image_name):
        return _Plan(score, code, "same", date, own=own)
    return _Plan(score, code, "replace", date, own=own)


def _intention(plan: _Plan) -> dict[str, Any]:
    before = plan.own and {
        "score_id": plan.own.score_id,
        "code": plan.own.code,
        "date": plan.own.date,
        "image_name": plan.own.image_name,
    }
    return {
        "score_id": plan.score.score_id,
        "inspect_id": plan.score.image.inspect_id,
        "code": plan.code,
        "action": plan.action,
        "previous": msgspec.json.encode(before).decode() if before else "",
        "why": plan.why,
    }


def _write(config: Config, writer: ScoreWriter, plan: _Plan) -> None:
    by, name = config.imager.scored_by, plan.score.image.image_name
    if plan.action == "insert":
        writer.insert(plan.score.image.inspect_id, plan.code, plan.date, by, name)
    elif plan.action == "replace" and plan.own is not None:
        writer.replace(plan.own.score_id, by, plan.code, plan.date, name)
