"""``sync``: copy people's scores and the contents of drops from the imager database into the ledger.

The score table is read in pages, by SCOREID. Each page is one transaction, and the progress is saved after it, so that
a run that was killed resumes where it stopped. Rows dated within the last ``imager.look_back_days`` are read again, to
notice those that were changed or deleted.

A SCOREID may come that is lower than the highest one read: sequences of a cluster give them out of order, and those of
a restored database give them again. So `OLD_PAGES` pages of the rest are read again in turn, and the whole table at
once if the highest row that was read is not there any more.

The sample tables have no dates of changes. So the contents are read of plates that are new in the ledger, that were
inspected or scored within those days, and in turn of `OLD_PLATES` others, so that no change is missed for long.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from ..config import Config
from ..domain.log import log
from ..imager.crystaltrak import samples
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.contents import Contents
from ..ledger.database import now
from ..ledger.store import Ledger

ORIGIN = "imager database"

_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
"""Of all ids."""

OLD_PAGES = 10
"""How many pages of the score table a run reads again besides those of recent scores."""

OLD_PLATES = 250
"""How many plates without recent inspections and scores a run reads the contents of."""


class _Progress(msgspec.Struct):
    """What is saved between runs.

    Attributes
    ----------
    last
        Highest SCOREID read.
    again
        SCOREID up to which old rows were read again in turn.
    missing
        Missing sample tables that were logged.
    image
        Highest id of the ledger's images at the last run that read contents.
    old
        Plate up to which those without recent inspections and scores were read in turn.
    """

    last: int = _LOWEST
    again: int = _LOWEST
    missing: list[str] = msgspec.field(default_factory=list)
    image: int = 0
    old: str = ""


@dataclass(slots=True)
class Synced:
    """What a run did.

    Attributes
    ----------
    rows
        Rows of the score table that were read.
    recorded
        Those of them that were new or changed.
    contents
        Drops or plates whose contents were new or changed.
    missing
        ARTscores that were published, and found deleted in this run.
    """

    rows: int = 0
    recorded: int = 0
    contents: int = 0
    missing: int = 0


def sync(config: Config, database: ImagerDatabase, ledger: Ledger) -> Synced:
    """Record what is new in the score table and the sample tables.

    Raises
    ------
    ImagerError
        If the imager database cannot be read. What was read is recorded, and the next run resumes from there.
    """
    key, ours = f"sync {config.imager.source}", config.imager.scored_by
    saved = ledger.watermark(key)
    progress = msgspec.json.decode(saved, type=_Progress) if saved else _Progress()
    done, began = Synced(), now()
    _ScoreTable(database, ledger, key, progress, done).read(config.imager.look_back_days)
    done.missing = len(ledger.publications.newest_decisions(ledger.imager_scores.gone_since(began, ours)))
    if done.missing:
        log.warning(
            "sync: %d ARTscores that were published are not in the score table any more; if the imager database was "
            "restored from a backup, write them again with `xtalgrid set_autoscore %s`",
            done.missing,
            config.outbox / "done" / "*.csv",
        )
    _sync_contents(config, database, ledger, progress, done)
    ledger.set_watermark(key, msgspec.json.encode(progress).decode())
    return done


@dataclass(slots=True)
class _ScoreTable:
    """A run over the score table, which keeps its progress."""

    database: ImagerDatabase
    ledger: Ledger
    key: str
    progress: _Progress
    done: Synced

    def read(self, look_back_days: float) -> None:
        """Read new and recent rows, and old ones in turn; all of them if the highest one known is gone."""
        last = self.progress.last
        recent = self.ledger.imager_scores.first_dated(now() - timedelta(days=look_back_days))
        start = max((last if recent is None else min(last, recent)) - 1, _LOWEST)
        # From the highest row on, which is there again, unless it was deleted or an older table took this one's place.
        if self._read_new(start) < last:
            log.info("sync: SCOREID %d, the highest one that was read, is gone; all scores are read again", last)
            self.progress.last = _LOWEST
            self._read_new(_LOWEST)
        elif start > _LOWEST:
            self._read_old(start)

    def _read_new(self, after: int) -> int:
        """Read what follows a SCOREID to the end; return the highest one that is there, `_LOWEST` without any."""
        highest, following = _LOWEST, self._page(after)
        while following.last is not None:
            highest = following.last
            if highest > self.progress.last:
                self.progress.last = highest
                self._save()
            if not following.has_next:
                break
            following = self._page(highest)
        return highest

    def _read_old(self, before: int) -> None:
        """Read some of the rows up to a SCOREID again, and continue there in the next run."""
        for _ in range(OLD_PAGES):
            page = self._page(self.progress.again)
            is_end = page.last is None or page.last >= before or not page.has_next
            self.progress.again = _LOWEST if is_end or page.last is None else page.last
            self._save()
            if is_end:
                return

    def _page(self, after: int) -> samples.ScorePage:
        """Read and record the page that follows a SCOREID."""
        at = now()
        page = samples.score_page(self.database, after)
        # No row follows the last page, so those recorded with higher ids were deleted, the newest score among them.
        upto = page.last if page.has_next and page.last is not None else _HIGHEST
        self.done.rows += len(page.scores)
        self.done.recorded += self.ledger.imager_scores.record(page.scores, between=(after, upto, at))
        return page

    def _save(self) -> None:
        self.ledger.set_watermark(self.key, msgspec.json.encode(self.progress).decode())


def _sync_contents(config: Config, database: ImagerDatabase, ledger: Ledger, progress: _Progress, done: Synced) -> None:
    tables, missing = database.sample_tables()
    if missing and missing != progress.missing:
        log.info(
            "sync: the imager database has no %s with CrystalTrak's columns; "
            "record the contents of drops with `xtalgrid layout`",
            ", ".join(missing),
        )
    progress.missing = missing
    if missing:
        return
    highest = ledger.plates.highest_image()
    since = config.imager.local(time.time()) - timedelta(days=config.imager.look_back_days)
    changed = ledger.plates.changed_since(progress.image, since)
    others = [barcode for barcode in ledger.plates.barcodes() if barcode not in changed]
    turn = [barcode for barcode in others if barcode > progress.old][:OLD_PLATES]
    asked = [*sorted(changed), *turn]
    contents = samples.plate_contents(database, tables, asked)
    if contents:  # without any, the tables may be empty for a while
        contents |= dict.fromkeys(_emptied(ledger, [barcode for barcode in asked if barcode not in contents]), ("", ""))
    done.contents = ledger.contents.record(
        Contents(barcode, samples.EVERYWHERE, project=project, sample=sample, origin=ORIGIN)
        for barcode, (project, sample) in contents.items()
    )
    progress.image, progress.old = highest, turn[-1] if len(turn) == OLD_PLATES else ""


def _emptied(ledger: Ledger, barcodes: Sequence[str]) -> list[str]:
    """Return those of some plates, which the sample tables know no more, whose contents were read there before.

    One that was taken out of its project is not shown to its people any more.
    """
    known = ledger.contents.of_plates(barcodes)
    return [barcode for barcode in barcodes if known(barcode, samples.EVERYWHERE).origin == ORIGIN]
