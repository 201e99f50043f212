"""What people, and webhooks, are told of: what they want, which drops, and whether it was delivered."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec
import sqlalchemy as sa

from ..domain.wells import Well
from ..storage.engines import chunks
from . import tables as t
from .database import LedgerDatabase, insert, now
from .shapes import DropImage


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to be told of.

    Attributes
    ----------
    since
        When they switched it on (UTC): what was scored earlier is no news. None: it is off.
    when
        How often.
    projects
        The projects; empty: all of their own or, if none is known, all that they see.
    crystal_from
        Minimum `p_crystal`; 0: as in section alerts of the configuration.
    address
        Where mails go; empty: nowhere.
    kind, url
        Their webhook; an empty address: none.
    """

    since: datetime | None = None
    when: Literal["at once", "daily", "weekly"] = "daily"
    projects: tuple[str, ...] = ()
    crystal_from: float = 0.0
    address: str = ""
    kind: Literal["slack", "teams", "mattermost", "json"] = "slack"
    url: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A drop that somebody is to be told of, by the score that shows the crystal; `at`: since when (UTC)."""

    id: int
    drop: tuple[str, Well]
    score_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """The last attempt to deliver: when (UTC), what went wrong (empty: nothing), and how many failed in a row."""

    at: datetime
    problem: str
    failed: int


class Notices:
    """The part of the ledger for notifications. `who` is a person, or empty for a webhook of the configuration."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def settings(self) -> dict[str, Settings]:
        """Return the settings of everybody who has any, by name."""
        newest = sa.select(sa.func.max(t.notification_settings.c.id)).group_by(t.notification_settings.c.who)
        statement = sa.select(t.notification_settings).where(t.notification_settings.c.id.in_(newest))
        rows = self._db.rows(statement.order_by(t.notification_settings.c.who))
        return {row.who: msgspec.json.decode(row.settings, type=Settings) for row in rows}

    def settings_of(self, who: str) -> Settings:
        """Return a person's settings; those of who never made any are off."""
        own = t.notification_settings.c
        statement = sa.select(own.settings).where(own.who == who).order_by(own.id.desc()).limit(1)
        text = self._db.scalar(statement)
        return msgspec.json.decode(text, type=Settings) if text else Settings()

    def save(self, who: str, settings: Settings) -> None:
        """Record a person's settings. What waits for them is forgotten if they switch notifications off or on."""
        is_switched = settings.since != self.settings_of(who).since
        with self._db.writing() as connection:
            if is_switched:
                own = t.notices.c.who == who, t.notices.c.sent_at.is_(None)
                connection.execute(t.notices.update().where(*own).values(sent_at=now()))
            text = msgspec.json.encode(settings).decode()
            insert(connection, t.notification_settings, who=who, settings=text, at=now())

    def add(self, who: str, channel: str, images: Iterable[DropImage]) -> None:
        """Record drops to tell of, by the image that shows the crystal, unless they are recorded already."""
        chosen = {image.drop: image for image in images}
        notices, at = t.notices.c, now()
        for barcodes in chunks(sorted({barcode for barcode, _ in chosen})):
            with self._db.writing() as connection:
                statement = sa.select(notices.barcode, notices.row, notices.col, notices.subwell).where(
                    notices.who == who,
                    notices.channel == channel,
                    notices.source == self._db.source,
                    notices.barcode.in_(barcodes),
                )
                known = {(barcode, Well(*place)) for barcode, *place in connection.execute(statement)}
                base = {"who": who, "channel": channel, "source": self._db.source, "at": at}
                rows = [
                    {"score_id": image.score_id, "barcode": image.barcode, **image.well._asdict(), **base}
                    for drop, image in chosen.items()
                    if image.barcode in barcodes and drop not in known
                ]
                if rows:
                    connection.execute(t.notices.insert(), rows)

    def waiting(self, who: str, channel: str) -> list[Notice]:
        """Return what somebody was not told of yet, in order of entry."""
        notices = t.notices.c
        statement = sa.select(t.notices).where(
            notices.sent_at.is_(None),
            notices.who == who,
            notices.channel == channel,
            notices.source == self._db.source,
        )
        return [
            Notice(row.id, (row.barcode, Well(row.row, row.col, row.subwell)), row.score_id, row.at)
            for row in self._db.rows(statement.order_by(notices.id))
        ]

    def set_sent(self, ids: Collection[int]) -> None:
        """Record that these went out."""
        with self._db.writing() as connection:
            for part in chunks(list(ids)):
                chosen = t.notices.c.id.in_(part), t.notices.c.sent_at.is_(None)
                connection.execute(t.notices.update().where(*chosen).values(sent_at=now()))

    def delivered(self, who: str, channel: str, problem: str = "") -> None:
        """Record an attempt to deliver, and what went wrong."""
        with self._db.writing() as connection:
            insert(connection, t.deliveries, who=who, channel=channel, at=now(), problem=problem[:300])

    def last_delivery(self, who: str, channel: str) -> Delivery | None:
        """Return the last attempt to deliver, or None."""
        made = t.deliveries.c
        own = made.who == who, made.channel == channel
        rows = self._db.rows(sa.select(made.at, made.problem).where(*own).order_by(made.id.desc()).limit(50))
        if not rows:
            return None
        failed = next((number for number, row in enumerate(rows) if not row.problem), len(rows))
        return Delivery(rows[0].at, rows[0].problem, failed)
