"""How far `create_work` has read the imager database, kept in the ledger between its runs.

A watermark and a list of gaps record what has been read. A run reads everything newer than the watermark, newest first.
What it leaves unread at its limit becomes a gap, which later runs fill when there is nothing newer.

An imager's clock may be wrong. The watermark never passes now, so an inspection dated ahead hides no other; and
inspections are also read in the order of their ids, so that one dated long ago is not missed.

The archive is everything older than the look-back at the first run. Only ``--backfill`` reads it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec

from ..config import Config
from ..domain.images import ImageRow, Moment, just_after
from ..ledger.store import Ledger


class Gap(msgspec.Struct, frozen=True):
    """Inspections not read yet, between two moments, both excluded; None: no bound."""

    after: Moment | None
    before: Moment | None
    is_read_again: bool = False
    """Whether it may have been read before. Then images planned with whatever options are not planned again."""


class Archive(msgspec.Struct, frozen=True):
    """The images older than the look-back of the first run."""

    before: Moment | None
    """Moment down to which inspections have been read; None: all have been."""
    images: int
    """Number of images in the archive at the first run."""
    read: int = 0


class Progress(msgspec.Struct, frozen=True):
    """How far the imager database has been read: up to `newest`, except for the gaps and the archive."""

    newest: Moment | None = None
    gaps: tuple[Gap, ...] = ()
    archive: Archive | None = None
    first_id: int | None = None
    """Highest id of an inspection at the first run; those after it are read by id too. None: not known yet."""
    last_id: int = 0
    """Highest id of an inspection that was read by id."""
    looked_at: Moment | None = None
    """Moment down to which files of older inspections were looked at; None: the next run begins with the newest."""
    is_searched: bool = False
    """Whether rows without a date or a name were looked for, once; those entered later are found by id."""


def archive(config: Config, ledger: Ledger) -> Archive | None:
    """Return the progress of the archive's back-fill; None before the first run, or if there is no archive."""
    return load_progress(ledger, progress_key(config)).archive


def reopen(config: Config, ledger: Ledger, entered: list[ImageRow]) -> None:
    """Add a gap for images that were just imported with dates before the watermark, so that they are read."""
    key = progress_key(config)
    progress = load_progress(ledger, key)
    if not entered or progress.newest is None:
        return
    first, last = min(row.moment for row in entered), max(row.moment for row in entered)
    after = Moment(first.inspected, first.inspect_id - 1)
    before = min(just_after(last), just_after(progress.newest))
    if after < before and Gap(after, before) not in progress.gaps:
        save_progress(ledger, key, msgspec.structs.replace(progress, gaps=(*progress.gaps, Gap(after, before))))


def progress_key(config: Config) -> str:
    """Return the key of the saved progress; other patterns or lights find other images, so they start anew."""
    lights = [f"{light} {name}" for light, names in config.imager.light.items() for name in names]
    patterns = "\n".join((*config.imager.patterns, "", *config.imager.exclude, *lights))
    return f"{config.imager.source} {hashlib.sha256(patterns.encode()).hexdigest()[:16]}"


def not_beyond(latest: datetime, progress: Progress) -> Progress:
    """Return progress that an inspection dated ahead did not lead astray.

    Earlier versions let it: they then passed over everything dated before, which this has read again, once.
    """
    if progress.newest is None or progress.first_id is not None:
        return progress
    newest = min(progress.newest, Moment(latest, 0))
    passed_over = Gap(progress.archive.before if progress.archive else None, newest, is_read_again=True)
    return msgspec.structs.replace(progress, newest=newest, gaps=(*progress.gaps, passed_over))


def load_progress(ledger: Ledger, key: str) -> Progress:
    """Return the saved progress; an empty one before the first run."""
    state = ledger.watermark(key)
    return msgspec.json.decode(state, type=Progress) if state else Progress()


def save_progress(ledger: Ledger, key: str, progress: Progress) -> None:
    """Save the progress."""
    ledger.set_watermark(key, msgspec.json.encode(progress).decode())
