"""What client and job say to each other while the job runs (``api/boinc_api.cpp``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..stopping import Stopped
from .init_data import InitData
from .memory import Channel, SharedMemory

POLL = 0.1
"""Seconds from one look at the channels to the next, at least."""

TELL = 1.0
"""Seconds from one message to the next: as often as the client looks."""

SILENCE = 30.0
"""Seconds without a heartbeat after which a client that does not name its process is gone."""

LAST_WORD = 2.0
"""Most seconds to wait, at the end, for the client to take the message before."""

EXIT_GO_ON_LATER = 0
"""Without a file that says the job has ended, the client starts it again."""

EXIT_ABORTED = 194
"""``EXIT_ABORTED_BY_CLIENT``."""

log = logging.getLogger(__name__)


class Client:
    """The BOINC client, as a safe point of the scoring (see `scoring.score_image`).

    Called, it does what the client asks: it waits while the job is suspended, and raises `Stopped` when the job is to end. No thread is needed for
    that: the scoring passes safe points many times a second, the client grants a minute to quit, and three to take a message.

    Parameters
    ----------
    memory, init
        The job's.
    stop
        A safe point that raises `Stopped` when a signal came or the client is gone.
    """

    def __init__(self, memory: SharedMemory, init: InitData, stop: Callable[[], None]) -> None:
        self._memory = memory
        self._stop = stop
        self._cpu_before = init.cpu_time
        self._checkpoint = init.cpu_time
        self._fraction = 0.0
        self._is_suspended = False
        self._counts_heartbeats = init.client_pid is None
        self._heard = time.monotonic()
        self._look_at = self._tell_at = 0.0
        self.exit_code = EXIT_GO_ON_LATER
        """What to leave with once `Stopped` was raised."""

    def __call__(self) -> None:
        """Go on, now or later.

        Raises
        ------
        Stopped
            When the job is to end.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._listen(now)
        while self._is_suspended:
            time.sleep(POLL)
            self._listen(time.monotonic())
        if now >= self._tell_at and self._tell():
            self._tell_at = now + TELL
        self._look_at = time.monotonic() + POLL

    def progress(self, fraction: float, is_checkpoint: bool) -> None:
        """Note how much of the job is done, 0..1; the client is told when the next safe point is passed.

        A checkpoint is told by its CPU time, so each has more than the one before.
        """
        self._fraction = fraction
        if is_checkpoint:
            self._checkpoint = max(self._cpu_time(), self._checkpoint + 1e-6)

    def last_word(self) -> None:
        """Tell the client how the job stands at its end."""
        end = time.monotonic() + LAST_WORD
        while not self._tell() and time.monotonic() < end:
            time.sleep(POLL)

    def _listen(self, now: float) -> None:
        self._stop()
        if self._memory.receive(Channel.HEARTBEAT) is not None:
            self._heard = now
        elif self._counts_heartbeats and now > self._heard + SILENCE:
            raise Stopped(f"no heartbeat of the client for {SILENCE:g} s", self.exit_code)
        self._memory.receive(Channel.NEWS)
        said = self._memory.receive(Channel.CONTROL) or ""
        if "<abort/>" in said:
            self.exit_code = EXIT_ABORTED
            raise Stopped("the client aborts the job", self.exit_code)
        if "<quit/>" in said:
            raise Stopped("the client asks to quit", self.exit_code)
        if "<suspend/>" in said:
            self._is_suspended = True
        elif "<resume/>" in said:
            self._is_suspended = False

    def _tell(self) -> bool:
        cpu_time = max(self._cpu_time(), self._checkpoint)
        return self._memory.send(
            Channel.STATUS,
            f"<current_cpu_time>{cpu_time:.6f}</current_cpu_time>\n"
            f"<checkpoint_cpu_time>{self._checkpoint:.6f}</checkpoint_cpu_time>\n"
            "<want_network>0</want_network>\n"
            f"<fraction_done>{self._fraction:.6f}</fraction_done>\n",
        )

    def _cpu_time(self) -> float:
        return self._cpu_before + time.process_time()
