"""The log of access, ``home/access.log``: who did what, when and from where, a line each (docs/viewer.md).

::

    2026-11-29T16:12:01Z from=10.1.1.7 act=sign-in result=ok who="ben"

The first five fields are always there, in this order, and nothing foreign stands before `who`. Text is quoted as in
JSON. Passwords, and what people type for a name that nobody has, are never written.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import msgspec

from xtalgrid_core.lines import json_lines

from ..config import Config
from ..domain.log import log

TERMINAL = "terminal"
"""Where commands come from."""

_MEGABYTE = 10**6
_BURST, _EACH_S = 100.0, 1.0
_PATIENCE_S = 5.0


class AccessLog:
    """One home's log of access. Several processes may write it at once.

    What strangers can do without an end, lines about nobody and about who is told to wait, is limited to `_BURST` lines
    at once and one a second after them, so that they push out no others; the next line says how many were left out.
    """

    def __init__(self, config: Config) -> None:
        self.path = config.home / "access.log"
        self._lock = config.home / "locks" / "access.lock"
        self._bytes, self._files = config.viewer.access_log_mb * _MEGABYTE, config.viewer.access_log_files
        self._budget, self._since, self._skipped = _BURST, time.monotonic(), 0
        self._one_by_one = threading.Lock()

    def write(self, act: str, who: str, origin: str = TERMINAL, result: str = "ok", **details: Any) -> None:
        """Write a line. A log that cannot be written stops nothing; the reason goes to the other log.

        Parameters
        ----------
        act
            What was done, such as ``sign-in``.
        who
            Name of the person or account; empty: nobody whom we know.
        origin
            Address that it came from; empty: unknown.
        result
            ``ok``, ``refused``, or ``delayed``: told to wait.
        details
            More fields.
        """
        with self._one_by_one:
            if not who or result == "delayed":
                if not self._is_within_budget():
                    self._skipped += 1
                    return
                if self._skipped:
                    details["skipped"], self._skipped = self._skipped, 0
            fields = [f"from={origin or '-'}", f"act={act}", f"result={result}", f"who={_value(who)}"]
            fields += [f"{name}={_value(value)}" for name, value in details.items()]
            line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {' '.join(fields)}\n"
            try:
                self._append(line.encode())
            except (OSError, filelock.Timeout) as error:
                log.error("log of access: cannot write %s (%s): %s", self.path, error, line)

    def _is_within_budget(self) -> bool:
        at = time.monotonic()
        self._budget = min(self._budget + (at - self._since) / _EACH_S, _BURST)
        self._since = at
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def _append(self, data: bytes) -> None:
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._lock, timeout=_PATIENCE_S, mode=0o600):
            if self.path.exists() and self.path.stat().st_size + len(data) > self._bytes:
                self._rotate()
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as stream:
                stream.write(data)

    def _rotate(self) -> None:
        """Rename ``access.log`` to ``access.log.1``, that one to ``access.log.2``, and so on; the oldest goes."""
        for number in range(self._files - 1, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self.path.unlink(missing_ok=True)  # if one file is kept

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path


def _value(value: object) -> str:
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace").decode()  # a file's name may not be Unicode
    return json_lines(msgspec.json.encode(value, enc_hook=str))
