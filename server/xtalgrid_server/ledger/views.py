"""What the ledger knows, for code that only reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome

from ..domain.images import ImageRow
from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase
from .records import ScoredImage, ScoreOrigin, SeenImage, image_row, newest_decisions, newest_score, scored_image


class Views:
    """The queries that only read: scores for the finalizer, plates and wells for the viewer, counts for `status`."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def scores(self, *, inspect_ids: Sequence[int] | None = None, failed: bool = False) -> list[ScoredImage]:
        """Return the newest score of each image, of all or of these inspections, in plate order.

        `failed` includes images that a worker could not score.
        """
        statement = (
            sa.select(t.scores, t.images)
            .join_from(t.images, t.scores, t.scores.c.id == newest_score())
            .where(t.images.c.source == self._db.source)
        )
        if not failed:
            statement = statement.where(t.scores.c.outcome != str(Outcome.FAILED))
        return self._scores(statement, t.images.c.inspect_id, inspect_ids)

    def scores_by_id(self, score_ids: Sequence[int]) -> list[ScoredImage]:
        """Return these scores, even if there are newer ones, in plate order."""
        # No condition on the source: SQLite would scan all images of the source instead of looking up the ids.
        statement = sa.select(t.scores, t.images).join_from(t.scores, t.images, t.images.c.id == t.scores.c.image_id)
        return self._scores(statement, t.scores.c.id, score_ids)

    def _scores(
        self, statement: sa.Select[Any], column: sa.Column[Any], values: Sequence[int] | None
    ) -> list[ScoredImage]:
        statements = [statement] if values is None else [statement.where(column.in_(part)) for part in chunks(values)]
        found: list[ScoredImage] = []
        with self._db.reading() as connection:
            for each in statements:
                found.extend(scored_image(row) for row in connection.execute(each))
        return sorted(found, key=_plate_order)

    def waiting(self, after: int, shadow: bool = False) -> list[ScoredImage]:
        """Return the scores that the finalizer has to decide on.

        These are all scores of an inspection that has one it has not seen, or a review since its last decision. It has
        seen every score up to the id `after`. `shadow` adds inspections whose last decision was in shadow mode.
        """
        decided = sa.exists().where(t.finalizations.c.score_id == t.scores.c.id)
        last = sa.select(sa.func.max(t.finalizations.c.at)).where(t.finalizations.c.score_id == t.scores.c.id)
        scored = (
            sa.select(t.images.c.inspect_id)
            .join_from(t.scores, t.images, t.images.c.id == t.scores.c.image_id)
            .where(t.images.c.source == self._db.source, t.scores.c.outcome != str(Outcome.FAILED))
        )
        new = scored.where(t.scores.c.id > after, ~decided)
        reviewed = scored.join(t.reviews, t.reviews.c.score_id == t.scores.c.id).where(
            t.reviews.c.at > last.scalar_subquery()
        )
        in_shadow = scored.join(t.finalizations, t.finalizations.c.score_id == t.scores.c.id).where(
            t.finalizations.c.action == "shadow", t.finalizations.c.id.in_(newest_decisions())
        )
        statements = (new, reviewed, in_shadow) if shadow else (new, reviewed)
        with self._db.reading() as connection:
            inspect_ids = {row.inspect_id for statement in statements for row in connection.execute(statement)}
        return self.scores(inspect_ids=sorted(inspect_ids))

    def newest_score_id(self) -> int:
        """Return the id of the newest score, or 0 if there is none."""
        with self._db.reading() as connection:
            return connection.scalar(sa.select(sa.func.max(t.scores.c.id))) or 0

    def newest_scored(self) -> datetime | None:
        """Return the date of the newest inspection with a score (imager's local time), or None."""
        statement = (
            sa.select(sa.func.max(t.images.c.inspected))
            .join(t.scores, t.scores.c.image_id == t.images.c.id)
            .where(t.images.c.source == self._db.source)
        )
        with self._db.reading() as connection:
            found: datetime | None = connection.scalar(statement)
        return found

    def waiting_since(self) -> datetime | None:
        """Return when (UTC) the unit that has been on its way longest was planned or sent, or None."""
        newest = sa.select(sa.func.max(t.unit_states.c.at)).where(t.unit_states.c.unit_id == t.units.c.id)
        under_way = sa.select(newest.scalar_subquery().label("at")).where(t.units.c.state.in_(("planned", "sent")))
        statement = sa.select(sa.func.min(under_way.subquery().c.at))
        with self._db.reading() as connection:
            found: datetime | None = connection.scalar(statement)
        return found

    def counts(self) -> dict[str, dict[str, int]]:
        """Count units by state, scores by outcome, newest decisions by action, results, and published rows."""
        unit_count = sa.select(t.units.c.state, sa.func.count()).group_by(t.units.c.state)
        score_count = sa.select(t.scores.c.outcome, sa.func.count()).group_by(t.scores.c.outcome)
        action_count = (
            sa.select(t.finalizations.c.action, sa.func.count())
            .where(t.finalizations.c.id.in_(newest_decisions()))
            .group_by(t.finalizations.c.action)
        )
        result_count = sa.select(t.results.c.accepted, sa.func.count()).group_by(t.results.c.accepted)
        published = sa.select(sa.func.count()).where(
            t.publications.c.done_at.is_not(None), t.publications.c.action.in_(("insert", "replace", "same"))
        )
        with self._db.reading() as connection:

            def pairs(statement: Any) -> dict[str, int]:
                return {str(key): int(number) for key, number in connection.execute(statement)}

            return {
                "units": pairs(unit_count),
                "scores": pairs(score_count),
                "actions": pairs(action_count),
                "results": {("accepted" if k == "1" else "refused"): n for k, n in pairs(result_count).items()},
                "published": {"rows": int(connection.scalar(published) or 0)},
            }

    def image(self, image_id: int) -> ImageRow | None:
        """Return the image of this id, or None."""
        statement = sa.select(t.images).where(t.images.c.id == image_id, t.images.c.source == self._db.source)
        with self._db.reading() as connection:
            row = connection.execute(statement).first()
        return None if row is None else image_row(row._mapping)

    def seen(self, barcode: str, inspection: int | None = None, well: Well | None = None) -> list[SeenImage]:
        """Return the images of a plate, or of one inspection or drop of it, in plate order, scored or not."""
        where = [t.images.c.source == self._db.source, t.images.c.barcode == barcode]
        if inspection is not None:
            where.append(t.images.c.inspection == inspection)
        if well is not None:
            where += [t.images.c.row == well.row, t.images.c.col == well.col, t.images.c.subwell == well.subwell]
        order = (t.images.c.inspection, t.images.c.col, t.images.c.row, t.images.c.subwell, t.images.c.id)
        with self._db.reading() as connection:
            images = connection.execute(sa.select(t.images).where(*where).order_by(*order)).all()
            scored = connection.execute(
                sa.select(t.scores, t.images)
                .join_from(t.images, t.scores, t.scores.c.id == newest_score())
                .where(*where)
            ).all()
            failed = connection.execute(
                sa.select(t.failures)
                .join_from(t.failures, t.images, t.images.c.id == t.failures.c.image_id)
                .where(*where)
                .order_by(t.failures.c.id)
            ).all()
        scores = {score.image_id: score for score in map(scored_image, scored)}
        failures = {row.image_id: (row.reason, row.detail) for row in failed}
        return [SeenImage(row.id, image_row(row._mapping), scores.get(row.id), failures.get(row.id)) for row in images]

    def origins(self, image_id: int) -> list[ScoreOrigin]:
        """Return all scores of an image and where they came from, newest first."""
        statement = (
            sa.select(t.scores, t.images, t.results.c.host, t.units.c.name, t.units.c.manifest)
            .join_from(t.scores, t.images, t.images.c.id == t.scores.c.image_id)
            .join(t.results, t.results.c.id == t.scores.c.result_id)
            .join(t.units, t.units.c.id == t.results.c.unit_id)
            .where(t.scores.c.image_id == image_id, t.images.c.source == self._db.source)
            .order_by(t.scores.c.id.desc())
        )
        with self._db.reading() as connection:
            return [
                ScoreOrigin(
                    score=scored_image(row),
                    worker=row._mapping[t.scores.c.worker],
                    host=row._mapping[t.results.c.host],
                    unit=row._mapping[t.units.c.name],
                    options=wire.decode_manifest(row._mapping[t.units.c.manifest]).options,
                )
                for row in connection.execute(statement)
            ]


def _plate_order(score: ScoredImage) -> tuple[Any, ...]:
    image = score.image
    return image.barcode, image.inspection, image.well.col, image.well.row, image.well.subwell, score.image_id
