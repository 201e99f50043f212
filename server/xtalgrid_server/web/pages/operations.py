"""Whether the chain is moving: for the operations page, for the line above the plates, and for Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from xtalgrid_core.errors import ImagerError

from ...config import Config
from ...domain.log import log
from ...imager.crystaltrak.database import ImagerDatabase
from ...ledger.plates import HostWork
from ...ledger.records import now
from ...ledger.store import Ledger
from ...steps.step import paused

_REMEMBERED_SECONDS = 15.0
_SHOWN_FAILURES = 50
_SHOWN_HELD = 200


@dataclass(frozen=True, slots=True)
class Chain:
    """How things stand. Times of the imager are its local ones, others UTC.

    Attributes
    ----------
    behind
        Seconds between the imager's newest inspection and the newest scored one; None where either is not known.
    waiting
        Images in units that did not come back yet; `oldest`: seconds that the first of those units has waited.
    counts
        As `ledger.views.Views.counts`.
    hosts
        The computers that sent results during the last day; `scores_hour` and `scores_day` are how many scores came in.
    """

    imaged: datetime | None
    scored: datetime | None
    waiting: int
    oldest: float | None
    counts: dict[str, dict[str, int]]
    scores_hour: int
    scores_day: int
    hosts: list[HostWork]
    failed: dict[str, int]
    failures: list[tuple[datetime, str, str, str, str]]
    held: list[int]
    paused: str | None
    imager_error: str = ""
    at: float = field(default_factory=time.monotonic)

    @property
    def behind(self) -> float | None:
        """Seconds that the newest scored inspection is behind the imager's newest one."""
        if self.imaged is None or self.scored is None:
            return None
        return max((self.imaged - self.scored).total_seconds(), 0.0)


class Gauges(Collector):
    """Reads how the chain stands, at most every fifteen seconds, and counts this viewer's answers."""

    def __init__(self, config: Config, ledger: Ledger, imager: ImagerDatabase) -> None:
        self._config, self._ledger, self._imager = config, ledger, imager
        self._chain: Chain | None = None
        self._lock = threading.Lock()
        self.registry = CollectorRegistry()
        self._answers = Counter("xtalgrid_viewer_answers", "Answers of the viewer", ["status"], registry=self.registry)
        self._seconds = Histogram(
            "xtalgrid_viewer_seconds",
            "Seconds until an answer of the viewer was sent",
            ["kind"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=self.registry,
        )
        self.registry.register(self)

    def took(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        known = ("plate", "well", "thumbnail", "image", "map", "static", "inbox", "operations", "corrections")
        kind = path.split("/")[1]
        self._answers.labels(f"{status // 100}xx").inc()
        self._seconds.labels(kind if kind in known else "other").observe(seconds)

    def chain(self) -> Chain:
        """How things stand, or stood fifteen seconds ago."""
        with self._lock:
            if self._chain is None or time.monotonic() - self._chain.at > _REMEMBERED_SECONDS:
                self._chain = self._read()
            return self._chain

    def forget(self) -> None:
        """Read anew next time: somebody decided something."""
        with self._lock:
            self._chain = None

    def _read(self) -> Chain:
        imaged, said = None, ""
        try:
            imaged = next((group[0].inspected for group in self._imager.newest_first(None, None)), None)
        except ImagerError as error:
            log.warning("viewer: %s", error)
            said = str(error)
        plates, views = self._ledger.plates, self._ledger.views
        since = views.waiting_since()
        hour, _ = plates.throughput(1)
        day, hosts = plates.throughput(24)
        failed, failures = plates.failures(_SHOWN_FAILURES)
        return Chain(
            imaged=imaged,
            scored=views.newest_scored(),
            waiting=plates.waiting_images(),
            oldest=None if since is None else (now() - since).total_seconds(),
            counts=views.counts(),
            scores_hour=hour,
            scores_day=day,
            hosts=hosts,
            failed=failed,
            failures=failures,
            held=plates.held()[:_SHOWN_HELD],
            paused=paused(self._ledger),
            imager_error=said,
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The chain's figures for Prometheus."""
        chain = self.chain()
        for name, what, value in (
            ("lag_seconds", "Newest scored inspection behind the imager's newest one", chain.behind),
            ("waiting_images", "Images in units that did not come back yet", chain.waiting),
            ("oldest_unit_seconds", "Since when the oldest unit that did not come back is on its way", chain.oldest),
            ("held_scores", "Scores that wait for a person's approval", len(chain.held)),
            ("scores_last_hour", "Scores that came in during the last hour", chain.scores_hour),
            ("hosts_last_day", "Kinds of computers that sent results during the last day", len(chain.hosts)),
            ("paused", "1 while the system is paused", float(chain.paused is not None)),
            ("imager_up", "1 while the imager database answers", float(not chain.imager_error)),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"xtalgrid_{name}", what, value=value)
        for name, what, label, numbers in (
            ("units", "Work units by state", "state", chain.counts["units"]),
            ("scores", "Scores by outcome", "outcome", chain.counts["scores"]),
            ("results", "Results by verdict", "verdict", chain.counts["results"]),
            ("decisions", "Newest decisions on scores", "action", chain.counts["actions"]),
            ("failed_files", "Files without a score by reason", "reason", chain.failed),
        ):
            family = GaugeMetricFamily(f"xtalgrid_{name}", what, labels=[label])
            for key, number in numbers.items():
                family.add_metric([key], number)
            yield family
