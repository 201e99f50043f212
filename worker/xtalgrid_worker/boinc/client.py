"""Messages between client and job while the job runs (``api/boinc_api.cpp``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..stopping import Stopped
from .init_data import InitData
from .memory import Channel, SharedMemory

POLL_SECONDS = 0.1
"""Minimum interval between two polls of the channels."""

STATUS_SECONDS = 1.0
"""Interval between status messages; the client reads them as often."""

HEARTBEAT_SECONDS = 30.0
"""Without a heartbeat for so long, a client with an unknown process id has exited."""

FINAL_STATUS_SECONDS = 2.0
"""Maximum wait, at the end of a job, for the client to read the previous status message."""

EXIT_RESTART_LATER = 0
"""Without a finish file, the client restarts the job later."""

EXIT_ABORTED = 194
"""``EXIT_ABORTED_BY_CLIENT``."""

log = logging.getLogger(__name__)


class Client:
    """The BOINC client as a callable for safe points (see `score.score_image`).

    A call handles the client's requests: it blocks while the job is suspended, and raises `Stopped` when the job must
    end. This needs no thread, because scoring passes safe points many times a second, while the client allows a
    minute to quit and three minutes to read a message.

    Parameters
    ----------
    memory, init
        Of the job.
    stop
        Raises `Stopped` after a signal, or if the client has exited.
    """

    def __init__(self, memory: SharedMemory, init: InitData, stop: Callable[[], None]) -> None:
        self._memory = memory
        self._stop = stop
        self._cpu_before = init.cpu_time
        self._checkpoint = init.cpu_time
        self._fraction = 0.0
        self._is_suspended = False
        self._needs_heartbeats = init.client_pid is None
        self._last_heartbeat = time.monotonic()
        self._next_poll = self._next_status = 0.0
        self.exit_code = EXIT_RESTART_LATER
        """Exit code to use after `Stopped` was raised."""

    def __call__(self) -> None:
        """Handle the client's requests; block while the job is suspended.

        Raises
        ------
        Stopped
            If the job must end.
        """
        now = time.monotonic()
        if now < self._next_poll:
            return
        self._receive(now)
        while self._is_suspended:
            time.sleep(POLL_SECONDS)
            self._receive(time.monotonic())
        if now >= self._next_status and self._send_status():
            self._next_status = now + STATUS_SECONDS
        self._next_poll = time.monotonic() + POLL_SECONDS

    def progress(self, fraction: float, is_checkpoint: bool) -> None:
        """Set the finished fraction of the job, 0..1; it is sent to the client at a later safe point.

        The client recognises a new checkpoint by its CPU time, so each must have more than the previous one.
        """
        self._fraction = fraction
        if is_checkpoint:
            self._checkpoint = max(self._cpu_time(), self._checkpoint + 1e-6)

    def send_final_status(self) -> None:
        """Send the status at the end of the job."""
        end = time.monotonic() + FINAL_STATUS_SECONDS
        while not self._send_status() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)

    def _receive(self, now: float) -> None:
        self._stop()
        if self._memory.receive(Channel.HEARTBEAT) is not None:
            self._last_heartbeat = now
        elif self._needs_heartbeats and now > self._last_heartbeat + HEARTBEAT_SECONDS:
            raise Stopped(f"no heartbeat from the client for {HEARTBEAT_SECONDS:g} s", self.exit_code)
        self._memory.receive(Channel.TRICKLE_DOWN)
        request = self._memory.receive(Channel.CONTROL) or ""
        if "<abort/>" in request:
            self.exit_code = EXIT_ABORTED
            raise Stopped("the client aborted the job", self.exit_code)
        if "<quit/>" in request:
            raise Stopped("the client requested to quit", self.exit_code)
        if "<suspend/>" in request:
            self._is_suspended = True
        elif "<resume/>" in request:
            self._is_suspended = False

    def _send_status(self) -> bool:
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
