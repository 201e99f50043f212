"""Keep watch over code that reads hostile data: what it writes, how long it computes, how much memory it takes."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_SECONDS = 1.0
"""CPU seconds of this process, which hardly depend on what else the computer does."""

MOST_MB = 300.0
"""Resident memory of the whole process, including interpreter and libraries: see `peak_mb`."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "os.chmod"}
_RELATIVE = {"os.remove", "os.rmdir"}
"""Events whose last argument is an open folder, or -1."""

_STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.bind"}


class Watch:
    """Note every file that this process's Python code writes, renames or removes, and every program it starts.

    It notes them only inside `allowing`. An audit hook can't be removed again, so make one watch for the process.
    """

    def __init__(self) -> None:
        self._allowed: tuple[str, ...] | None = None
        self._outside: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def allowing(self, folders: Sequence[Path]) -> Iterator[list[str]]:
        """Give a list that fills, until the block ends, with what is written outside these folders (or files)."""
        self._allowed, self._outside = tuple(str(folder) for folder in folders), []
        try:
            yield self._outside
        finally:
            self._allowed = None

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._allowed is None:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and isinstance(flags, int) and flags & _WRITING:
                self._note(event, path)
        elif event in _CHANGES:
            for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
                if isinstance(path, str | bytes):
                    self._note(event, path, arguments[-1] if event in _RELATIVE else -1)
        elif event in _STARTS:
            self._outside.append(f"{event} {arguments[0]!r:.100}")

    def _note(self, event: str, path: str | bytes, folder: int = -1) -> None:
        named = Path(os.fsdecode(path))
        if folder >= 0:  # relative to an open folder, as in shutil.rmtree
            named = Path(f"/proc/self/fd/{folder}").readlink() / named
        full = str(named.parent.resolve() / named.name)
        if not any(full == folder or full.startswith(folder + "/") for folder in self._allowed or ()):
            self._outside.append(f"{event} {full[:200]}")


@dataclass(slots=True)
class Tally:
    """How the cases of each kind ended, and what went wrong."""

    refused: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Count the block's CPU seconds for a kind; too many are noted as wrong."""
        start = time.process_time()
        yield
        seconds = time.process_time() - start
        self.slowest[kind] = max(self.slowest.get(kind, 0.0), seconds)
        if seconds > MOST_SECONDS:
            self.wrong.append(f"{kind}: {seconds:.2f} CPU seconds")

    def print(self, title: str) -> None:
        """Print one line for each kind."""
        print(f"{title:<34}{'cases':>8}{'refused':>9}{'accepted':>10}{'slowest, CPU s':>16}")
        kinds = sorted(self.refused.keys() | self.accepted.keys())
        for kind in kinds:
            refused, accepted = self.refused[kind], self.accepted[kind]
            print(f"{kind:<34}{refused + accepted:>8}{refused:>9}{accepted:>10}{self.slowest.get(kind, 0):>16.3f}")
        refused, accepted = self.refused.total(), self.accepted.total()
        slowest = max(self.slowest.values(), default=0.0)
        print(f"{'all':<34}{refused + accepted:>8}{refused:>9}{accepted:>10}{slowest:>16.3f}")


def peak_mb(process: int | str = "self") -> float:
    """Return a process's peak of resident memory in MB; 0 if it has ended.

    On Linux this is ``VmHWM``, since ``ru_maxrss`` starts at the parent's peak. Elsewhere only this process is known.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if process == "self" else 0
        return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
