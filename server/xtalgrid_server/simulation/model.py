"""The model: imagers photograph wells, create_work packs them into units, hosts that come and go work them off.

What it leaves out: the network between server and hosts (`Scenario.unit_s` is all a unit costs beside its wells), and BOINC's
estimates of how much work a host should hold: a core takes one unit at a time.
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
"""Seconds until a host that was offered only what it has scored already looks again."""

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A lab. Times are seconds unless the name says otherwise.

    Parameters
    ----------
    imagers, well_s
        How many imagers, and the time from well to well of each (16.25, at most 5.19 for six: *Crystal search*, section 2.1).
    archive
        Wells that wait from the start; fresh ones go before them.
    hosts, cores
        Computers, and the cores each of them gives.
    core_s, spread
        Core-seconds of a well on the median host, and the standard deviation of its logarithm over hosts.
    unit_s
        What a unit costs a core beside its wells: start of the program, reading the networks.
    on_h, off_h
        Mean hours a host works and then does not (exponential); `off_h` 0: always on.
    poll_s
        A host asks for work again after a time between 0 and this.
    unit, archive_unit
        Wells in a unit.
    create_work_s
        From run to run of create_work.
    quorum, spot_checks
        Hosts that score each unit, and the part of the units that one more host scores.
    errors
        Part of the results that are lost or refused.
    deadline_h
        After so long without an answer a unit is sent to another host.
    days, warm_up_days
        How long is simulated; lags count after the warm-up.
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


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Parameters
    ----------
    photographed, scored, archive_scored
        Wells.
    lags
        Seconds from image to score of the fresh wells photographed after the warm-up and scored.
    waiting
        Fresh wells without a score at the end.
    archive_days
        When the archive was done; None: it was not, or there was none.
    busy
        Part of the cores' time (while on) that was worked.
    results
        Results that came, those too many and in vain among them.
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
        """The lag in seconds that this part of the wells does not exceed; NaN without wells."""
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
    """A host that is on and off by turns, each for an exponential time; it is asked for its state in the order of time."""

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
        """Seconds until it is on."""
        self.roll(now)
        return 0.0 if self.on or not self.off_s else self.until - now

    def needs(self, now: float, work: float) -> float:
        """Seconds from now, when it is on, until so much work is done; what was done before it went off is kept."""
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


def simulate(scenario: Scenario) -> Outcome:
    """Run a scenario; the same seed gives the same outcome."""
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
        self.outcome = Outcome()

    def run(self) -> Outcome:
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
        """Every so often, what was photographed since is packed; the last unit is as small as it comes."""
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
            if self._env.now > offered:  # it waited: it notices at its next question
                yield self._env.timeout(host.random.uniform(0, s.poll_s))
                if (asleep := host.wakes(self._env.now)) > 0:
                    self._offer(unit)  # it is off by now; another takes it
                    yield self._env.timeout(asleep)
                    continue
            if host.number in unit.tried and len(unit.tried) < s.hosts:
                self._offer(unit)  # a second opinion comes from another host
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
            return  # it came too late
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
    """The fewest hosts with which 95 % of the fresh wells, and all work that waits, are scored within `lag_s`; None: not even `most`.

    The archive, where there is one, has to be done within the scenario's days.
    """

    def enough(hosts: int) -> bool:
        done = simulate(dataclasses.replace(scenario, hosts=hosts))
        if scenario.archive and done.archive_days is None:
            return False
        allowed = scenario.imagers * (lag_s + scenario.create_work_s) / scenario.well_s
        return not scenario.imagers or (done.lag(0.95) <= lag_s and done.waiting <= allowed)

    high = 1
    while not enough(high):
        high *= 2
        if high > most:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
