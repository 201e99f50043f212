"""A whole machine for a test: Debian 12 by debootstrap, which its own systemd starts in a container of systemd-nspawn."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conftest import missing

PACKAGES = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,cron,python3,python3-venv"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


def debian(folder: Path) -> Path:
    """Make the root of a Debian 12 in a folder, or copy the one that `XTALGRID_DEBIAN` names."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        missing("a container with systemd in it needs Linux and root")
    for program in ("systemd-nspawn", "debootstrap"):
        if shutil.which(program) is None:
            missing(f"{program} is not installed (Debian's packages systemd-container, debootstrap)")
    if given := os.environ.get("XTALGRID_DEBIAN"):
        subprocess.run(["cp", "-a", f"{given}/.", folder], check=True)
        return folder
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        missing(f"debootstrap: {(made.stdout + made.stderr).strip().splitlines()[-1]}")
    return folder


class Machine:
    """A root that is started; a context manager. It has no network but its own loopback."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Machine:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def reboot(self) -> None:
        """Shut the machine down and start it anew."""
        self._stop()
        self._start()

    def _start(self) -> None:
        by_systemd = Path("/run/systemd/system").is_dir()
        options = [] if by_systemd else ["--register=no", "--keep-unit"]  # there is nobody to register with
        command = ["systemd-nspawn", "--quiet", "--boot", "--private-network", *options, f"--directory={self.root}"]
        with self.root.with_suffix(".log").open("ab") as console:
            self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        wait_for(self._is_up, 120)

    def _stop(self) -> None:
        self._nspawn.send_signal(signal.SIGTERM)  # has its systemd shut it down
        try:
            self._nspawn.wait(120)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()

    def _is_up(self) -> bool:
        if self._nspawn.poll() is not None:
            console = self.root.with_suffix(".log").read_text(errors="replace")
            missing(f"systemd-nspawn cannot start here: {console.strip().splitlines()[-1]}")
        if self._init() is None:
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def run(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine as root, and see that it goes well."""
        command = ["nsenter", f"--target={self._init()}", "--all", *map(str, words)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done

    def _init(self) -> int | None:
        """The process that is the machine's first one."""
        number = self._nspawn.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        return int(children[0]) if children else None


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    """Ask again until there is an answer, which is given back."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, f"{getattr(condition, '__name__', condition)}: not after {seconds:.0f} s"
        time.sleep(1)
    return answer
