"""Images, work units, failures and results: what came in, where it is, and what came back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome

from ..domain.images import ImageRow
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, insert
from .records import PlannedImage, Unit, UnitState, image_row, now, options_hash


class Work:
    """The part of the ledger that `create_work`, the grid and the assimilator write."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def planned(self, images: Sequence[ImageRow], options: str, retry: bool = False) -> set[tuple[int, str]]:
        """Return which of these images are already in a unit with these options, as (inspect id, image name).

        With `retry`, images whose unit failed don't count.
        """
        found: set[tuple[int, str]] = set()
        with self._db.reading() as connection:
            for part in chunks(sorted({image.inspect_id for image in images})):
                statement = (
                    sa.select(t.images.c.inspect_id, t.images.c.image_name)
                    .join(t.unit_images, t.unit_images.c.image_id == t.images.c.id)
                    .join(t.units, t.units.c.id == t.unit_images.c.unit_id)
                    .where(
                        t.images.c.source == self._db.source,
                        t.images.c.inspect_id.in_(part),
                        t.units.c.options_hash == options,
                    )
                )
                if retry:
                    statement = statement.where(t.units.c.state != "failed")
                found.update((row.inspect_id, row.image_name) for row in connection.execute(statement))
        return found

    def images_under_way(self, since: datetime) -> int:
        """Count the images inspected since then (imager's local time) whose unit has not come back."""
        statement = _in_units().where(t.units.c.state.in_(("planned", "sent")), t.images.c.inspected >= since)
        with self._db.reading() as connection:
            return connection.scalar(statement) or 0

    def planned_lately(self, before: datetime) -> int:
        """Count the images inspected before then (imager's local time) that went into units in the last hour."""
        statement = _in_units().where(t.units.c.made_at > now() - timedelta(hours=1), t.images.c.inspected < before)
        with self._db.reading() as connection:
            return connection.scalar(statement) or 0

    def add_unit(self, manifest: wire.Manifest, images: Sequence[PlannedImage]) -> None:
        """Record a unit as planned; a known unit is planned again if it failed, and otherwise stays as it is."""
        with self._db.writing() as connection:
            unit_id = connection.scalar(sa.select(t.units.c.id).where(t.units.c.name == manifest.unit))
            if unit_id is not None:
                if _state(connection, unit_id) == "failed":
                    connection.execute(t.units.update().where(t.units.c.id == unit_id).values(attempts=0))
                    _add_state(connection, unit_id, "planned", "again")
                return
            unit_id = insert(
                connection,
                t.units,
                name=manifest.unit,
                manifest=wire.encode(manifest),
                options_hash=options_hash(manifest.options),
                state="planned",
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
        """Return the ids of the images, after adding those that are new."""
        known = self._image_ids(connection, images)
        new = {(i.inspect_id, i.image_name): i for i in images if (i.inspect_id, i.image_name) not in known}
        if new:
            seen_at = now()
            rows = [
                {
                    "source": self._db.source,
                    "inspect_id": image.inspect_id,
                    "image_name": image.image_name,
                    "barcode": image.barcode,
                    "inspection": image.inspection,
                    "inspected": image.inspected,
                    "row": image.well.row,
                    "col": image.well.col,
                    "subwell": image.well.subwell,
                    "seen_at": seen_at,
                }
                for image in new.values()
            ]
            connection.execute(t.images.insert(), rows)
            known |= self._image_ids(connection, list(new.values()))
        return [known[image.inspect_id, image.image_name] for image in images]

    def _image_ids(self, connection: sa.Connection, images: Sequence[ImageRow]) -> dict[tuple[int, str], int]:
        known: dict[tuple[int, str], int] = {}
        for part in chunks(sorted({image.inspect_id for image in images})):
            statement = sa.select(t.images.c.id, t.images.c.inspect_id, t.images.c.image_name).where(
                t.images.c.source == self._db.source, t.images.c.inspect_id.in_(part)
            )
            known.update({(row.inspect_id, row.image_name): row.id for row in connection.execute(statement)})
        return known

    def units(self, *states: UnitState) -> list[Unit]:
        """Return the units whose newest state is one of these, oldest first."""
        with self._db.reading() as connection:
            return [_unit(row) for row in connection.execute(_select_units().where(t.units.c.state.in_(states)))]

    def unit(self, name: str) -> Unit | None:
        """Return the unit of this name, or None."""
        with self._db.reading() as connection:
            row = connection.execute(_select_units().where(t.units.c.name == name)).first()
        return None if row is None else _unit(row)

    def attempts(self, *states: UnitState) -> dict[str, tuple[UnitState, int]]:
        """Return state and attempt of the units whose newest state is one of these, oldest first, without manifests.

        The attempt counts from 1 how often the unit was planned: once, and again each time after it failed.
        """
        planned = t.unit_states.alias("planned")
        statement = (
            sa.select(t.units.c.name, t.units.c.state, sa.func.count(planned.c.id).label("number"))
            .join(planned, sa.and_(planned.c.unit_id == t.units.c.id, planned.c.state == "planned"))
            .where(t.units.c.state.in_(states))
            .group_by(t.units.c.id, t.units.c.name, t.units.c.state)
            .order_by(t.units.c.id)
        )
        with self._db.reading() as connection:
            return {row.name: (row.state, row.number) for row in connection.execute(statement)}

    def attempt(self, unit: Unit) -> int:
        """Return the attempt of one unit; see `attempts`."""
        statement = sa.select(sa.func.count()).where(
            t.unit_states.c.unit_id == unit.id, t.unit_states.c.state == "planned"
        )
        with self._db.reading() as connection:
            return connection.scalar(statement) or 0

    def unit_images(self, unit: Unit) -> list[ImageRow]:
        """Return the images of a unit, in the order of their numbers."""
        statement = (
            sa.select(t.images)
            .join(t.unit_images, t.unit_images.c.image_id == t.images.c.id)
            .where(t.unit_images.c.unit_id == unit.id)
            .order_by(t.unit_images.c.number)
        )
        with self._db.reading() as connection:
            return [image_row(row._mapping) for row in connection.execute(statement)]

    def set_state(self, unit: Unit, state: UnitState, detail: str = "") -> None:
        """Record a unit's new state, unless it is the current one."""
        with self._db.writing() as connection:
            if _state(connection, unit.id) != state:
                _add_state(connection, unit.id, state, detail)

    def plan_again(self, unit: Unit) -> bool:
        """Plan a unit again that failed or that its grid lost; return False if it has come back in the meantime."""
        with self._db.writing() as connection:
            if _state(connection, unit.id) not in ("failed", "sent"):
                return False
            connection.execute(t.units.update().where(t.units.c.id == unit.id).values(attempts=0))
            _add_state(connection, unit.id, "planned", "again")
            return True

    def fail_unit(self, unit: Unit, detail: str) -> None:
        """Give up a unit: record its images as failed; they are planned again only on request."""
        with self._db.writing() as connection:
            if _state(connection, unit.id) == "failed":
                return
            _add_state(connection, unit.id, "failed", detail)
            rows = connection.execute(
                sa.select(t.images.c.id, t.images.c.image_name)
                .join(t.unit_images, t.unit_images.c.image_id == t.images.c.id)
                .where(t.unit_images.c.unit_id == unit.id)
            ).all()
            for row in rows:
                _add_failure(connection, row.id, row.image_name, "grid", FailureReason.UNIT_FAILED, detail)

    def add_failure(
        self, file: str, step: str, reason: FailureReason, detail: str, image: ImageRow | None = None
    ) -> None:
        """Record that an image or file got no score, unless this failure is the last recorded for the file and step."""
        with self._db.writing() as connection:
            image_id = self._enter_images(connection, [image])[0] if image else None
            _add_failure(connection, image_id, file, step, reason, detail)

    def failures(self, files: Sequence[str] | None = None) -> list[tuple[str, str, str]]:
        """Return (file, reason, detail) of files that failed before scoring and have no score; the newest for each."""
        scored = sa.exists().where(t.scores.c.image_id == t.failures.c.image_id)
        statement = (
            sa.select(t.failures.c.file, t.failures.c.reason, t.failures.c.detail)
            .where(~scored)
            .order_by(t.failures.c.id)
        )
        newest: dict[str, tuple[str, str, str]] = {}
        with self._db.reading() as connection:
            for part in chunks(files) if files is not None else [None]:
                chosen = statement if part is None else statement.where(t.failures.c.file.in_(part))
                newest.update({row.file: (row.file, row.reason, row.detail) for row in connection.execute(chosen)})
        return list(newest.values())

    def accept_result(self, unit: Unit, data_sha256: str, result: wire.Result, options: wire.Options) -> int:
        """Record a unit's result, only once, with a score for each image; return how many scores are new."""
        with self._db.writing() as connection:
            if _state(connection, unit.id) == "returned":
                return 0
            result_id = insert(
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

    def refuse_result(self, unit: Unit | None, data_sha256: str, reason: str) -> int:
        """Record a refused result; return how many of the unit's results were refused since it was planned."""
        with self._db.writing() as connection:
            insert(
                connection,
                t.results,
                unit_id=unit.id if unit else None,
                sha256=data_sha256,
                host="",
                accepted=0,
                reason=reason[:1000],
                received_at=now(),
            )
            if unit is None:
                return 0
            connection.execute(t.units.update().where(t.units.c.id == unit.id).values(attempts=t.units.c.attempts + 1))
            return int(connection.scalar(sa.select(t.units.c.attempts).where(t.units.c.id == unit.id)) or 0)


def _select_units() -> sa.Select[Any]:
    states = t.unit_states.alias()
    detail = sa.select(states.c.detail).where(states.c.unit_id == t.units.c.id).order_by(states.c.id.desc()).limit(1)
    return sa.select(t.units, detail.scalar_subquery().label("detail")).order_by(t.units.c.id)


def _in_units() -> sa.Select[Any]:
    return (
        sa.select(sa.func.count())
        .select_from(t.units)
        .join(t.unit_images, t.unit_images.c.unit_id == t.units.c.id)
        .join(t.images, t.images.c.id == t.unit_images.c.image_id)
    )


def _state(connection: sa.Connection, unit_id: int) -> str | None:
    return connection.scalar(sa.select(t.units.c.state).where(t.units.c.id == unit_id))


def _add_state(connection: sa.Connection, unit_id: int, state: UnitState, detail: str = "") -> None:
    connection.execute(t.unit_states.insert().values(unit_id=unit_id, state=state, detail=detail[:500], at=now()))
    connection.execute(t.units.update().where(t.units.c.id == unit_id).values(state=state))


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
