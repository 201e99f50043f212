"""Interface for recording images that could not be read, packed or scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from xtalgrid_core.errors import FailureReason


class FailureLog(Protocol):
    """Record of failures; the ledger's `failures` implements it."""

    def add(self, file: str, step: str, reason: FailureReason, detail: str) -> object:
        """Record a failure: the file's name, the step that failed, and why."""
        ...

    def close(self, files: Sequence[str], step: str) -> None:
        """Record that the failures of these files at a step were mended."""
        ...

    def open_files(self, step: str) -> list[str]:
        """Return the files with open failures at a step."""
        ...
