"""``finalizer``: compare new scores with people's, hold back those that the lab reviews first, and write a CSV.

The decisions are in the ledger before the CSV is written, so that it can be written again from them at any time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import replacing
from xtalgrid_core.spreadsheets import csv_line

from ..config import Config
from ..domain.image_names import without_slices
from ..domain.images import ScoreRow
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.database import now
from ..ledger.shapes import ScoredImage
from ..ledger.store import Ledger
from ..storage.engines import chunks
from .framed import draw_framed, forget_old_frames, wants_frame
from .score_rules import Action, best_of_inspection, decide_action, describe, peoples_scores

COLUMNS = (
    "run",
    "score_id",
    "inspect_id",
    "barcode",
    "inspection",
    "inspection_date",
    "well",
    "image",
    "artscore",
    "outcome",
    "probability",
    "p_crystal",
    "existing_scores",
    "action",
    "why",
    "framed_image",
)

_OVERLAP = 10_000
"""Number of scores before the watermark to read again: scores are not always committed in the order of their ids."""

_PART = 5_000
"""Inspections that are decided on, and recorded, at once. All scores of months in shadow mode may be due."""


@dataclass(slots=True)
class Finalized:
    """What a run did: its name, its CSV and the number of scores by action; no name or CSV if no score was waiting.

    `not_framed` is the number of framed images that are wanted and can't be drawn, mostly as their originals are gone;
    `outdated` that of the inspections that are undecided now, while the score table has an ARTscore of before.
    """

    run: str = ""
    csv: Path | None = None
    actions: dict[str, int] = field(default_factory=dict)
    not_framed: int = 0
    outdated: int = 0


def finalize(
    config: Config, database: ImagerDatabase, ledger: Ledger, frames: str | None = None, *, shadow: bool = False
) -> Finalized:
    """Decide on all scores that are waiting.

    Parameters
    ----------
    frames
        Framed images to draw: ``none``, ``crystals`` or ``all``; by default as configured.
    shadow
        Also decide again on what was scored in shadow mode.

    Raises
    ------
    ConfigError
        If `shadow` is given while the policy is still ``shadow``.
    """
    if shadow and config.publish.policy == "shadow":
        raise ConfigError('publish.policy is still "shadow", which publishes nothing; set another one first')
    restore_csv(config, ledger)
    forget_old_frames(config)
    key, newest = f"finalizer {config.imager.source}", ledger.scores.newest_id()
    due = ledger.decisions.inspections_due(max(int(ledger.watermark(key) or 0) - _OVERLAP, 0), shadow)
    if not due:
        ledger.set_watermark(key, str(newest))
        return Finalized()
    done = Finalized(run=_new_run(ledger))
    for part in chunks(due, _PART):
        rows = _decide(config, database, ledger, done, part, frames or config.publish.frames)
        ledger.decisions.add(done.run, rows)
        for row in rows:
            done.actions[row["action"]] = done.actions.get(row["action"], 0) + 1
    ledger.set_watermark(key, str(newest))
    done.csv = _write_csv(config, ledger, done.run)
    return done


def _decide(
    config: Config, database: ImagerDatabase, ledger: Ledger, done: Finalized, inspect_ids: Sequence[int], frames: str
) -> list[dict[str, Any]]:
    """Decide on the scores of these inspections, and return the rows for the ledger."""
    groups: dict[int, list[ScoredImage]] = {}
    for score in ledger.scores.newest(inspect_ids):
        groups.setdefault(score.inspect_id, []).append(score)
    other_drops = _of_other_drops(database, groups)
    existing = database.scores_of_drops(list(groups))
    ledger.imager_scores.record(row for rows in existing.values() for row in rows)
    of_drop = {score.inspect_id: score for scores in groups.values() for score in scores[:1]}
    of_drop |= {s.inspect_id: s for scores in groups.values() for s in scores if s.score_id not in other_drops}
    peoples = peoples_scores(config, ledger, existing, list(of_drop.values()))
    reviews = ledger.decisions.reviews([score.score_id for scores in groups.values() for score in scores])
    rows = []
    for inspect_id, scores in groups.items():
        here = [score for score in scores if score.score_id not in other_drops]
        visible = [score for score in without_slices(here) if config.light.is_scored(score.image_name)]
        best = best_of_inspection(visible) if visible else None
        for score in scores:
            action = (
                decide_action(
                    score,
                    config.score_code(score.outcome),
                    peoples[inspect_id],
                    reviews.get(score.score_id, [None])[-1],
                    config.publish.policy,
                    config.publish.hold,
                )
                if score is best
                else Action("none", other_drops.get(score.score_id) or _why_not(best))
            )
            earlier = next((row for row in existing[inspect_id] if _is_of(database, row, inspect_id)), None)
            if score is best and action.name == "none" and earlier is not None:
                action = Action("none", f"{action.why}; the score table still has {describe([earlier])}")
                done.outdated += 1
            is_wanted = _wants_frame(score, frames)
            framed = draw_framed(config, score) if is_wanted else None
            done.not_framed += is_wanted and framed is None
            row = _csv_row(config, done.run, score, existing[inspect_id], action, str(framed or ""))
            rows.append(
                {
                    "score_id": score.score_id,
                    "inspect_id": inspect_id,
                    "action": action.name,
                    "csv_row": msgspec.json.encode(row).decode(),
                }
            )
    return rows


def _is_of(database: ImagerDatabase, row: ScoreRow, inspect_id: int) -> bool:
    return row.inspect_id == inspect_id and database.is_ours(row)


def _of_other_drops(database: ImagerDatabase, groups: dict[int, list[ScoredImage]]) -> dict[int, str]:
    """Return, by score id, why scores are not of the drop that their inspection is of now.

    In a database that was restored from a backup, an id may be given again; the ledger then has two drops of one id.
    """
    doubtful = [scores for scores in groups.values() if len({(s.barcode, s.inspection, s.well) for s in scores}) > 1]
    found: dict[int, str] = {}
    for images in itertools.zip_longest(*doubtful):  # one of each inspection at a time
        asked = {image.inspect_id: image for image in images if image is not None}
        for inspect_id, why in database.gone(list(asked.values())).items():
            found[asked[inspect_id].score_id] = why
    return found


def _why_not(best: ScoredImage | None) -> str:
    return f"{best.image_name} of the same inspection has priority" if best else "not in visible light (imager.light)"


def restore_csv(config: Config, ledger: Ledger) -> None:
    """Write the newest run's CSV if the finalizer was killed before doing so."""
    run = ledger.decisions.newest_run()
    if run and not any((folder / f"{run}.csv").exists() for folder in (config.outbox, config.outbox / "done")):
        _write_csv(config, ledger, run)


def _write_csv(config: Config, ledger: Ledger, run: str) -> Path:
    """Write a run's CSV from the ledger into the outbox."""
    config.outbox.mkdir(parents=True, exist_ok=True)
    path = config.outbox / f"{run}.csv"
    with replacing(path) as stream:
        stream.write(csv_line(COLUMNS))
        for decided in ledger.decisions.of_run(run):
            row = msgspec.json.decode(decided.csv_row, type=dict[str, str])
            stream.write(csv_line([row.get(name, "") for name in COLUMNS]))
    return path


def _new_run(ledger: Ledger) -> str:
    stamp = f"{now():%Y%m%dT%H%M%SZ}"
    names = (stamp if n == 0 else f"{stamp}-{n}" for n in itertools.count())
    return next(name for name in names if not ledger.decisions.has_run(name))


def _wants_frame(score: ScoredImage, which: str) -> bool:
    return which == "all" or (which == "crystals" and wants_frame(score.outcome))


def _csv_row(
    config: Config, run: str, score: ScoredImage, existing: list[ScoreRow], action: Action, framed: str
) -> dict[str, str]:
    return {
        "run": run,
        "score_id": str(score.score_id),
        "inspect_id": str(score.inspect_id),
        "barcode": score.barcode,
        "inspection": str(score.inspection),
        "inspection_date": score.inspected.isoformat(sep=" "),
        "well": str(score.well),
        "image": score.image_name,
        "artscore": config.score_code(score.outcome) or "",
        "outcome": str(score.outcome),
        "probability": f"{score.probability:.4f}",
        "p_crystal": f"{score.p_crystal:.4f}",
        "existing_scores": describe(existing),
        "action": action.name,
        "why": action.why,
        "framed_image": framed,
    }
