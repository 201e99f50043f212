"""A real BOINC client of its own, in a folder of its own, and the processes of the jobs it runs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

CONFIGURATION = """<cc_config>
<log_flags><task>1</task><sched_ops>1</sched_ops><file_xfer>1</file_xfer><checkpoint_debug>1</checkpoint_debug></log_flags>
<options>
    <skip_cpu_benchmarks>1</skip_cpu_benchmarks><start_delay>0</start_delay><report_results_immediately>1</report_results_immediately>
    <no_gpus>1</no_gpus><ncpus>1</ncpus><suppress_net_info>1</suppress_net_info><dont_contact_ref_site>1</dont_contact_ref_site>
    <no_info_fetch>1</no_info_fetch><no_priority_change>1</no_priority_change>
    <allow_multiple_clients>1</allow_multiple_clients>
</options>
</cc_config>
"""
PREFERENCES = """<global_preferences>
<run_if_user_active>1</run_if_user_active><run_on_batteries>1</run_on_batteries><suspend_cpu_usage>0</suspend_cpu_usage>
<cpu_usage_limit>100</cpu_usage_limit><leave_apps_in_memory>1</leave_apps_in_memory><work_buf_min_days>0.01</work_buf_min_days>
<work_buf_additional_days>0</work_buf_additional_days><disk_interval>1</disk_interval><disk_max_used_gb>20</disk_max_used_gb>
<disk_max_used_pct>100</disk_max_used_pct><disk_min_free_gb>0</disk_min_free_gb>
<ram_max_used_busy_pct>100</ram_max_used_busy_pct><ram_max_used_idle_pct>100</ram_max_used_idle_pct>
</global_preferences>
"""
PASSWORD = "test"
ACCOUNT = "0123456789abcdef0123456789abcdef"

T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = 120) -> T:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
    return found


class BoincClient:
    """A client attached to the project at `url` by an account's key. Use it in a ``with`` statement; what is left of it is killed at the end."""

    def __init__(self, folder: Path, url: str, account: str = ACCOUNT) -> None:
        self.folder = folder
        self.project_folder = folder / "projects" / re.sub(r"[^\w.-]", "_", url.partition("://")[2].rstrip("/"))
        self.project_folder.mkdir(parents=True)
        self._url = url
        self._account = account
        (folder / "cc_config.xml").write_text(CONFIGURATION)
        (folder / "global_prefs_override.xml").write_text(PREFERENCES)
        (folder / "gui_rpc_auth.cfg").write_text(PASSWORD)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._is_attached = False

    def __enter__(self) -> BoincClient:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        """Start the client, and attach it if it is not."""
        with (self.folder / "client.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["boinc", "--dir", self.folder, "--gui_rpc_port", str(self._port), "--insecure"],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        wait_until(lambda: self._ask("--client_version").returncode == 0)
        if not self._is_attached:
            self.tell("--project_attach", self._url, self._account)
            self._is_attached = True

    @property
    def pid(self) -> int:
        """The client's process."""
        return self._process.pid

    def quit(self) -> None:
        """Have the client end its tasks and leave."""
        self.tell("--quit")
        self._process.wait(60)

    def kill(self) -> None:
        """End the client at once; it tells nobody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def tell(self, *words: str) -> str:
        done = self._ask(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr, self.log()[-2000:])
        return done.stdout

    def update(self, done: Callable[[], object]) -> None:
        """Have the client talk to the project, until `done`.

        One request may not be enough: the client forgets those that reach it while it waits for the answer to an earlier one.
        """
        for _ in range(12):
            self.tell("--project", self._url, "update")
            with contextlib.suppress(AssertionError):
                wait_until(done, 10)
                return
        raise AssertionError(f"not in spite of 12 updates; the client says\n{self.log()[-2000:]}")

    def task(self, job: str) -> dict[str, str]:
        """What the client says of a job: the lines of ``boinccmd --get_tasks``; nothing if it has none."""
        for block in re.split(r"^\d+\) -+$", self.tell("--get_tasks"), flags=re.MULTILINE)[1:]:
            lines = dict(re.findall(r"^ +([^:\n]+): (.*)$", block, flags=re.MULTILINE))
            if lines["name"] == f"{job}_0":
                return lines
        return {}

    def fraction(self, job: str) -> float:
        """How much of a job is done, 0..1."""
        return float(self.task(job).get("fraction done", "0"))

    def checkpoint(self, job: str) -> float:
        """CPU seconds of a job at its last checkpoint. Unlike `fraction`, which the client guesses at first, only a worker makes it rise."""
        return float(self.task(job).get("CPU time at last checkpoint", "0"))

    def do(self, job: str, what: str) -> None:
        """Suspend, resume or abort a job."""
        self.tell("--task", self._url, f"{job}_0", what)

    def slot(self) -> Path:
        """The folder of the only job that runs."""
        (found,) = (self.folder / "slots").iterdir()
        return found

    def workers(self) -> list[int]:
        """Processes that work in a slot."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink().is_relative_to(self.folder / "slots"):
                    found.append(int(process.name))
            except OSError:
                continue  # it is gone, or is somebody else's
        return found

    def cpu_seconds(self) -> float:
        """CPU seconds the jobs' processes have taken."""
        ticks = 0
        for pid in self.workers():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """What the client said."""
        return (self.folder / "client.log").read_text(errors="replace")

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["boinccmd", "--host", f"127.0.0.1:{self._port}", "--passwd", PASSWORD, *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, timeout=60)
