"""``xtalgrid boinc status``: whether work goes out and comes back, who does it, and what needs a person."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ...domain.times import in_words
from ...imager.crystaltrak.database import ImagerDatabase
from ...ledger.store import Ledger
from .database import AppVersion, Counts, HostAccount
from .grid import BoincGrid
from .health import Problem, problems
from .install import PLATFORMS
from .names import workunit_name

_DAY = 86400


@dataclass(frozen=True, slots=True)
class FailingHost:
    """A host with invalid results or errors; `seen` is in UTC."""

    id: int
    name: str
    system: str
    valid: int
    invalid: int
    errors: int
    seen: datetime


@dataclass(frozen=True, slots=True)
class BoincStatus:
    """The state of the project and what needs a person.

    Attributes
    ----------
    at, waiting_since
        Now, and since when the oldest unit is on its way, in UTC.
    results_waiting, refusals_waiting
        Numbers of results and refusals that the next `xtalgrid assimilate` reads.
    newest_inspected, newest_scored
        The newest inspection, and the newest with a score, in the imager's naive local time; none dated ahead of now.
    hosts, hosts_within_a_day
        Numbers of hosts that have had work, and of those that were seen within a day.
    failed_units
        Reasons by name.
    lost_units
        Names; see `lost_units`.
    app_versions
        Those that are registered and not deprecated.
    problems
        What keeps the project from working.
    """

    at: datetime
    project: str
    work: Counts
    results_waiting: int
    refusals_waiting: int
    newest_inspected: datetime | None
    newest_scored: datetime | None
    waiting_since: datetime | None
    hosts: int
    hosts_within_a_day: int
    failing_hosts: tuple[FailingHost, ...]
    failed_units: dict[str, str]
    lost_units: tuple[str, ...]
    app_versions: tuple[AppVersion, ...]
    problems: tuple[Problem, ...]


def lost_units(ledger: Ledger, grid: BoincGrid) -> list[str]:
    """Return units that BOINC is done with but whose result never reached the ledger.

    This happens when a spool is restored from a backup, for example.
    """
    sent = ledger.units.attempts("sent")
    done = grid.database.assimilated()
    waiting = grid.waiting({unit: attempt for unit, (_, attempt) in sent.items()})
    missing = [u for u, (_, attempt) in sent.items() if workunit_name(u, attempt) in done and u not in waiting]
    still = ledger.units.attempts("sent") if missing else {}  # without those assimilated in the meantime
    return [unit for unit in missing if unit in still]


def boinc_status(
    ledger: Ledger,
    imager: ImagerDatabase,
    grid: BoincGrid,
    now: float | None = None,
    assimilated_ago: float | None = None,
) -> BoincStatus:
    """Read the state of the project at `now`, in seconds since 1970; `assimilated_ago`: see `health.task_problems`."""
    now = time.time() if now is None else now
    at, since = datetime.fromtimestamp(now, UTC), ledger.units.under_way_since()
    hosts, versions = grid.database.hosts(), grid.database.app_versions()
    return BoincStatus(
        at=at,
        project=str(grid.project.folder),
        work=grid.database.counts(now),
        results_waiting=sum(1 for _ in grid.results()),
        refusals_waiting=sum(1 for _ in grid.refused()),
        newest_inspected=imager.newest_inspection(),
        newest_scored=ledger.scores.newest_inspection(imager.latest_date()),
        waiting_since=since and since.replace(tzinfo=UTC),
        hosts=len(hosts),
        hosts_within_a_day=sum(now - host.seen < _DAY for host in hosts),
        failing_hosts=tuple(_failing(host) for host in hosts if host.invalid or host.errors),
        failed_units={unit.name: unit.detail for unit in ledger.units.failed()},
        lost_units=tuple(lost_units(ledger, grid)),
        app_versions=tuple(versions),
        problems=tuple(problems(grid.project, grid.home, versions, assimilated_ago)),
    )


def _failing(host: HostAccount) -> FailingHost:
    return FailingHost(
        id=host.id,
        name=host.name,
        system=host.system,
        valid=host.valid,
        invalid=host.invalid,
        errors=host.errors,
        seen=datetime.fromtimestamp(host.seen, UTC),
    )


def boinc_status_lines(status: BoincStatus) -> Iterator[str]:
    """Format the state of the project as text."""
    work = status.work
    yield f"project     {status.project}"
    yield (
        f"BOINC       {work.unsent} unsent, {work.in_progress} in progress ({work.overdue} overdue), "
        f"{work.to_validate} to validate, {work.to_assimilate} to assimilate, {work.in_error} in error"
    )
    yield (
        f"inbox       {status.results_waiting} results and {status.refusals_waiting} refusals "
        "wait for `xtalgrid assimilate`"
    )
    yield _lag(status.newest_inspected, status.newest_scored)
    if status.waiting_since is not None:
        yield f"oldest      unit in progress for {in_words((status.at - status.waiting_since).total_seconds())}"
    yield _apps(status.app_versions)
    yield f"hosts       {status.hosts} have had work, {status.hosts_within_a_day} of them seen within a day"
    for host in status.failing_hosts:
        yield (
            f"host {host.id:<6} {host.name} ({host.system}): {host.invalid} invalid, {host.errors} errors, "
            f"{host.valid} valid; seen {in_words((status.at - host.seen).total_seconds())} ago"
        )
    for name, reason in status.failed_units.items():
        yield f"failed unit {name}: {reason}"
    for name in status.lost_units:
        yield f"lost unit   {name}: BOINC has finished it, but no result arrived"
    if status.lost_units or status.failed_units:
        yield "to do       `xtalgrid boinc retry` sends failed and lost units out again"
    for problem in status.problems:
        yield f"ATTENTION   {problem.what}"
        yield f"to do       {problem.remedy}"


def _apps(versions: tuple[AppVersion, ...]) -> str:
    """Name the newest version for each platform, and the platforms without one."""
    newest = {version.platform: version.name for version in reversed(versions) if version.is_signed}
    present = ", ".join(f"{newest[platform]} for {platform}" for platform in sorted(newest))
    absent = ", ".join(platform for platform in PLATFORMS if platform not in newest)
    return f"apps        {present or 'none'}" + (f"; none for {absent}" if absent else "")


def _lag(newest: datetime | None, scored: datetime | None) -> str:
    if newest is None:
        return "lag         the imager database has no image that matches imager.patterns"
    if scored is None:
        return f"lag         newest inspection {newest:%Y-%m-%d %H:%M}; none is scored yet"
    behind = max((newest - scored).total_seconds(), 0.0)
    return (
        f"lag         {in_words(behind)}: newest inspection {newest:%Y-%m-%d %H:%M}, "
        f"newest scored {scored:%Y-%m-%d %H:%M}"
    )
