"""The open ledger: its parts, how far create_work has read, and the switches."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ..config import Config
from . import tables as t
from .alerts import Alerts
from .archive import Archive
from .database import LedgerDatabase
from .decisions import Decisions
from .models import Models
from .people import People
from .plates import Plates
from .records import now
from .trail import Trails
from .views import Views
from .visits import Visits
from .work import Work

PAUSED = "paused"
"""The switch that pauses the system."""


class Ledger:
    """One configuration's ledger; every method of its parts is one transaction."""

    def __init__(self, config: Config) -> None:
        self._db = LedgerDatabase(config)
        self.work = Work(self._db)
        self.decisions = Decisions(self._db)
        self.views = Views(self._db)
        self.models = Models(self._db)
        self.people = People(self._db, config)
        self.plates = Plates(self._db)
        self.archive = Archive(self._db)
        self.alerts = Alerts(self._db)
        self.trails = Trails(self._db)
        self.visits = Visits(self._db)

    def close(self) -> None:
        """Close the connections."""
        self._db.close()

    def watermark(self, key: str) -> str | None:
        """Return how far create_work has read, as saved, or None."""
        with self._db.reading() as connection:
            return connection.scalar(sa.select(t.watermarks.c.state).where(t.watermarks.c.key == key))

    def set_watermark(self, key: str, state: str) -> None:
        """Save how far create_work has read."""
        with self._db.writing() as connection:
            changed = connection.execute(t.watermarks.update().where(t.watermarks.c.key == key).values(state=state))
            if not changed.rowcount:
                connection.execute(t.watermarks.insert().values(key=key, state=state))

    def switch(self, name: str) -> tuple[str, str, datetime] | None:
        """Return (value, who, when in UTC) of a switch's newest setting, or None."""
        with self._db.reading() as connection:
            statement = sa.select(t.switches).where(t.switches.c.name == name).order_by(t.switches.c.id.desc()).limit(1)
            row = connection.execute(statement).first()
        return None if row is None else (row.value, row.who, row.at)

    def set_switch(self, name: str, value: str, who: str) -> None:
        """Set a switch."""
        with self._db.writing() as connection:
            connection.execute(t.switches.insert().values(name=name, value=value, who=who, at=now()))
