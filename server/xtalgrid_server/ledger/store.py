"""What the steps write into the ledger and read back; every method is one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import alembic.command
import alembic.config
import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, LedgerError
from xtalgrid_core.outcomes import Outcome

from ..config import Config
from ..database import chunks, open_engine, short_reason
from ..imager.database import ImageRow
from ..wells import Well
from . import tables as t

UnitState = Literal["planned", "sent", "returned", "failed"]
Verdict = Literal["approve", "reject"]
PAUSED = "paused"


def now() -> datetime:
    """Now in UTC, without zone, as the ledger keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def options_hash(options: wire.Options) -> str:
    """Hash of everything that makes a score of the same picture another score: models, rule, threshold, step, boxes."""
    return hashlib.sha256(wire.encode(options)).hexdigest()


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image that goes into a unit, with its content's hash."""

    image: ImageRow
    sha256: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A work unit as the ledger knows it."""

    id: int
    name: str
    manifest: bytes
    attempts: int
    state: UnitState
    detail: str


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """A score with the image it belongs to; `answer` is what the worker said."""

    score_id: int
    image_id: int
    image: ImageRow
    outcome: Outcome
    probability: float
    p_crystal: float
    answer: wire.Scored | wire.Failed
    at: datetime


@dataclass(frozen=True, slots=True)
class SeenImage:
    """An image whatever became of it: its newest score, or (reason, detail) of why it has none; neither while it waits."""

    image_id: int
    image: ImageRow
    score: ScoredImage | None
    failure: tuple[str, str] | None

    @property
    def outcome(self) -> Outcome | None:
        """Its outcome; None while it waits."""
        if self.score is not None:
            return self.score.outcome
        return Outcome.FAILED if self.failure else None


@dataclass(frozen=True, slots=True)
class ScoreOrigin:
    """A score and where it came from; `host` is what the worker said of its computer."""

    score: ScoredImage
    worker: str
    host: str
    unit: str
    options: wire.Options


class Ledger:
    """The ledger of one configuration, brought to the newest layout when it is opened."""

    def __init__(self, config: Config) -> None:
        self._url = config.ledger_url
        self._source = config.imager.source
        self._engine = open_engine(self._url, "ledger.url")
        self._upgrade()

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    def _upgrade(self) -> None:
        settings = alembic.config.Config()
        settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self._writing() as connection:
            settings.attributes["connection"] = connection
            alembic.command.upgrade(settings, "head")

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise LedgerError(
                f"the ledger ({self._engine.dialect.name}): {short_reason(error)}; check ledger.url, free disk space and that "
                "the database is up, then run the same command again"
            ) from error

    _reading = _writing  # SQLite's transactions are all of one kind here, and reads are short

    # ---- images and units --------------------------------------------------------------------------------------

    def planned(self, images: Sequence[ImageRow], options: str, retry: bool = False) -> set[tuple[int, str]]:
        """Which of these images are already in a unit with these options, as (inspect id, image name).

        With `retry` those whose unit failed don't count.
        """
        found: set[tuple[int, str]] = set()
        with self._reading() as connection:
            for part in chunks(sorted({image.inspect_id for image in images})):
                statement = (
                    sa.select(t.images.c.inspect_id, t.images.c.image_name)
                    .join(t.unit_images, t.unit_images.c.image_id == t.images.c.id)
                    .join(t.units, t.units.c.id == t.unit_images.c.unit_id)
                    .where(
                        t.images.c.source == self._source,
                        t.images.c.inspect_id.in_(part),
                        t.units.c.options_hash == options,
                    )
                )
                if retry:
                    statement = statement.where(_latest_state(t.units.c.id) != "failed")
                found.update((row.inspect_id, row.image_name) for row in connection.execute(statement))
        return found

    def add_unit(self, manifest: wire.Manifest, images: Sequence[PlannedImage]) -> None:
        """Record a unit as planned; once more is no harm (a failed one is planned again)."""
        with self._writing() as connection:
            unit_id = connection.scalar(sa.select(t.units.c.id).where(t.units.c.name == manifest.unit))
            if unit_id is not None:
                if connection.scalar(sa.select(_latest_state(sa.literal(unit_id)))) == "failed":
                    connection.execute(t.units.update().where(t.units.c.id == unit_id).values(attempts=0))
                    _add_state(connection, unit_id, "planned", "again")
                return
            unit_id = _insert(
                connection,
                t.units,
                name=manifest.unit,
                manifest=wire.encode(manifest),
                options_hash=options_hash(manifest.options),
                attempts=0,
                made_at=now(),
            )
            image_ids = self._enter_images(connection, [planned.image for planned in images])
            connection.execute(
                t.unit_images.insert(),
                [
                    {"unit_id": unit_id, "number": number, "image_id": image_id, "sha256": planned.sha256}
                    for number, (image_id, planned) in enumerate(zip(image_ids, images, strict=True))
                ],
            )
            _add_state(connection, unit_id, "planned")

    def _enter_images(self, connection: sa.Connection, images: Sequence[ImageRow]) -> list[int]:
        """Ids of the images, entering those that are new."""
        known: dict[tuple[int, str], int] = {}
        for part in chunks(sorted({image.inspect_id for image in images})):
            statement = sa.select(t.images.c.id, t.images.c.inspect_id, t.images.c.image_name).where(
                t.images.c.source == self._source, t.images.c.inspect_id.in_(part)
            )
            known.update({(row.inspect_id, row.image_name): row.id for row in connection.execute(statement)})
        for image in images:
            if (image.inspect_id, image.image_name) not in known:
                known[image.inspect_id, image.image_name] = _insert(
                    connection,
                    t.images,
                    source=self._source,
                    inspect_id=image.inspect_id,
                    image_name=image.image_name,
                    barcode=image.barcode,
                    inspection=image.inspection,
                    inspected=image.inspected,
                    row=image.well.row,
                    col=image.well.col,
                    subwell=image.well.subwell,
                    seen_at=now(),
                )
        return [known[image.inspect_id, image.image_name] for image in images]

    def units(self, *states: UnitState) -> list[Unit]:
        """The units whose newest state is one of these, oldest first."""
        with self._reading() as connection:
            return [_unit(row) for row in connection.execute(_select_units().where(_newest.c.state.in_(states)))]

    def unit(self, name: str) -> Unit | None:
        """The unit of this name."""
        with self._reading() as connection:
            row = connection.execute(_select_units().where(t.units.c.name == name)).first()
        return None if row is None else _unit(row)

    def unit_images(self, unit: Unit) -> list[ImageRow]:
        """The images of a unit, in the order of their numbers."""
        statement = (
            sa.select(t.images)
            .join(t.unit_images, t.unit_images.c.image_id == t.images.c.id)
            .where(t.unit_images.c.unit_id == unit.id)
            .order_by(t.unit_images.c.number)
        )
        with self._reading() as connection:
            return [_image_row(row._mapping) for row in connection.execute(statement)]

    def set_state(self, unit: Unit, state: UnitState, detail: str = "") -> None:
        """Record a unit's new state, unless it is in it already."""
        with self._writing() as connection:
            if connection.scalar(sa.select(_latest_state(sa.literal(unit.id)))) != state:
                _add_state(connection, unit.id, state, detail)

    def fail_unit(self, unit: Unit, detail: str) -> None:
        """Give a unit up: its images are recorded as failed, and planned again only on demand."""
        with self._writing() as connection:
            if connection.scalar(sa.select(_latest_state(sa.literal(unit.id)))) == "failed":
                return
            _add_state(connection, unit.id, "failed", detail)
            rows = connection.execute(
                sa.select(t.images.c.id, t.images.c.image_name)
                .join(t.unit_images, t.unit_images.c.image_id == t.images.c.id)
                .where(t.unit_images.c.unit_id == unit.id)
            ).all()
            for row in rows:
                _add_failure(connection, row.id, row.image_name, "grid", FailureReason.UNIT_FAILED, detail)

    # ---- failures ----------------------------------------------------------------------------------------------

    def add_failure(
        self, file: str, step: str, reason: FailureReason, detail: str, image: ImageRow | None = None
    ) -> None:
        """Record that an image or a file got no score; the same failure of the same file is recorded once."""
        with self._writing() as connection:
            image_id = self._enter_images(connection, [image])[0] if image else None
            _add_failure(connection, image_id, file, step, reason, detail)

    def failures(self, files: Sequence[str] | None = None) -> list[tuple[str, str, str]]:
        """(file, reason, detail) of what failed before it was scored and has no score since, newest for each file."""
        scored = sa.exists().where(t.scores.c.image_id == t.failures.c.image_id)
        statement = (
            sa.select(t.failures.c.file, t.failures.c.reason, t.failures.c.detail)
            .where(~scored)
            .order_by(t.failures.c.id)
        )
        newest: dict[str, tuple[str, str, str]] = {}
        with self._reading() as connection:
            for part in chunks(files) if files is not None else [None]:
                chosen = statement if part is None else statement.where(t.failures.c.file.in_(part))
                newest.update({row.file: (row.file, row.reason, row.detail) for row in connection.execute(chosen)})
        return list(newest.values())

    # ---- results and scores ------------------------------------------------------------------------------------

    def accept_result(self, unit: Unit, data_sha256: str, result: wire.Result, options: wire.Options) -> int:
        """Record a unit's result with a score for each image; returns how many are new. Twice is once."""
        with self._writing() as connection:
            if connection.scalar(sa.select(_latest_state(sa.literal(unit.id)))) == "returned":
                return 0
            result_id = _insert(
                connection,
                t.results,
                unit_id=unit.id,
                sha256=data_sha256,
                host=_host(result.host),
                accepted=1,
                reason="",
                received_at=now(),
            )
            rows = connection.execute(
                sa.select(t.unit_images.c.number, t.unit_images.c.image_id, t.unit_images.c.sha256).where(
                    t.unit_images.c.unit_id == unit.id
                )
            )
            planned = {row.number: row for row in rows}
            key = options_hash(options)
            known = sa.select(t.scores.c.image_id, t.scores.c.sha256).where(t.scores.c.options_hash == key)
            there: set[tuple[int, str]] = set()
            for part in chunks([row.image_id for row in planned.values()]):
                found = connection.execute(known.where(t.scores.c.image_id.in_(part)))
                there.update((row.image_id, row.sha256) for row in found)
            new = [
                _score_values(answer, planned[answer.number], key, options, result, result_id)
                for answer in result.images
                if (planned[answer.number].image_id, planned[answer.number].sha256) not in there
            ]
            if new:
                connection.execute(t.scores.insert(), new)
            _add_state(connection, unit.id, "returned")
            return len(new)

    def refuse_result(self, unit: Unit | None, data_sha256: str, reason: str, host: str = "") -> int:
        """Record a refused result; returns how many of the unit's results were refused by now."""
        with self._writing() as connection:
            _insert(
                connection,
                t.results,
                unit_id=unit.id if unit else None,
                sha256=data_sha256,
                host=host[:500],
                accepted=0,
                reason=reason[:1000],
                received_at=now(),
            )
            if unit is None:
                return 0
            connection.execute(t.units.update().where(t.units.c.id == unit.id).values(attempts=t.units.c.attempts + 1))
            return int(connection.scalar(sa.select(t.units.c.attempts).where(t.units.c.id == unit.id)) or 0)

    def scores(
        self,
        *,
        inspect_ids: Sequence[int] | None = None,
        barcode: str | None = None,
        not_finalized: bool = False,
        score_ids: Sequence[int] | None = None,
        failed: bool = False,
    ) -> list[ScoredImage]:
        """The newest score of each image that fits all of the given conditions, in plate order.

        `not_finalized`: only inspections with a score the finalizer has not seen, or with a review since it did.
        `failed`: with the images a worker could not score.
        """
        newest = sa.select(sa.func.max(t.scores.c.id)).group_by(t.scores.c.image_id)
        statement = (
            sa.select(t.scores, t.images)
            .join(t.images, t.images.c.id == t.scores.c.image_id)
            .where(t.images.c.source == self._source)
            .order_by(
                t.images.c.barcode,
                t.images.c.inspection,
                t.images.c.col,
                t.images.c.row,
                t.images.c.subwell,
                t.images.c.id,
            )
        )
        if score_ids is None:
            statement = statement.where(t.scores.c.id.in_(newest))
        if not failed:
            statement = statement.where(t.scores.c.outcome != str(Outcome.FAILED))
        if barcode is not None:
            statement = statement.where(t.images.c.barcode == barcode)
        if not_finalized:
            statement = statement.where(t.images.c.inspect_id.in_(_waiting(self._source)))
        lists: list[tuple[Any, Sequence[int]]] = [
            (column, values)
            for column, values in ((t.images.c.inspect_id, inspect_ids), (t.scores.c.id, score_ids))
            if values is not None
        ]
        found: list[ScoredImage] = []
        with self._reading() as connection:
            if not lists:
                return [_scored_image(row) for row in connection.execute(statement)]
            (column, values), *_ = lists
            for part in chunks(values):
                found.extend(_scored_image(row) for row in connection.execute(statement.where(column.in_(part))))
        return found

    # ---- finalizing and publishing -----------------------------------------------------------------------------

    def add_finalizations(self, run: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record what a run of the finalizer decided: score_id, inspect_id, action, csv_row for each."""
        values = [{"run": run, "at": now(), **row} for row in rows]
        if values:
            with self._writing() as connection:
                connection.execute(t.finalizations.insert(), values)

    def finalizations(self, run: str) -> list[Any]:
        """The rows of one run of the finalizer (score_id, inspect_id, action, csv_row), in their order."""
        with self._reading() as connection:
            statement = sa.select(t.finalizations).where(t.finalizations.c.run == run).order_by(t.finalizations.c.id)
            return list(connection.execute(statement))

    def newest_run(self) -> str | None:
        """The newest run of the finalizer."""
        with self._reading() as connection:
            return connection.scalar(sa.select(t.finalizations.c.run).order_by(t.finalizations.c.id.desc()).limit(1))

    def published_scores(self, inspect_ids: Sequence[int]) -> dict[int, int]:
        """The newest score of each of these inspections that was written to the score table, by inspect id."""
        found: dict[int, int] = {}
        with self._reading() as connection:
            for part in chunks(inspect_ids):
                statement = (
                    sa.select(t.publications.c.inspect_id, sa.func.max(t.publications.c.score_id).label("score_id"))
                    .where(t.publications.c.inspect_id.in_(part), t.publications.c.done_at.is_not(None))
                    .group_by(t.publications.c.inspect_id)
                )
                found.update({row.inspect_id: row.score_id for row in connection.execute(statement)})
        return found

    def actions(self) -> dict[int, str]:
        """The newest decision on each score, by score id."""
        newest = sa.select(sa.func.max(t.finalizations.c.id)).group_by(t.finalizations.c.score_id)
        statement = sa.select(t.finalizations.c.score_id, t.finalizations.c.action).where(
            t.finalizations.c.id.in_(newest)
        )
        with self._reading() as connection:
            return {row.score_id: row.action for row in connection.execute(statement)}

    def add_reviews(self, score_ids: Sequence[int], verdict: Verdict, who: str) -> None:
        """Record a person's verdict on held scores."""
        with self._writing() as connection:
            values = [{"score_id": score_id, "verdict": verdict, "who": who, "at": now()} for score_id in score_ids]
            connection.execute(t.reviews.insert(), values)

    def verdicts(self, score_ids: Sequence[int]) -> dict[int, tuple[Verdict, str]]:
        """The newest (verdict, who) on each of these scores that has one."""
        found: dict[int, tuple[Verdict, str]] = {}
        with self._reading() as connection:
            for part in chunks(score_ids):
                statement = sa.select(t.reviews).where(t.reviews.c.score_id.in_(part)).order_by(t.reviews.c.id)
                found.update({row.score_id: (row.verdict, row.who) for row in connection.execute(statement)})
        return found

    def intend(self, run: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record what is about to be written to the score table, before it is.

        A run that was killed intends again: what it finds written already (``same``) keeps the first intention, with the row
        as it was before; anything else takes the new one.
        """
        with self._writing() as connection:
            there = {
                row.score_id: row.done_at
                for row in connection.execute(
                    sa.select(t.publications.c.score_id, t.publications.c.done_at).where(t.publications.c.run == run)
                )
            }
            for row in rows:
                if row["score_id"] not in there:
                    connection.execute(t.publications.insert().values(run=run, intended_at=now(), **row))
                elif there[row["score_id"]] is None and row["action"] != "same":
                    same = (t.publications.c.run == run, t.publications.c.score_id == row["score_id"])
                    connection.execute(t.publications.update().where(*same).values(**row))

    def done(self, run: str, score_ids: Sequence[int]) -> None:
        """Record that these rows of a run stand in the score table."""
        with self._writing() as connection:
            for part in chunks(score_ids):
                connection.execute(
                    t.publications.update()
                    .where(
                        t.publications.c.run == run,
                        t.publications.c.score_id.in_(part),
                        t.publications.c.done_at.is_(None),
                    )
                    .values(done_at=now())
                )

    def publications(self, run: str) -> dict[int, Any]:
        """What a run wrote, by score id."""
        with self._reading() as connection:
            statement = sa.select(t.publications).where(t.publications.c.run == run)
            return {row.score_id: row for row in connection.execute(statement)}

    # ---- progress and switches ---------------------------------------------------------------------------------

    def watermark(self, key: str) -> str | None:
        """The saved reading progress of create_work."""
        with self._reading() as connection:
            return connection.scalar(sa.select(t.watermarks.c.state).where(t.watermarks.c.key == key))

    def set_watermark(self, key: str, state: str) -> None:
        """Save the reading progress of create_work."""
        with self._writing() as connection:
            changed = connection.execute(t.watermarks.update().where(t.watermarks.c.key == key).values(state=state))
            if not changed.rowcount:
                connection.execute(t.watermarks.insert().values(key=key, state=state))

    def watermarks(self, prefix: str) -> dict[str, str]:
        """All saved progress whose key begins so."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(t.watermarks))
            return {row.key: row.state for row in rows if row.key.startswith(prefix)}

    def switch(self, name: str) -> tuple[str, str, datetime] | None:
        """(value, who, when) of a switch's newest setting."""
        with self._reading() as connection:
            statement = sa.select(t.switches).where(t.switches.c.name == name).order_by(t.switches.c.id.desc()).limit(1)
            row = connection.execute(statement).first()
        return None if row is None else (row.value, row.who, row.at)

    def set_switch(self, name: str, value: str, who: str) -> None:
        """Set a switch."""
        with self._writing() as connection:
            connection.execute(t.switches.insert().values(name=name, value=value, who=who, at=now()))

    # ---- overviews ---------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, dict[str, int]]:
        """How many of everything: units by state, scores by outcome, newest decisions by action, results."""
        unit_count = sa.select(_newest.c.state, sa.func.count()).group_by(_newest.c.state)
        score_count = sa.select(t.scores.c.outcome, sa.func.count()).group_by(t.scores.c.outcome)
        newest = sa.select(sa.func.max(t.finalizations.c.id)).group_by(t.finalizations.c.score_id)
        action_count = (
            sa.select(t.finalizations.c.action, sa.func.count())
            .where(t.finalizations.c.id.in_(newest))
            .group_by(t.finalizations.c.action)
        )
        result_count = sa.select(t.results.c.accepted, sa.func.count()).group_by(t.results.c.accepted)
        published = sa.select(sa.func.count()).where(
            t.publications.c.done_at.is_not(None), t.publications.c.action.in_(("insert", "replace", "same"))
        )
        with self._reading() as connection:

            def pairs(statement: Any) -> dict[str, int]:
                return {str(key): int(number) for key, number in connection.execute(statement)}

            return {
                "units": pairs(unit_count),
                "scores": pairs(score_count),
                "actions": pairs(action_count),
                "results": {("accepted" if k == "1" else "refused"): n for k, n in pairs(result_count).items()},
                "published": {"rows": int(connection.scalar(published) or 0)},
            }

    def plates(self) -> list[tuple[str, int, datetime, int]]:
        """(barcode, inspection, newest date, number of images) of every plate seen, newest first."""
        newest = sa.func.max(t.images.c.inspected)
        statement = (
            sa.select(t.images.c.barcode, t.images.c.inspection, newest.label("date"), sa.func.count().label("number"))
            .where(t.images.c.source == self._source)
            .group_by(t.images.c.barcode, t.images.c.inspection)
            .order_by(newest.desc(), t.images.c.barcode)
        )
        with self._reading() as connection:
            return [(row.barcode, row.inspection, row.date, row.number) for row in connection.execute(statement)]

    def plates_like(self, part: str, limit: int, offset: int = 0) -> list[tuple[str, int, datetime, int]]:
        """`plates` whose barcode contains `part` (whatever its case), one page of them."""
        newest = sa.func.max(t.images.c.inspected)
        statement = (
            sa.select(t.images.c.barcode, t.images.c.inspection, newest.label("date"), sa.func.count().label("number"))
            .where(t.images.c.source == self._source)
            .group_by(t.images.c.barcode, t.images.c.inspection)
            .order_by(newest.desc(), t.images.c.barcode, t.images.c.inspection.desc())
            .limit(limit)
            .offset(offset)
        )
        if part:
            statement = statement.where(t.images.c.barcode.icontains(part, autoescape=True))
        with self._reading() as connection:
            return [(row.barcode, row.inspection, row.date, row.number) for row in connection.execute(statement)]

    def plate_outcomes(self, barcodes: Iterable[str]) -> dict[tuple[str, int], dict[Outcome, int]]:
        """How many images of each outcome these plates have, by (barcode, inspection); images that wait are not counted."""
        scored = (
            sa.select(t.images.c.barcode, t.images.c.inspection, t.scores.c.outcome, sa.func.count().label("number"))
            .join_from(t.images, t.scores, t.scores.c.id == _newest_score())
            .group_by(t.images.c.barcode, t.images.c.inspection, t.scores.c.outcome)
        )
        unscored = (
            sa.select(
                t.images.c.barcode,
                t.images.c.inspection,
                sa.literal(str(Outcome.FAILED)).label("outcome"),
                sa.func.count().label("number"),
            )
            .where(
                sa.exists().where(t.failures.c.image_id == t.images.c.id),
                ~sa.exists().where(t.scores.c.image_id == t.images.c.id),
            )
            .group_by(t.images.c.barcode, t.images.c.inspection)
        )
        found: dict[tuple[str, int], dict[Outcome, int]] = {}
        with self._reading() as connection:
            for part in chunks(sorted(set(barcodes))):
                for statement in (scored, unscored):
                    chosen = statement.where(t.images.c.source == self._source, t.images.c.barcode.in_(part))
                    for row in connection.execute(chosen):
                        counts = found.setdefault((row.barcode, row.inspection), {})
                        outcome = Outcome(row.outcome)
                        counts[outcome] = counts.get(outcome, 0) + row.number
        return found

    def image(self, image_id: int) -> ImageRow | None:
        """The image of this id."""
        statement = sa.select(t.images).where(t.images.c.id == image_id, t.images.c.source == self._source)
        with self._reading() as connection:
            row = connection.execute(statement).first()
        return None if row is None else _image_row(row._mapping)

    def seen(self, barcode: str, inspection: int | None = None, well: Well | None = None) -> list[SeenImage]:
        """The images of a plate, of one of its inspections or of one of its drops, in plate order, scored or not."""
        where = [t.images.c.source == self._source, t.images.c.barcode == barcode]
        if inspection is not None:
            where.append(t.images.c.inspection == inspection)
        if well is not None:
            where += [t.images.c.row == well.row, t.images.c.col == well.col, t.images.c.subwell == well.subwell]
        order = (t.images.c.inspection, t.images.c.col, t.images.c.row, t.images.c.subwell, t.images.c.id)
        with self._reading() as connection:
            images = connection.execute(sa.select(t.images).where(*where).order_by(*order)).all()
            scored = connection.execute(
                sa.select(t.scores, t.images)
                .join_from(t.images, t.scores, t.scores.c.id == _newest_score())
                .where(*where)
            ).all()
            failed = connection.execute(
                sa.select(t.failures)
                .join_from(t.failures, t.images, t.images.c.id == t.failures.c.image_id)
                .where(*where)
                .order_by(t.failures.c.id)
            ).all()
        scores = {score.image_id: score for score in map(_scored_image, scored)}
        failures = {row.image_id: (row.reason, row.detail) for row in failed}
        return [SeenImage(row.id, _image_row(row._mapping), scores.get(row.id), failures.get(row.id)) for row in images]

    def origins(self, image_id: int) -> list[ScoreOrigin]:
        """All scores of an image and where they came from, newest first."""
        statement = (
            sa.select(t.scores, t.images, t.results.c.host, t.units.c.name, t.units.c.manifest)
            .join_from(t.scores, t.images, t.images.c.id == t.scores.c.image_id)
            .join(t.results, t.results.c.id == t.scores.c.result_id)
            .join(t.units, t.units.c.id == t.results.c.unit_id)
            .where(t.scores.c.image_id == image_id, t.images.c.source == self._source)
            .order_by(t.scores.c.id.desc())
        )
        with self._reading() as connection:
            return [
                ScoreOrigin(
                    score=_scored_image(row),
                    worker=row._mapping[t.scores.c.worker],
                    host=row._mapping[t.results.c.host],
                    unit=row._mapping[t.units.c.name],
                    options=wire.decode_manifest(row._mapping[t.units.c.manifest]).options,
                )
                for row in connection.execute(statement)
            ]


_newest_ids = sa.select(sa.func.max(t.unit_states.c.id)).group_by(t.unit_states.c.unit_id)
_newest = sa.select(t.unit_states).where(t.unit_states.c.id.in_(_newest_ids)).subquery("newest_state")


def _select_units() -> sa.Select[Any]:
    return (
        sa.select(t.units, _newest.c.state, _newest.c.detail)
        .join(_newest, _newest.c.unit_id == t.units.c.id)
        .order_by(t.units.c.id)
    )


def _latest_state(unit_id: Any) -> sa.ScalarSelect[Any]:
    states = t.unit_states.alias()
    return (
        sa.select(states.c.state).where(states.c.unit_id == unit_id).order_by(states.c.id.desc()).limit(1)
    ).scalar_subquery()


def _newest_score() -> sa.ScalarSelect[Any]:
    """Id of an image's newest score."""
    scores = t.scores.alias()
    newest = sa.select(sa.func.max(scores.c.id)).where(scores.c.image_id == t.images.c.id)
    return newest.correlate(t.images).scalar_subquery()


def _waiting(source: str) -> sa.Select[Any]:
    """Inspect ids with a score that no finalizer run has decided on, or with a review newer than the decision."""
    decided = sa.exists().where(t.finalizations.c.score_id == t.scores.c.id)
    reviewed = sa.exists().where(
        t.reviews.c.score_id == t.scores.c.id,
        t.reviews.c.at
        > sa.select(sa.func.max(t.finalizations.c.at))
        .where(t.finalizations.c.score_id == t.scores.c.id)
        .scalar_subquery(),
    )
    return (
        sa.select(t.images.c.inspect_id)
        .join(t.scores, t.scores.c.image_id == t.images.c.id)
        .where(t.images.c.source == source, t.scores.c.outcome != str(Outcome.FAILED), sa.or_(~decided, reviewed))
    )


def _insert(connection: sa.Connection, table: sa.Table, **values: Any) -> int:
    key = connection.execute(table.insert().values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _add_state(connection: sa.Connection, unit_id: int, state: UnitState, detail: str = "") -> None:
    connection.execute(t.unit_states.insert().values(unit_id=unit_id, state=state, detail=detail[:500], at=now()))


def _add_failure(
    connection: sa.Connection, image_id: int | None, file: str, step: str, reason: FailureReason, detail: str
) -> None:
    last = connection.execute(
        sa.select(t.failures.c.reason, t.failures.c.detail)
        .where(t.failures.c.file == file[:1000], t.failures.c.step == step)
        .order_by(t.failures.c.id.desc())
        .limit(1)
    ).first()
    if last is None or (last.reason, last.detail) != (str(reason), detail[:1000]):
        connection.execute(
            t.failures.insert().values(
                image_id=image_id, file=file[:1000], step=step, reason=str(reason), detail=detail[:1000], at=now()
            )
        )


def _unit(row: Any) -> Unit:
    return Unit(row.id, row.name, row.manifest, row.attempts, row.state, row.detail)


def _score_values(
    answer: wire.Scored | wire.Failed,
    planned: Any,
    key: str,
    options: wire.Options,
    result: wire.Result,
    result_id: int,
) -> dict[str, Any]:
    if isinstance(answer, wire.Scored):
        said = {"outcome": str(answer.outcome), "probability": answer.probability, "p_crystal": answer.p_crystal}
    else:
        said = {"outcome": str(Outcome.FAILED), "probability": 0.0, "p_crystal": 0.0}
    return {
        **said,
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


def _image_row(columns: Mapping[Any, Any]) -> ImageRow:
    return ImageRow(
        inspect_id=columns[t.images.c.inspect_id],
        barcode=columns[t.images.c.barcode],
        inspection=columns[t.images.c.inspection],
        inspected=columns[t.images.c.inspected],
        well=Well(columns[t.images.c.row], columns[t.images.c.col], columns[t.images.c.subwell]),
        image_name=columns[t.images.c.image_name],
    )


def _scored_image(row: Any) -> ScoredImage:
    columns = row._mapping
    return ScoredImage(
        score_id=columns[t.scores.c.id],
        image_id=columns[t.images.c.id],
        image=_image_row(columns),
        outcome=Outcome(columns[t.scores.c.outcome]),
        probability=columns[t.scores.c.probability],
        p_crystal=columns[t.scores.c.p_crystal],
        answer=wire.decode_image(columns[t.scores.c.answer].encode()),
        at=columns[t.scores.c.at],
    )
