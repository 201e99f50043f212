"""Interface for recording images that could not be read, packed or scored."""

from __future__ import annotations

from typing import Protocol

from xtalgrid_core.errors import FailureReason


class FailureLog(Protocol):
    """Record of failures; the ledger's `failures` implements it."""

    def add(self, file: str, step: str, reason: FailureReason, detail: str) -> None:
        """Record a failure: the file's name, the step that failed, and why."""
        ...
