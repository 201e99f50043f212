"""Where images that could not be read, packed or scored are recorded."""

from __future__ import annotations

from typing import Protocol

from xtalgrid_core.errors import FailureReason


class FailureLog(Protocol):
    """A record of failures; the ledger's `work` is one."""

    def add_failure(self, file: str, step: str, reason: FailureReason, detail: str) -> None:
        """Record one: the file's name, the step that failed, and why."""
        ...
