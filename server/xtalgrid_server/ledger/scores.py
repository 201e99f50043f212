"""Results and the scores in them: recorded once each, and read with their answers and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, insert, is_of, now
from .shapes import ScoredImage, newest_score, plate_order, scored_image, select_scored, select_scores
from .units import Unit, add_unit_state, manifest_hash, unit_state


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a score came from; `host` is the worker's description of its computer."""

    host: str
    unit: str
    options: wire.Options


@dataclass(frozen=True, slots=True)
class HostWork:
    """What computers of one kind did recently; `name` is the worker's description of its computer."""

    name: str
    units: int
    last: datetime


class Scores:
    """The part of the ledger for results and scores."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    # ---- recording results ---------------------------------------------------------------------------------------

    def accept_result(self, unit: Unit, data_sha256: str, result: wire.Result, manifest: wire.Manifest) -> int:
        """Record a unit's result, only once, with a score for each image; return how many scores are new.

        An image that failed before, with the same options, gets the new answer in its place.
        """
        with self._db.writing() as connection:
            if unit_state(connection, unit.id) == "returned":
                return 0
            result_id = _add_result(connection, unit.id, data_sha256, host=_host(result.host), accepted=1)
            rows = connection.execute(sa.select(t.unit_images).where(t.unit_images.c.unit_id == unit.id))
            planned = {row.number: row for row in rows}
            key = manifest_hash(manifest)
            contents = {(row.image_id, row.sha256) for row in planned.values()}
            scored = sa.select(t.scores.c.id, t.scores.c.image_id, t.scores.c.sha256, t.scores.c.outcome).where(
                t.scores.c.options_hash == key
            )
            known, failed = set[tuple[int, str]](), list[int]()
            for part in chunks([row.image_id for row in planned.values()]):
                for row in connection.execute(scored.where(t.scores.c.image_id.in_(part))):
                    if row.outcome != str(Outcome.FAILED):
                        known.add((row.image_id, row.sha256))
                    elif (row.image_id, row.sha256) in contents:
                        failed.append(row.id)
            for part in chunks(failed):  # a new row, as the finalizer looks for new ids
                saw = t.corrections.c.score_id  # a failure is no ARTscore that a person saw
                connection.execute(t.corrections.update().where(saw.in_(part)).values(score_id=None))
                connection.execute(t.scores.delete().where(t.scores.c.id.in_(part)))
            new = [
                _score_values(answer, planned[answer.number], key, manifest.options, result, result_id)
                for answer in result.images
                if (planned[answer.number].image_id, planned[answer.number].sha256) not in known
            ]
            if new:
                connection.execute(t.scores.insert(), new)
            add_unit_state(connection, unit.id, "returned")
            return len(new)

    def refuse_result(self, unit: Unit | None, data_sha256: str, reason: str) -> int:
        """Record a refused result; return how many of the unit's results were refused since it was planned."""
        with self._db.writing() as connection:
            _add_result(connection, unit.id if unit else None, data_sha256, accepted=0, reason=reason[:1000])
            if unit is None:
                return 0
            connection.execute(t.units.update().where(t.units.c.id == unit.id).values(attempts=t.units.c.attempts + 1))
            return int(connection.scalar(sa.select(t.units.c.attempts).where(t.units.c.id == unit.id)) or 0)

    # ---- scores --------------------------------------------------------------------------------------------------

    def newest(self, inspect_ids: Sequence[int]) -> list[ScoredImage]:
        """Return the newest score of each image of these inspections, in plate order, without failures."""
        statement = select_scored(answers=True).where(t.images.c.source == self._db.source)
        return sorted(self._read(statement, t.images.c.inspect_id, inspect_ids), key=plate_order)

    def by_id(self, score_ids: Sequence[int]) -> list[ScoredImage]:
        """Return these scores, even if there are newer ones, in plate order."""
        # No condition on the source: SQLite would scan all images of the source instead of looking up the ids.
        return sorted(self._read(select_scores(), t.scores.c.id, score_ids), key=plate_order)

    def of_images(self, image_ids: Sequence[int]) -> list[ScoredImage]:
        """Return every score that these images ever got, oldest first."""
        scores = self._read(select_scores(), t.scores.c.image_id, image_ids)
        return sorted(scores, key=lambda score: score.score_id)

    def of_other_files(self, seen: Mapping[int, datetime]) -> set[int]:
        """Return those of some images, by id, whose file was another one when they were seen (UTC) than is scored now.

        Only an image that was scored before and after that time is known to be one.
        """
        scores = t.scores.c
        statement = sa.select(scores.image_id, scores.at, scores.sha256).order_by(scores.id)
        before, newest = dict[int, str](), dict[int, str]()
        for row in self._db.rows_in(statement, scores.image_id, sorted(seen)):
            newest[row.image_id] = row.sha256
            if row.at <= seen[row.image_id]:
                before[row.image_id] = row.sha256
        return {image_id for image_id, sha256 in before.items() if newest[image_id] != sha256}

    def _read(self, statement: sa.Select[Any], column: sa.Column[Any], ids: Sequence[int]) -> list[ScoredImage]:
        return [scored_image(self._db, row) for row in self._db.rows_in(statement, column, ids)]

    def origins(self, image_id: int) -> dict[int, Origin]:
        """Return where all scores of an image came from, by score id, newest first."""
        statement = (
            sa.select(t.scores.c.id, t.results.c.host, t.units.c.name, t.units.c.manifest)
            .join(t.images, t.images.c.id == t.scores.c.image_id)
            .join(t.results, t.results.c.id == t.scores.c.result_id)
            .join(t.units, t.units.c.id == t.results.c.unit_id)
            .where(t.scores.c.image_id == image_id, t.images.c.source == self._db.source)
            .order_by(t.scores.c.id.desc())
        )
        return {
            row.id: Origin(row.host, row.name, wire.decode_manifest(row.manifest).options)
            for row in self._db.rows(statement)
        }

    def looking_like_uv(self, image_ids: Sequence[int] | None = None) -> int:
        """Count the images, all or these, whose newest score is undecided because they are dark, as in UV light."""
        scores = t.scores.c
        undecided = scores.outcome == str(Outcome.UNDECIDED)
        doubted = undecided, scores.answer.contains('"looks_like_uv":true'), scores.answer.contains('"groups":null')
        statement = sa.select(scores.image_id).join_from(t.scores, t.images, t.images.c.id == scores.image_id)
        statement = statement.where(*doubted, scores.id == newest_score(), is_of(self._db.source, t.images.c.source))
        rows = self._db.rows(statement) if image_ids is None else self._db.rows_in(statement, t.images.c.id, image_ids)
        return len(list(rows))

    def newest_id(self) -> int:
        """Return the id of the newest score, or 0 if there is none."""
        return int(self._db.scalar(sa.select(sa.func.max(t.scores.c.id))) or 0)

    def newest_inspection(self, latest: datetime) -> datetime | None:
        """Return the date of the newest inspection with a score (imager's local time) until then, or None."""
        statement = (
            sa.select(sa.func.max(t.images.c.inspected))
            .join(t.scores, t.scores.c.image_id == t.images.c.id)
            .where(t.images.c.source == self._db.source, t.images.c.inspected <= latest)
        )
        newest: datetime | None = self._db.scalar(statement)
        return newest

    def throughput(self, hours: float) -> tuple[int, list[HostWork]]:
        """Return how many scores came in during the last hours, and which computers sent them, busiest first."""
        results = t.results.c
        lately = results.received_at >= now() - timedelta(hours=hours), results.accepted == 1
        ids = sa.select(results.id).where(*lately)
        number = sa.select(sa.func.count()).select_from(t.scores).where(t.scores.c.result_id.in_(ids))
        hosts = (
            sa.select(results.host, sa.func.count().label("units"), sa.func.max(results.received_at).label("last"))
            .where(*lately)
            .group_by(results.host)
            .order_by(sa.func.count().desc())
        )
        with self._db.reading() as connection:
            work = [HostWork(row.host or "unnamed", row.units, row.last) for row in connection.execute(hosts)]
            return connection.scalar(number) or 0, work


def _add_result(
    connection: sa.Connection, unit_id: int | None, sha256: str, *, accepted: int, host: str = "", reason: str = ""
) -> int:
    values = {"host": host, "accepted": accepted, "reason": reason, "received_at": now()}
    return insert(connection, t.results, unit_id=unit_id, sha256=sha256, **values)


def _score_values(
    answer: wire.Answer, planned: Any, key: str, options: wire.Options, result: wire.Result, result_id: int
) -> dict[str, Any]:
    return {
        "outcome": str(Outcome.FAILED if isinstance(answer, wire.Failed) else answer.outcome),
        "probability": 0.0 if isinstance(answer, wire.Failed) else answer.probability,
        "p_crystal": 0.0 if isinstance(answer, wire.Failed) else answer.p_crystal,
        "image_id": planned.image_id,
        "sha256": planned.sha256,
        "segmenter": options.segmenter,
        "classifier": options.classifier,
        "options_hash": key,
        "result_id": result_id,
        "answer": wire.encode(answer).decode(),
        "worker": result.worker[:40],
        "at": now(),
    }


def _host(host: wire.Host) -> str:
    return " | ".join(part for part in (host.platform, host.processor, host.python, host.runtime) if part)[:500]
