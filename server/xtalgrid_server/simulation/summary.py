"""The figures of a simulation that `xtalgrid simulate` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .model import DAY, Scenario, Simulated


@dataclass(frozen=True, slots=True)
class Lag:
    """Minutes from image to score."""

    median: float
    percent_95: float
    longest: float


@dataclass(frozen=True, slots=True)
class Fresh:
    """Wells photographed, and those of them without a score at the end; `lag` is None if no lag counts."""

    photographed: int
    a_day: float
    waiting: int
    lag_minutes: Lag | None


@dataclass(frozen=True, slots=True)
class Archive:
    """Wells of the archive; `days` is None if it was not finished."""

    wells: int
    scored: int
    days: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A scenario and what it led to; `busy` is the fraction of the time that cores were on in which they worked."""

    scenario: Scenario
    busy: float
    fresh: Fresh | None
    archive: Archive | None


def summary(scenario: Scenario, done: Simulated) -> Summary:
    """Sum up a simulation; `fresh` is None without imagers, `archive` without an archive."""
    lag = Lag(*(done.lag(part) / 60 for part in (0.5, 0.95, 1))) if len(done.lags) else None
    rate = scenario.imagers * DAY / scenario.well_s
    return Summary(
        scenario=scenario,
        busy=done.busy,
        fresh=Fresh(done.photographed, rate, done.waiting, lag) if scenario.imagers else None,
        archive=Archive(scenario.archive, done.archive_scored, done.archive_days) if scenario.archive else None,
    )


def lines(told: Summary) -> Iterator[str]:
    """Format the figures for people."""
    scenario = told.scenario
    computers = "1 computer" if scenario.hosts == 1 else f"{scenario.hosts} computers"
    yield f"{computers}, {scenario.days:g} days: cores busy {told.busy:.0%} of the time they are on"
    if (fresh := told.fresh) is not None:
        yield (
            f"fresh      {fresh.photographed} wells ({fresh.a_day:.0f} a day), "
            f"{fresh.waiting} without a score at the end"
        )
        if (lag := fresh.lag_minutes) is not None:
            yield (
                f"lag        median {lag.median:.1f}, 95 % {lag.percent_95:.1f}, longest {lag.longest:.1f} minutes "
                "from image to score"
            )
    if (archive := told.archive) is not None:
        when = "not finished" if archive.days is None else f"finished after {archive.days:.1f} days"
        yield f"archive    {archive.scored} of {archive.wells} wells scored, {when}"
