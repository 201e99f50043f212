"""Keeps watch over code that reads hostile data: what it writes, how long it computes, how much memory its process ever had."""

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
"""CPU seconds of this process, which a busy computer does not change much."""

MOST_MB = 300.0
"""Resident memory of the whole process, interpreter and libraries included: ``VmHWM`` on Linux, else ``ru_maxrss``."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "os.chmod"}
_RELATIVE = {"os.remove", "os.rmdir"}
"""Those whose last argument is an open folder, or -1."""

_STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.bind"}


class Watch:
    """Notes each file that Python code of this process writes, makes, renames or removes, and each program it starts, while it is on.

    An audit hook cannot be taken away again, so there is one for the process.
    """

    def __init__(self) -> None:
        self._allowed: tuple[str, ...] | None = None
        self._outside: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def allowing(self, folders: Sequence[Path]) -> Iterator[list[str]]:
        """The list of what is written outside these folders (or files), filled until the block ends."""
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
        if folder >= 0:  # relative to an open folder, as shutil.rmtree does it
            named = Path(f"/proc/self/fd/{folder}").readlink() / named
        full = str(named.parent.resolve() / named.name)
        if not any(full == folder or full.startswith(folder + "/") for folder in self._allowed or ()):
            self._outside.append(f"{event} {full[:200]}")


@dataclass(slots=True)
class Tally:
    """What became of the cases of each kind, and what must not have been."""

    refused: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """The CPU seconds of the block go to a kind; too many are wrong."""
        start = time.process_time()
        yield
        seconds = time.process_time() - start
        self.slowest[kind] = max(self.slowest.get(kind, 0.0), seconds)
        if seconds > MOST_SECONDS:
            self.wrong.append(f"{kind}: {seconds:.2f} CPU seconds")

    def print(self, title: str) -> None:
        """One line for each kind."""
        print(f"{title:<34}{'cases':>8}{'refused':>9}{'accepted':>10}{'slowest, CPU s':>16}")
        kinds = sorted(self.refused.keys() | self.accepted.keys())
        for kind in kinds:
            refused, accepted = self.refused[kind], self.accepted[kind]
            print(f"{kind:<34}{refused + accepted:>8}{refused:>9}{accepted:>10}{self.slowest.get(kind, 0):>16.3f}")
        refused, accepted = self.refused.total(), self.accepted.total()
        slowest = max(self.slowest.values(), default=0.0)
        print(f"{'all':<34}{refused + accepted:>8}{refused:>9}{accepted:>10}{slowest:>16.3f}")


def peak_mb(process: int | str = "self") -> float:
    """The most memory that a process ever had, in MB: ``VmHWM``, since Linux's ru_maxrss begins with that of the parent; 0 where it has ended.

    Elsewhere than on Linux only of this process.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if process == "self" else 0
        return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
