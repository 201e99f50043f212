"""What the ledger returns: images, units and scores as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ..domain.images import ImageRow
from ..domain.wells import Well
from . import tables as t

UnitState = Literal["planned", "sent", "returned", "failed"]
Verdict = Literal["approve", "reject"]


def now() -> datetime:
    """Return the current time in UTC, without a time zone, as the ledger stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


def options_hash(options: wire.Options) -> str:
    """Hash everything besides the image that a score depends on.

    Options that are not set, such as no second opinion, don't count: older scores, from before an option existed, keep
    their hash.
    """
    asked = {name: value for name, value in msgspec.structs.asdict(options).items() if value is not None}
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image that goes into a unit, and the SHA-256 of its file."""

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
    """A score and the image it belongs to; `answer` is what the worker returned."""

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
    """An image with its newest score, or with the (reason, detail) of its failure; with neither while it waits."""

    image_id: int
    image: ImageRow
    score: ScoredImage | None
    failure: tuple[str, str] | None

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, or None while the image waits."""
        if self.score is not None:
            return self.score.outcome
        return Outcome.FAILED if self.failure else None


@dataclass(frozen=True, slots=True)
class ScoreOrigin:
    """A score and where it came from; `host` is the worker's description of its computer."""

    score: ScoredImage
    worker: str
    host: str
    unit: str
    options: wire.Options


def newest_score() -> sa.ScalarSelect[Any]:
    """Select the id of an image's newest score."""
    scores = t.scores.alias()
    newest = sa.select(sa.func.max(scores.c.id)).where(scores.c.image_id == t.images.c.id)
    return newest.correlate(t.images).scalar_subquery()


def newest_decisions() -> sa.Select[Any]:
    """Select the ids of the finalizer's newest decision on each score."""
    return sa.select(sa.func.max(t.finalizations.c.id)).group_by(t.finalizations.c.score_id)


def image_row(columns: Mapping[Any, Any]) -> ImageRow:
    """Make an image from a row with the columns of `tables.images`."""
    return ImageRow(
        inspect_id=columns[t.images.c.inspect_id],
        barcode=columns[t.images.c.barcode],
        inspection=columns[t.images.c.inspection],
        inspected=columns[t.images.c.inspected],
        well=Well(columns[t.images.c.row], columns[t.images.c.col], columns[t.images.c.subwell]),
        image_name=columns[t.images.c.image_name],
    )


def scored_image(row: Any) -> ScoredImage:
    """Make a score from a row with the columns of `tables.scores` and `tables.images`."""
    columns = row._mapping
    return ScoredImage(
        score_id=columns[t.scores.c.id],
        image_id=columns[t.images.c.id],
        image=image_row(columns),
        outcome=Outcome(columns[t.scores.c.outcome]),
        probability=columns[t.scores.c.probability],
        p_crystal=columns[t.scores.c.p_crystal],
        answer=wire.decode_answer(columns[t.scores.c.answer].encode()),
        at=columns[t.scores.c.at],
    )
