"""``xtalgrid boinc status``: whether work goes out and comes back, who does it, and what needs a person."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from ...imager.crystaltrak.database import ImagerDatabase
from ...ledger.store import Ledger
from .database import HostAccount
from .grid import BoincGrid
from .names import workunit_name

_DAY = 86400


def lost_units(ledger: Ledger, grid: BoincGrid) -> list[str]:
    """Return units that BOINC is done with but whose result never reached the ledger.

    This happens when a spool is restored from a backup, for example.
    """
    sent = ledger.units.attempts("sent")
    done = grid.database.assimilated()
    waiting = grid.waiting()
    missing = [u for u, (_, attempt) in sent.items() if workunit_name(u, attempt) in done and u not in waiting]
    still = ledger.units.attempts("sent") if missing else {}  # without those assimilated in the meantime
    return [unit for unit in missing if unit in still]


def boinc_status(ledger: Ledger, imager: ImagerDatabase, grid: BoincGrid, now: float | None = None) -> Iterator[str]:
    """Yield the lines of the status screen; `now` is in seconds since 1970."""
    now = time.time() if now is None else now
    counts = grid.database.counts(now)
    yield f"project     {grid.project.folder}"
    yield (
        f"BOINC       {counts.unsent} unsent, {counts.in_progress} in progress ({counts.overdue} overdue), "
        f"{counts.to_validate} to validate, {counts.to_assimilate} to assimilate, {counts.in_error} in error"
    )
    waiting = sum(1 for _ in grid.results()), sum(1 for _ in grid.refused())
    yield f"inbox       {waiting[0]} results and {waiting[1]} refusals wait for `xtalgrid assimilate`"
    yield from _lag(ledger, imager, now)
    yield from _hosts(grid.database.hosts(), now)
    failed = ledger.units.in_states("failed")
    for unit in failed:
        yield f"failed unit {unit.name}: {unit.detail}"
    lost = lost_units(ledger, grid)
    for name in lost:
        yield f"lost unit   {name}: BOINC has done with it, and no result is here"
    if lost or failed:
        yield "to do       `xtalgrid boinc retry` sends failed and lost units out again"


def _lag(ledger: Ledger, imager: ImagerDatabase, now: float) -> Iterator[str]:
    newest = next((group[0].inspected for group in imager.newest_first(None, None)), None)
    scored = ledger.scores.newest_inspection()
    if newest is None:
        yield "lag         the imager database has no image that fits imager.patterns"
    elif scored is None:
        yield f"lag         newest inspection {newest:%Y-%m-%d %H:%M}; none is scored yet"
    else:
        hours = max((newest - scored).total_seconds(), 0) / 3600
        yield (
            f"lag         {hours:.1f} h: newest inspection {newest:%Y-%m-%d %H:%M}, "
            f"newest scored {scored:%Y-%m-%d %H:%M}"
        )
    since = ledger.units.under_way_since()
    if since is not None:
        hours = (datetime.fromtimestamp(now, UTC).replace(tzinfo=None) - since).total_seconds() / 3600
        yield f"oldest      unit on its way for {hours:.1f} h"


def _hosts(hosts: list[HostAccount], now: float) -> Iterator[str]:
    seen = sum(now - host.seen < _DAY for host in hosts)
    yield f"hosts       {len(hosts)} have had work, {seen} of them seen within a day"
    for host in hosts:
        if host.invalid or host.errors:
            hours = (now - host.seen) / 3600
            yield (
                f"host {host.id:<6} {host.name} ({host.system}): {host.invalid} invalid, {host.errors} errors, "
                f"{host.valid} valid; seen {hours:.1f} h ago"
            )
