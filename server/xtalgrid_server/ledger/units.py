"""Work units: planned, sent, returned or failed, and the images in them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.errors import RETRYABLE, FailureReason
from xtalgrid_core.outcomes import Outcome

from ..domain.images import FileState, ImageRow
from . import tables as t
from .database import LedgerDatabase, insert, now
from .entering import correct_images, enter_files, record_files
from .failures import add_failure, close_failures
from .shapes import image_row

UnitState = Literal["planned", "sent", "returned", "failed"]
_UNDER_WAY = t.units.c.state.in_(("planned", "sent"))


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image that goes into a unit, and the SHA-256, size and time of its file; see `FileState`."""

    image: ImageRow
    sha256: str
    size: int | None = None
    modified: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """What was planned of an image: each content's SHA-256, when the last one was (UTC), and the file as last read.

    See `FileState`; size and time are None if an earlier version planned it. `image` is what the ledger has.
    """

    image_id: int
    image: ImageRow
    sha256: str
    contents: frozenset[str]
    at: datetime
    size: int | None
    modified: int | None


@dataclass(frozen=True, slots=True)
class Unit:
    """A work unit as the ledger knows it."""

    id: int
    name: str
    manifest: bytes
    attempts: int
    state: UnitState
    detail: str


def options_hash(options: wire.Options, pixel_size_um: float | None) -> str:
    """Hash everything besides the image that a score depends on: the options, and the scale that is configured.

    Options that are not set, such as no second opinion, don't count: older scores, from before an option existed, keep
    their hash. Nor does `possible`, which only says how to read a score.
    """
    options = msgspec.structs.replace(options, possible=None)
    asked = {name: value for name, value in msgspec.structs.asdict(options).items() if value is not None}
    digest = hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
    # of the first hash, as scores of earlier versions have only that one (migration 0019)
    return hashlib.sha256(f"{digest} {pixel_size_um!r}".encode()).hexdigest() if pixel_size_um else digest


def manifest_hash(manifest: wire.Manifest) -> str:
    """Return the `options_hash` of a unit's scores; a unit has one scale for all its images."""
    return options_hash(manifest.options, manifest.images[0].pixel_size_um)


class Units:
    """The part of the ledger for work units."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    # ---- images in units -----------------------------------------------------------------------------------------

    def planned(
        self, images: Sequence[ImageRow], options: str | None, retry: bool = False
    ) -> dict[tuple[int, str], PlannedFile]:
        """Return which of these images are already in a unit, by (inspect id, image name).

        Only units with the options of this hash count; None: all. With `retry`, units that failed don't, nor those
        whose computer may be why the image failed.
        """
        columns = t.images.c
        statement = (
            sa.select(t.images, t.unit_images.c.sha256.label("content"), t.units.c.made_at)
            .join(t.unit_images, t.unit_images.c.image_id == columns.id)
            .join(t.units, t.units.c.id == t.unit_images.c.unit_id)
            .where(columns.source == self._db.source)
        )
        if options is not None:
            statement = statement.where(t.units.c.options_hash == options)
        if retry:
            same = t.scores.c.sha256 == t.unit_images.c.sha256, t.scores.c.options_hash == t.units.c.options_hash
            in_vain = sa.and_(t.units.c.state == "returned", _failed_by_computer(*same))
            statement = statement.where(t.units.c.state != "failed", ~in_vain)
        found: dict[tuple[int, str], list[Any]] = {}
        for row in self._db.rows_in(statement, columns.inspect_id, sorted({image.inspect_id for image in images})):
            found.setdefault((row.inspect_id, row.image_name), []).append(row)
        return {
            key: PlannedFile(
                image_id=rows[0].id,
                image=image_row(rows[0]),
                sha256=rows[0].sha256,
                contents=frozenset(row.content for row in rows),
                at=max(row.made_at for row in rows),
                size=rows[0].size,
                modified=rows[0].modified,
            )
            for key, rows in found.items()
        }

    def to_retry(self) -> list[ImageRow]:
        """Return the images, newest first, of units that failed, and those that a computer may have failed at.

        Some may be in another unit since; `planned` tells.
        """
        gave_up = sa.exists().where(
            t.unit_images.c.image_id == t.images.c.id,
            t.units.c.id == t.unit_images.c.unit_id,
            t.units.c.state == "failed",
        )
        statement = sa.select(t.images).where(t.images.c.source == self._db.source, gave_up | _failed_by_computer())
        return [image_row(row) for row in self._db.rows(statement.order_by(t.images.c.id.desc()))]

    def record_files(self, files: Sequence[tuple[int, FileState]], step: str) -> None:
        """Record files, by image id, with contents that were planned before; close their failures at a step."""
        with self._db.writing() as connection:
            record_files(connection, files)
            close_failures(connection, [image_id for image_id, _ in files], step)

    def correct_image(self, image_id: int, image: ImageRow) -> None:
        """Record what an image shows, as it was corrected in the imager database; see `correct_images`."""
        with self._db.writing() as connection:
            correct_images(connection, [(image_id, image)])

    def images_under_way(self, since: datetime | None = None, before: datetime | None = None) -> int:
        """Count the images whose unit has not come back; of inspections since and before then (imager's local time)."""
        dates = [] if since is None else [t.images.c.inspected >= since]
        dates += [] if before is None else [t.images.c.inspected < before]
        return self._number(_count_images().where(_UNDER_WAY, *dates))

    def planned_lately(self, before: datetime) -> int:
        """Count the images inspected before then (imager's local time) that went into units in the last hour."""
        at, made_at = now(), t.units.c.made_at
        lately = made_at > at - timedelta(hours=1), made_at <= at  # later ones are from before the clock was set back
        return self._number(_count_images().where(*lately, t.images.c.inspected < before))

    def images(self, unit: Unit) -> list[ImageRow]:
        """Return the images of a unit, in the order of their numbers."""
        statement = (
            sa.select(t.images)
            .join(t.unit_images, t.unit_images.c.image_id == t.images.c.id)
            .where(t.unit_images.c.unit_id == unit.id)
            .order_by(t.unit_images.c.number)
        )
        return [image_row(row) for row in self._db.rows(statement)]

    # ---- units ---------------------------------------------------------------------------------------------------

    def add(self, manifest: wire.Manifest, images: Sequence[PlannedImage]) -> None:
        """Record a unit as planned; a known unit is planned again if it is not under way."""
        with self._db.writing() as connection:
            files = [(one.image, FileState(one.sha256, one.size, one.modified)) for one in images]
            image_ids = enter_files(connection, self._db.source, files)
            close_failures(connection, image_ids)
            unit_id = connection.scalar(sa.select(t.units.c.id).where(t.units.c.name == manifest.unit))
            if unit_id is not None:
                if unit_state(connection, unit_id) in ("failed", "returned"):
                    _plan_again(connection, unit_id)
                return
            unit_id = insert(
                connection,
                t.units,
                name=manifest.unit,
                manifest=wire.encode(manifest),
                options_hash=manifest_hash(manifest),
                state="planned",
                attempts=0,
                made_at=now(),
            )
            connection.execute(
                t.unit_images.insert(),
                [
                    {"unit_id": unit_id, "number": number, "image_id": image_id, "sha256": planned.sha256}
                    for number, (image_id, planned) in enumerate(zip(image_ids, images, strict=True))
                ],
            )
            add_unit_state(connection, unit_id, "planned")

    def in_states(self, *states: UnitState) -> list[Unit]:
        """Return the units whose newest state is one of these, oldest first."""
        return [_unit(row) for row in self._db.rows(_select_units().where(t.units.c.state.in_(states)))]

    def failed(self) -> list[Unit]:
        """Return the units that failed, oldest first, except those whose images were all scored or planned since."""
        image, scores = t.unit_images.c, t.scores.c
        others, units = t.unit_images.alias(), t.units.alias()
        is_scored = sa.exists().where(scores.image_id == image.image_id, scores.sha256 == image.sha256)
        in_another = sa.exists().where(
            others.c.image_id == image.image_id, units.c.id == others.c.unit_id, units.c.state.in_(("planned", "sent"))
        )
        is_left = sa.exists().where(image.unit_id == t.units.c.id, ~is_scored, ~in_another)
        statement = _select_units().where(t.units.c.state == "failed", is_left)
        return [_unit(row) for row in self._db.rows(statement)]

    def named(self, name: str) -> Unit | None:
        """Return the unit of this name, or None."""
        return next(map(_unit, self._db.rows(_select_units().where(t.units.c.name == name))), None)

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
        return {row.name: (row.state, row.number) for row in self._db.rows(statement)}

    def attempt(self, unit: Unit) -> int:
        """Return the attempt of one unit; see `attempts`."""
        states = t.unit_states.c
        return self._number(sa.select(sa.func.count()).where(states.unit_id == unit.id, states.state == "planned"))

    def under_way_since(self) -> datetime | None:
        """Return when (UTC) the unit that has been on its way longest was planned or sent, or None."""
        newest = sa.select(sa.func.max(t.unit_states.c.at)).where(t.unit_states.c.unit_id == t.units.c.id)
        times = sa.select(newest.scalar_subquery().label("at")).where(_UNDER_WAY).subquery()
        since: datetime | None = self._db.scalar(sa.select(sa.func.min(times.c.at)))
        return since

    def set_state(self, unit: Unit, state: UnitState, detail: str = "") -> None:
        """Record a unit's new state, unless it is the current one."""
        with self._db.writing() as connection:
            if unit_state(connection, unit.id) != state:
                add_unit_state(connection, unit.id, state, detail)

    def plan_again(self, unit: Unit) -> bool:
        """Plan a unit again that failed or that its grid lost; return False if it has come back in the meantime."""
        with self._db.writing() as connection:
            if unit_state(connection, unit.id) not in ("failed", "sent"):
                return False
            _plan_again(connection, unit.id)
            return True

    def fail(self, unit: Unit, detail: str) -> None:
        """Give up a unit: record its images as failed; they are planned again only on request."""
        with self._db.writing() as connection:
            if unit_state(connection, unit.id) == "failed":
                return
            add_unit_state(connection, unit.id, "failed", detail)
            rows = connection.execute(
                sa.select(t.images.c.id, t.images.c.image_name)
                .join(t.unit_images, t.unit_images.c.image_id == t.images.c.id)
                .where(t.unit_images.c.unit_id == unit.id)
            ).all()
            for row in rows:
                add_failure(connection, row.id, row.image_name, "grid", FailureReason.UNIT_FAILED, detail)

    def _number(self, statement: sa.Select[Any]) -> int:
        return int(self._db.scalar(statement) or 0)


def unit_state(connection: sa.Connection, unit_id: int) -> str | None:
    """Return a unit's newest state."""
    return connection.scalar(sa.select(t.units.c.state).where(t.units.c.id == unit_id))


def add_unit_state(connection: sa.Connection, unit_id: int, state: UnitState, detail: str = "") -> None:
    """Record a unit's new state."""
    connection.execute(t.unit_states.insert().values(unit_id=unit_id, state=state, detail=detail[:500], at=now()))
    connection.execute(t.units.update().where(t.units.c.id == unit_id).values(state=state))


def _plan_again(connection: sa.Connection, unit_id: int) -> None:
    connection.execute(t.units.update().where(t.units.c.id == unit_id).values(attempts=0))
    add_unit_state(connection, unit_id, "planned", "again")


def _select_units() -> sa.Select[Any]:
    states = t.unit_states.alias()
    detail = sa.select(states.c.detail).where(states.c.unit_id == t.units.c.id).order_by(states.c.id.desc()).limit(1)
    return sa.select(t.units, detail.scalar_subquery().label("detail")).order_by(t.units.c.id)


def _failed_by_computer(*where: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return the condition that an image has a score, such a one, that failed for a reason that may be its computer's.

    One that was replaced since counts no more.
    """
    scores = t.scores.c
    reasons = (scores.answer.contains(f'"reason":"{reason}"', autoescape=True) for reason in RETRYABLE)
    is_file = sa.or_(t.images.c.sha256 == "", scores.sha256 == t.images.c.sha256)
    failed = scores.image_id == t.images.c.id, scores.outcome == str(Outcome.FAILED), sa.or_(*reasons), is_file
    return sa.exists().where(*failed, *where)


def _count_images() -> sa.Select[Any]:
    return (
        sa.select(sa.func.count())
        .select_from(t.units)
        .join(t.unit_images, t.unit_images.c.unit_id == t.units.c.id)
        .join(t.images, t.images.c.id == t.unit_images.c.image_id)
    )


def _unit(row: Any) -> Unit:
    return Unit(row.id, row.name, row.manifest, row.attempts, row.state, row.detail)
