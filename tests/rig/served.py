"""`xtalgrid serve` as a process of its own, with few files, as under systemd's and many shells' default."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.web_servers import free_port


@dataclass(frozen=True, slots=True)
class Served:
    """A running viewer: its port, its process id and its log."""

    port: int
    pid: int
    log: Path

    def seconds(self, path: str = "/healthz") -> float:
        """Ask as an honest client that waits ten seconds at most, and return how long it took."""
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            answer.read()
        return time.monotonic() - began


@contextmanager
def served(folder: Path, keys: str = "", files: int = 1024) -> Iterator[Served]:
    """Serve the home in a folder with these keys of the section viewer, until the block ends."""
    file, log, port = folder / "xtalgrid.toml", folder / "log", free_port()
    file.write_text(f'home = "{folder / "home"}"\n[viewer]\n{keys}\n')
    command = [sys.executable, "-m", "xtalgrid_server", "--config", str(file), "serve", "--port", str(port)]

    def with_few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, preexec_fn=with_few_files)
    try:
        viewer = Served(port, process.pid, log)
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            try:
                viewer.seconds()
                break
            except OSError:
                time.sleep(0.2)
        yield viewer
        assert process.poll() is None, log.read_text()[-2000:]
    finally:
        process.terminate()
        process.wait(timeout=30)
