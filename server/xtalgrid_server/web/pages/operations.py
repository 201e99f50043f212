"""The state of the pipeline: for the operations page, for the line above the plates, and for Prometheus."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ...config import Config
from ...imager.crystaltrak.database import ImagerDatabase
from ...ledger.database import now
from ...ledger.scores import HostWork
from ...ledger.store import Ledger
from ...steps.account import Account, Unscored, account
from ...steps.step import LastRun, Pause, last_runs, paused
from ..cache.imager import ImagerQuestions

_CACHE_SECONDS = 15.0
_SHOWN_FAILURES = 50
SHOWN_HELD = 200
"""Held scores on the page, the newest."""


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """The state of the pipeline at one moment.

    Attributes
    ----------
    imaged, scored
        The imager's newest inspection, as last known, and the newest scored one, in the imager's local time; None if
        there is none.
    waiting
        Images in units that have not been returned yet.
    oldest_seconds
        Age of the oldest of those units; None if there is none.
    counts
        As in `Ledger.counts`.
    scores_hour, scores_day
        Scores that arrived in the last hour and in the last 24 hours.
    hosts
        The computers that sent results in the last 24 hours.
    account
        Where every image and file stands; the same as in ``xtalgrid status``.
    held
        The ids of the scores that wait for approval, newest first.
    paused
        Who paused the system and when; None while it runs.
    last_runs
        The newest run of each step of the chain.
    read_at
        When this was read, on the monotonic clock.
    """

    imaged: datetime | None
    scored: datetime | None
    waiting: int
    oldest_seconds: float | None
    counts: dict[str, dict[str, int]]
    scores_hour: int
    scores_day: int
    hosts: list[HostWork]
    account: Account
    held: list[int]
    paused: Pause | None
    last_runs: tuple[LastRun, ...]
    imager_error: str = ""
    read_at: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> dict[str, int]:
        """What failed, counted by reason."""
        return dict(collections.Counter(one.reason for one in self.account.failures))

    @property
    def newest_failures(self) -> list[Unscored]:
        """The newest of what failed."""
        return list(reversed(self.account.failures[-_SHOWN_FAILURES:]))

    @property
    def behind(self) -> float | None:
        """Seconds between the newest scored inspection and the imager's newest one; None if either is unknown."""
        if self.imaged is None or self.scored is None:
            return None
        return max((self.imaged - self.scored).total_seconds(), 0.0)


class PipelineMonitor(Collector):
    """Reads the state of the pipeline, every fifteen seconds at most, and counts this viewer's responses."""

    def __init__(self, config: Config, ledger: Ledger, imager: ImagerDatabase, questions: ImagerQuestions) -> None:
        self._config, self._ledger, self._imager, self._questions = config, ledger, imager, questions
        self._status: PipelineStatus | None = None
        self._lock = threading.Lock()
        self.registry = CollectorRegistry()
        self._responses = Counter(
            "xtalgrid_viewer_answers", "Responses of the viewer", ["status"], registry=self.registry
        )
        self._seconds = Histogram(
            "xtalgrid_viewer_seconds",
            "Seconds until a response of the viewer was sent",
            ["kind"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.registry.register(self)

    def count_response(self, path: str, status: int, seconds: float) -> None:
        """Count a response."""
        known = ("plate", "well", "thumbnail", "image", "map", "static", "inbox", "operations", "corrections")
        kind = path.split("/")[1]
        self._responses.labels(f"{status // 100}xx").inc()
        self._seconds.labels(kind if kind in known else "other").observe(seconds)

    def status(self) -> PipelineStatus:
        """Return the state of the pipeline, at most fifteen seconds old."""
        with self._lock:
            if self._status is None or time.monotonic() - self._status.read_at > _CACHE_SECONDS:
                self._status = self._read()
            return self._status

    def forget(self) -> None:
        """Read the state again next time, because a person changed it."""
        with self._lock:
            self._status = None

    def _read(self) -> PipelineStatus:
        imager, ledger = self._questions.state(), self._ledger
        since = ledger.units.under_way_since()
        hour, _ = ledger.scores.throughput(1)
        day, hosts = ledger.scores.throughput(24)
        return PipelineStatus(
            imaged=imager.imaged,
            scored=ledger.scores.newest_inspection(self._imager.latest_date()),
            waiting=ledger.units.images_under_way(),
            oldest_seconds=None if since is None else (now() - since).total_seconds(),
            counts=ledger.counts(),
            scores_hour=hour,
            scores_day=day,
            hosts=hosts,
            account=account(self._config, ledger, self._imager),
            held=ledger.decisions.held(),
            paused=paused(self._ledger),
            last_runs=last_runs(self._config),
            imager_error=imager.problem,
        )

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that registering the collector reads nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the pipeline's figures for Prometheus."""
        status = self.status()
        for name, text, value in (
            ("lag_seconds", "How far the newest scored inspection is behind the imager's newest one", status.behind),
            ("waiting_images", "Images in units that have not been returned yet", status.waiting),
            ("oldest_unit_seconds", "Age of the oldest unit that has not been returned yet", status.oldest_seconds),
            ("held_scores", "Scores that wait for a person's approval", len(status.held)),
            ("scores_last_hour", "Scores that arrived in the last hour", status.scores_hour),
            ("hosts_last_day", "Kinds of computers that sent results in the last 24 hours", len(status.hosts)),
            ("paused", "1 while the system is paused", float(status.paused is not None)),
            (
                "stopped_steps",
                "Steps whose last run was not done",
                sum(bool(x.error) for x in status.last_runs),
            ),
            ("imager_up", "1 while the imager database responds", float(not status.imager_error)),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"xtalgrid_{name}", text, value=value)
        for name, text, label, numbers in (
            ("units", "Work units by state", "state", status.counts["units"]),
            ("last_run_seconds", "Seconds since a step ended", "step", {x.name: int(x.age) for x in status.last_runs}),
            ("scores", "Scores by outcome", "outcome", status.counts["scores"]),
            ("results", "Results by verdict", "verdict", status.counts["results"]),
            ("decisions", "Newest decisions on scores", "action", status.counts["actions"]),
            ("failed_files", "Files without a score by reason", "reason", status.failed),
            ("images", "All images and other files by where they stand", "state", _standings(status.account)),
        ):
            family = GaugeMetricFamily(f"xtalgrid_{name}", text, labels=[label])
            for key, number in numbers.items():
                family.add_metric([key], number)
            yield family


def _standings(counted: Account) -> dict[str, int]:
    numbers = {"scored": counted.scored, "waiting": counted.waiting, "failed": counted.failed}
    return numbers | {"passed over": sum(counted.passed_over.values())}
