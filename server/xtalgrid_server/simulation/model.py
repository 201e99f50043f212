"""Simulate a lab: imagers photograph wells, create_work packs them into units, and hosts that come and go score them.

Not simulated: the network between server and hosts (`Scenario.unit_s` is a unit's only overhead), and BOINC's estimates
of how much work to send to a host: each core takes one unit at a time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

HOUR = 3600.0
DAY = 24 * HOUR

_FRESH, _ARCHIVE = 0, 1
_PATIENCE = 10.0
"""Minimum seconds before a host that was offered a unit it has already scored asks again."""

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A lab to simulate. Times are in seconds unless the name says otherwise.

    Parameters
    ----------
    imagers, well_s
        Number of imagers, and time per well of each (16.25, at most 5.19 for six: *Crystal search*, section 2.1).
    archive
        Number of wells that wait from the start; fresh ones have priority.
    hosts, cores
        Number of computers, and of cores that each contributes.
    core_s, spread
        Core-seconds per well: median over the hosts, and standard deviation of the natural logarithm.
    unit_s
        Overhead of a unit: starting the program and loading the networks.
    on_h, off_h
        Mean hours for which a host is on and off, in turn (exponentially distributed); `off_h` 0: always on.
    poll_s
        Maximum time until an idle host asks for work again (uniformly distributed).
    unit, archive_unit
        Wells per unit of fresh images and of the archive.
    create_work_s
        Interval between runs of create_work.
    quorum, spot_checks
        Number of hosts that score each unit, and fraction of the units that one more host scores.
    errors
        Fraction of the results that are lost or rejected.
    deadline_h
        Time without a result after which a unit is sent to another host.
    days, warm_up_days
        Time to simulate, and the time at its start from which no lags are counted.
    seed
        Seed of the random numbers.
    """

    imagers: int = 1
    well_s: float = 16.25
    archive: int = 0
    hosts: int = 1
    cores: int = 1
    core_s: float = 0.33
    spread: float = 0.0
    unit_s: float = 1.5
    on_h: float = 8.0
    off_h: float = 0.0
    poll_s: float = 60.0
    unit: int = 100
    archive_unit: int = 1000
    create_work_s: float = 300.0
    quorum: int = 1
    spot_checks: float = 0.0
    errors: float = 0.0
    deadline_h: float = 24.0
    days: float = 2.0
    warm_up_days: float = 0.0
    seed: int = 0

    @property
    def fewest_hosts(self) -> int:
        """Number of hosts that some unit needs: none is given the same unit twice."""
        return self.quorum + (self.spot_checks > 0)


@dataclass(slots=True)
class Simulated:
    """Result of a simulation.

    Attributes
    ----------
    photographed, scored, archive_scored
        Number of wells photographed, scored, and scored from the archive.
    lags
        Seconds from image to score, ``(N,)``, for the scored wells that were photographed after the warm-up.
    waiting
        Number of fresh wells without a score at the end.
    archive_days
        Days until the archive was done; None if it was not done or there was none.
    busy
        Fraction of the time that cores were on in which they worked, 0..1.
    results
        Number of results received, including surplus and rejected ones.
    """

    photographed: int = 0
    scored: int = 0
    archive_scored: int = 0
    lags: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    waiting: int = 0
    archive_days: float | None = None
    busy: float = 0.0
    results: int = 0

    def lag(self, part: float) -> float:
        """Return the quantile `part`, 0..1, of the lags, in seconds; NaN if there are none."""
        return float(np.quantile(self.lags, part)) if len(self.lags) else math.nan


@dataclass(slots=True)
class _Unit:
    wells: int
    archive: bool
    first: float
    last: float
    needed: int
    """Results still needed."""
    tried: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Host:
    """Host that is on and off in turn, for exponentially distributed times.

    Call its methods in the order of simulated time: they move its state forward.
    """

    number: int
    core_s: float
    random: np.random.Generator
    on_s: float
    off_s: float
    on: bool = True
    until: float = 0.0

    def roll(self, now: float) -> None:
        while self.until <= now and self.off_s:
            self.on = not self.on
            self.until += self.random.exponential(self.on_s if self.on else self.off_s)

    def wakes(self, now: float) -> float:
        """Return the seconds until the host is on."""
        self.roll(now)
        return 0.0 if self.on or not self.off_s else self.until - now

    def needs(self, now: float, work: float) -> float:
        """Return the seconds until `work` seconds of work are done, if begun now, with the host on.

        Work done before the host goes off is kept.
        """
        if not self.off_s:
            return work
        self.roll(now)
        at = now
        while at + work > self.until or not self.on:
            if self.on:
                work -= self.until - at
            at = self.until
            self.roll(at)
        return at + work - now


def simulate(scenario: Scenario) -> Simulated:
    """Run a scenario; the same seed gives the same result."""
    return _Lab(scenario).run()


class _Lab:
    def __init__(self, scenario: Scenario) -> None:
        self._s = scenario
        self._env = simpy.Environment()
        self._queue = simpy.PriorityStore(self._env)
        self._random = np.random.default_rng(scenario.seed)
        self._order = 0
        self._photographed_until = 0
        self._lags: list[npt.NDArray[np.float64]] = []
        self._worked = 0.0
        self.outcome = Simulated()

    def run(self) -> Simulated:
        s, end = self._s, self._s.days * DAY
        self._env.process(self._create_work())
        self._plan_archive()
        on_part = s.on_h / (s.on_h + s.off_h)
        for number in range(s.hosts):
            random = np.random.default_rng((s.seed, number))
            host = _Host(number, s.core_s * math.exp(s.spread * random.normal()), random, s.on_h * HOUR, s.off_h * HOUR)
            host.on = random.random() < on_part
            host.until = random.exponential(host.on_s if host.on else host.off_s) if s.off_h else math.inf
            for _ in range(s.cores):
                self._env.process(self._core(host))
        self._env.run(until=end)
        done = self.outcome
        done.photographed = round(s.imagers * end / s.well_s) if s.imagers else 0
        done.waiting = done.photographed - (done.scored - done.archive_scored)
        done.lags = np.concatenate(self._lags) if self._lags else np.zeros(0)
        done.busy = self._worked / (s.hosts * s.cores * end * on_part)
        return done

    def _plan_archive(self) -> None:
        s = self._s
        for start in range(0, s.archive, s.archive_unit):
            self._put(_Unit(min(s.archive_unit, s.archive - start), True, 0.0, 0.0, self._needed()))

    def _create_work(self) -> Process:
        """Pack the wells photographed since the last run at regular intervals; the last unit may be small."""
        s = self._s
        rate = s.imagers / s.well_s
        while True:
            yield self._env.timeout(s.create_work_s)
            now = int(self._env.now * rate)
            for start in range(self._photographed_until, now, s.unit):
                end = min(start + s.unit, now)
                self._put(_Unit(end - start, False, (start + 1) / rate, end / rate, self._needed()))
            self._photographed_until = now

    def _needed(self) -> int:
        return self._s.quorum + bool(self._random.random() < self._s.spot_checks)

    def _put(self, unit: _Unit) -> None:
        for _ in range(unit.needed):
            self._offer(unit)

    def _offer(self, unit: _Unit) -> None:
        self._order += 1
        self._queue.put(simpy.PriorityItem((_ARCHIVE if unit.archive else _FRESH, self._order), unit))

    def _core(self, host: _Host) -> Process:
        s = self._s
        while True:
            if (asleep := host.wakes(self._env.now)) > 0:
                yield self._env.timeout(asleep)
            offered = self._env.now
            item = yield self._queue.get()
            unit: _Unit = item.item
            if self._env.now > offered:  # the host had no work: it learns of the unit when it next asks
                yield self._env.timeout(host.random.uniform(0, s.poll_s))
                if (asleep := host.wakes(self._env.now)) > 0:
                    self._offer(unit)  # the host is off by now; another takes the unit
                    yield self._env.timeout(asleep)
                    continue
            if host.number in unit.tried and len(unit.tried) < s.hosts:
                self._offer(unit)  # each result of a unit must come from a different host
                yield self._env.timeout(max(s.poll_s, _PATIENCE))
                continue
            unit.tried.add(host.number)
            work = s.unit_s + unit.wells * host.core_s
            seconds = host.needs(self._env.now, work)
            if seconds > s.deadline_h * HOUR:
                self._env.process(self._late(unit))
            yield self._env.timeout(seconds)
            self._worked += work
            self._answer(unit, host)

    def _late(self, unit: _Unit) -> Process:
        yield self._env.timeout(self._s.deadline_h * HOUR)
        if unit.needed > 0:
            self._offer(unit)

    def _answer(self, unit: _Unit, host: _Host) -> None:
        self.outcome.results += 1
        if unit.needed <= 0:
            return  # too late: enough other results have come
        if host.random.random() < self._s.errors:
            self._offer(unit)
            return
        unit.needed -= 1
        if unit.needed:
            return
        now, done = self._env.now, self.outcome
        done.scored += unit.wells
        if unit.archive:
            done.archive_scored += unit.wells
            if done.archive_scored == self._s.archive:
                done.archive_days = now / DAY
        elif unit.first >= self._s.warm_up_days * DAY:
            self._lags.append(now - np.linspace(unit.first, unit.last, unit.wells))


def hosts_needed(scenario: Scenario, lag_s: float, most: int = 20_000) -> int | None:
    """Find the smallest number of hosts that keeps up with the imagers.

    Parameters
    ----------
    scenario
        The lab; its `hosts` is ignored.
    lag_s
        Maximum lag of 95 % of the fresh wells, in seconds. At the end, no more wells may wait than are photographed in
        this time and an interval of create_work. An archive must be done within the scenario's days.
    most
        Maximum number of hosts to try.

    Returns
    -------
    The number of hosts; None if no number tried is enough.
    """

    def enough(hosts: int) -> bool:
        done = simulate(dataclasses.replace(scenario, hosts=hosts))
        if scenario.archive and done.archive_days is None:
            return False
        allowed = scenario.imagers * (lag_s + scenario.create_work_s) / scenario.well_s
        return not scenario.imagers or (done.lag(0.95) <= lag_s and done.waiting <= allowed)

    low, high = scenario.fewest_hosts - 1, scenario.fewest_hosts
    while not enough(high):
        low, high = high, high * 2
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
