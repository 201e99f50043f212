"""``status``: the state of the pipeline and what needs a person, on one screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from xtalgrid_core.lines import first_lines
from xtalgrid_core.outcomes import Outcome

from ..config import Config
from ..domain.images import FIRST_IMAGED
from ..domain.light import dark_line, passed_over_line
from ..grids.local import LocalGrid
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.store import Ledger
from ..steps.account import Account, Unscored, account, account_lines
from ..steps.progress import archive
from ..steps.promote import compared_otherwise
from ..steps.step import LastRun, Pause, Running, hanging, is_locked, last_runs, paused

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Backfill:
    """How much of the archive was read; its inspections of `back_to` and later were."""

    images: int
    read: int
    back_to: date


@dataclass(frozen=True, slots=True)
class DatedInspection:
    """An inspection of a plate, its date (naive local time of the imager), and the number of its images."""

    barcode: str
    inspection: int
    inspected: datetime
    images: int


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the pipeline.

    Attributes
    ----------
    paused
        Who paused it and when; None if it runs.
    hanging
        Runs of steps that have taken more than a day.
    last_runs
        The newest run of each step that ran here.
    compared_otherwise
        How the comparison of the models in use differs from how new work is scored; empty: in no way that counts.
    without_workers
        Number of units that wait while no local grid runs.
    weights_away
        Which weights the unit that has waited longest lacks, as while a share is off; None if none.
    units, results, scores, decisions
        Numbers of work units by state, of results by verdict, of scores by outcome, and of newest decisions by action.
    held
        Number of scores that wait for ``approve`` or ``reject``: of those with the decision hold, the ones that nobody
        has reviewed since.
    rows_written
        Rows in the score table that are ours.
    archive
        None unless a part of the archive is unread.
    failed_units
        Reasons by name.
    no_score
        What failed, as in `account`.
    account
        Where every image and file stands.
    lights
        Numbers of images that are not scored for their light, by reason (`domain.light`).
    looking_like_uv
        Number of images with an undecided score because they are dark, as in UV light.
    not_compared
        Numbers of crystals of which `look_again` could not read a picture, by reason.
    outdated
        Number of images that are undecided now, while the score table has an ARTscore of before, and nobody scored.
    dated_ahead
        Inspections of plates dated ahead of now, which an imager's clock or ``imager.time_zone`` explains.
    dated_before
        Those dated before there were imagers, as by a clock that had lost its time.
    """

    paused: Pause | None
    hanging: tuple[Running, ...]
    last_runs: tuple[LastRun, ...]
    compared_otherwise: str
    without_workers: int
    weights_away: str | None
    units: dict[str, int]
    results: dict[str, int]
    scores: dict[str, int]
    decisions: dict[str, int]
    held: int
    rows_written: int
    archive: Backfill | None
    failed_units: dict[str, str]
    no_score: tuple[Unscored, ...]
    account: Account
    outdated: int
    dated_ahead: tuple[DatedInspection, ...]
    dated_before: tuple[DatedInspection, ...]
    lights: dict[str, int]
    looking_like_uv: int
    not_compared: dict[str, int]


def status(config: Config, ledger: Ledger, imager: ImagerDatabase) -> Status:
    """Read the state of the pipeline from the ledger, and the account of an embedded imager database."""
    counts, old = ledger.counts(), archive(config, ledger)
    counted = account(config, ledger, imager)
    latest = config.imager.latest_date()
    is_local, grid = config.grid.kind == "local", LocalGrid(config)
    waiting = grid.waiting() if is_local else []
    return Status(
        paused=paused(ledger),
        hanging=hanging(config),
        last_runs=last_runs(config),
        compared_otherwise=compared_otherwise(config, ledger),
        without_workers=len(waiting) if is_local and not is_locked(config, "grid") else 0,
        weights_away=grid.lacks(waiting[0]) if waiting else None,
        units=_all(counts["units"], ("planned", "sent", "returned", "failed")),
        results=_all(counts["results"], ("accepted", "refused")),
        scores=_all(counts["scores"], tuple(Outcome)),
        decisions=_all(counts["actions"], ("publish", "hold", "keep", "shadow", "reject", "none")),
        held=len(ledger.decisions.held()),
        rows_written=counts["published"]["rows"],
        archive=Backfill(old.images, old.read, old.before.inspected.date()) if old and old.before else None,
        failed_units={unit.name: unit.detail for unit in ledger.units.failed()},
        no_score=counted.failures,
        account=counted,
        outdated=ledger.publications.outdated(config.imager.programs),
        dated_ahead=tuple(DatedInspection(*plate) for plate in ledger.images.inspected(after=latest)),
        dated_before=tuple(DatedInspection(*plate) for plate in ledger.images.inspected(before=FIRST_IMAGED)),
        lights=ledger.passed_over.counts(),
        looking_like_uv=ledger.scores.looking_like_uv(),
        not_compared=ledger.looks.unread(),
    )


def _all(counts: dict[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return {str(name): counts.get(name, 0) for name in names}


def status_lines(status: Status) -> Iterator[str]:
    """Format the state of the pipeline as text."""
    yield f"system      {status.paused or 'running'}"
    yield from _run_lines(status)
    first, *others = account_lines(status.account)
    yield f"account     {first}"
    yield from others
    if status.last_runs:
        yield f"last runs   {', '.join(f'{run.name} {run.ago}' for run in status.last_runs)}"
    if status.compared_otherwise:
        yield f"models      {status.compared_otherwise}"
    yield f"units       {_pairs(status.units)}"
    yield from _grid_lines(status)
    yield f"results     {_pairs(status.results)}"
    yield f"scores      {_pairs(status.scores)}"
    yield f"decisions   {_pairs(status.decisions)}"
    yield f"score table {status.rows_written} rows written"
    if (old := status.archive) is not None:
        done = f"{old.read} of {old.images} images read ({old.read / max(old.images, 1):.1%})"
        yield f"archive     {done}, back to {old.back_to}; `xtalgrid create_work --backfill` continues"
    for name, reason in status.failed_units.items():
        yield f"failed unit {name}: {reason}; `xtalgrid create_work --retry` plans its images again"
    without = [f"{one.file}: {one.reason} ({one.detail})" for one in status.no_score]
    yield from first_lines(without, _SHOWN, start="no score    ")
    yield from _date_lines(status)
    for reason, number in status.lights.items():
        yield passed_over_line(reason, number)
    if number := status.looking_like_uv:
        yield f"like UV     {dark_line(number)}"
    yield from _person_lines(status)


def _date_lines(status: Status) -> Iterator[str]:
    for plate in status.dated_ahead:
        yield (
            f"ahead       plate {plate.barcode} inspection {plate.inspection} ({plate.images} images) is dated "
            f"{plate.inspected:%Y-%m-%d %H:%M}; check the imager's clock and imager.time_zone"
        )
    for plate in status.dated_before:
        yield (
            f"lost clock  plate {plate.barcode} inspection {plate.inspection} ({plate.images} images) is dated "
            f"{plate.inspected:%Y-%m-%d %H:%M}; check the imager's clock; it goes by its number instead"
        )


def _person_lines(status: Status) -> Iterator[str]:
    """Format what needs a person."""
    if why := status.not_compared:
        number = sum(why.values())
        yield (
            f"look again  {number} crystal{' is' if number == 1 else 's are'} not compared, since a picture can't be "
            f"read: {_pairs(why)}; the log names the files; `xtalgrid look_again --all` compares those that are back"
        )
    if number := status.outdated:
        yield (
            f"outdated    {number} image{' is' if number == 1 else 's are'} undecided now, and the score table still "
            "has the earlier ARTscore: score them in the viewer, whose inbox lists what is undecided"
        )
    if status.held:
        yield (
            f"to review   {status.held} held scores: see the newest CSV in the outbox, "
            "then `xtalgrid approve` or `xtalgrid reject`"
        )


def _grid_lines(status: Status) -> Iterator[str]:
    if why := status.weights_away:
        yield f"no weights  the oldest unit waits: {why}; bring the folder back, or restore it from a backup"
    elif number := status.without_workers:
        yield f"no workers  {number} unit{' waits' if number == 1 else 's wait'}, and no grid runs: `xtalgrid grid`"


def _run_lines(status: Status) -> Iterator[str]:
    for running in status.hanging:
        yield f"hanging     {running}"
    for run in status.last_runs:
        if run.error:
            yield f"stopped     {run.name} at {run.ended:%Y-%m-%d %H:%M} UTC, and not done since: {run.error}"


def _pairs(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "none yet"
