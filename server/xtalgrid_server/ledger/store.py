"""The open ledger: its parts, how far create_work has read, and the switches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..config import Config
from . import tables as t
from .accounts import Accounts
from .alerts import Alerts
from .contents import ContentsRecords
from .corrections import Corrections
from .database import LedgerDatabase, now
from .decisions import Decisions, newest_decisions
from .drop_notes import DropNotes
from .failures import Failures
from .imager_scores import ImagerScores
from .images import Images
from .imported_scores import ImportedScores
from .ispyb_marks import IspybMarks
from .ispyb_publications import IspybPublications
from .looks import Looks
from .marks import Marks
from .notices import Notices
from .passed_over import PassedOver
from .person_scores import PersonScores
from .plates import Plates
from .projects import PlateProjects
from .promotions import Promotions
from .publications import IS_UNDONE, WRITTEN, Publications
from .scores import Scores
from .sign_ins import SignIns
from .tokens import Tokens
from .units import Units
from .users import Users

PAUSED = "paused"
"""The switch that pauses the system."""


class Ledger:
    """One configuration's ledger; every method of its parts is one transaction."""

    def __init__(self, config: Config) -> None:
        self._db = LedgerDatabase(config)
        self.images = Images(self._db)
        self.plates = Plates(self._db)
        self.projects = PlateProjects(self._db)
        self.units = Units(self._db)
        self.failures = Failures(self._db)
        self.passed_over = PassedOver(self._db)
        self.accounts = Accounts(self._db)
        self.scores = Scores(self._db)
        self.looks = Looks(self._db)
        self.corrections = Corrections(self._db)
        self.imager_scores = ImagerScores(self._db)
        self.imported_scores = ImportedScores(self._db)
        self.person_scores = PersonScores(config, self.corrections, self.imager_scores, self.imported_scores)
        self.marks = Marks(self._db)
        self.drop_notes = DropNotes(self._db)
        self.contents = ContentsRecords(self._db)
        self.decisions = Decisions(self._db)
        self.publications = Publications(self._db)
        self.ispyb = IspybPublications(self._db)
        self.ispyb_marks = IspybMarks(self._db)
        self.promotions = Promotions(self._db)
        self.alerts = Alerts(self._db)
        self.notices = Notices(self._db)
        self.users = Users(self._db)
        self.sign_ins = SignIns(self._db)
        self.tokens = Tokens(self._db)

    def close(self) -> None:
        """Close the connections."""
        self._db.close()

    def watermark(self, key: str) -> str | None:
        """Return how far create_work has read, as saved, or None."""
        state: str | None = self._db.scalar(sa.select(t.watermarks.c.state).where(t.watermarks.c.key == key))
        return state

    def set_watermark(self, key: str, state: str) -> None:
        """Save how far create_work has read."""
        with self._db.writing() as connection:
            changed = connection.execute(t.watermarks.update().where(t.watermarks.c.key == key).values(state=state))
            if not changed.rowcount:
                connection.execute(t.watermarks.insert().values(key=key, state=state))

    def switch(self, name: str) -> tuple[str, str, datetime] | None:
        """Return (value, who, when in UTC) of a switch's newest setting, or None."""
        statement = sa.select(t.switches).where(t.switches.c.name == name).order_by(t.switches.c.id.desc()).limit(1)
        return next(((row.value, row.who, row.at) for row in self._db.rows(statement)), None)

    def set_switch(self, name: str, value: str, who: str) -> None:
        """Set a switch."""
        with self._db.writing() as connection:
            connection.execute(t.switches.insert().values(name=name, value=value, who=who, at=now()))

    def counts(self) -> dict[str, dict[str, int]]:
        """Count units by state, scores by outcome, decisions by action, results, and our rows of the score table."""
        unit_count = sa.select(t.units.c.state, sa.func.count()).group_by(t.units.c.state)
        score_count = sa.select(t.scores.c.outcome, sa.func.count()).group_by(t.scores.c.outcome)
        action_count = (
            sa.select(t.finalizations.c.action, sa.func.count())
            .where(t.finalizations.c.id.in_(newest_decisions()))
            .group_by(t.finalizations.c.action)
        )
        result_count = sa.select(t.results.c.accepted, sa.func.count()).group_by(t.results.c.accepted)
        # An inspection has one row, however often it was written.
        published = sa.select(sa.func.count(t.publications.c.inspect_id.distinct())).where(
            t.publications.c.done_at.is_not(None), t.publications.c.action.in_(WRITTEN), ~IS_UNDONE
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
