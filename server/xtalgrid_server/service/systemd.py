"""Run the jobs as systemd units: a service for each, and a timer for those that do not run all the time.

Units of the whole machine run as an account of their own and can write only to their folders. Units of a person's
account (``systemctl --user``) may do whatever that person may: most of the sandbox needs root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from xtalgrid_core.errors import ConfigError

from .files import MARK, is_ours, put
from .jobs import Job, JobState, Service, together

ALWAYS = {
    "grid": """Nice=10
IOSchedulingClass=idle
Restart=always
RestartSec=30
KillMode=mixed
TimeoutStopSec=2min
SuccessExitStatus=75 143""",
    "viewer": """Restart=always
RestartSec=5
MemoryMax=2G""",
}
"""How the jobs that run all the time restart and stop, and what they leave for other programs."""

ONCE = """Type=oneshot
SuccessExitStatus=75
TimeoutStartSec=1h"""

NO_LIMIT = """Type=oneshot
TimeoutStartSec=infinity"""
"""Of a job whose commands have a limit each, and end with 75 nowhere (`step.run_steps`)."""

SANDBOX = """# What a program needs that reads images, talks to databases and writes its own folder; nothing more.
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
DevicePolicy=closed
KeyringMode=private
LimitCORE=0
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM"""

USER_SANDBOX = """NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes"""


def is_running() -> bool:
    """Return whether systemd started this machine."""
    return Path("/run/systemd/system").is_dir()


def folder(*, user_level: bool) -> Path:
    """Return the folder of the machine's units, or of the current user's."""
    if not user_level:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def units(service: Service) -> dict[str, str]:
    """Return the units' text by file name."""
    made: dict[str, str] = {}
    for job in service.jobs:
        made[f"xtalgrid-{job.name}.service"] = _service_unit(service, job)
        if not _is_always(job):
            made[f"xtalgrid-{job.name}.timer"] = _timer_unit(job)
    return made


def _is_always(job: Job) -> bool:
    return job.watches or not job.every


def _service_unit(service: Service, job: Job) -> str:
    user_level = service.user is None
    always = _is_always(job)
    unit = [MARK, "[Unit]", f"Description=xtalgrid: {job.about}"]
    if not user_level:
        unit += ["After=network-online.target", "Wants=network-online.target"]
    unit += [f"RequiresMountsFor={_words(service.home, *service.mounts)}", "", "[Service]"]
    watch = " --watch" if job.watches else ""
    commands = [together(job.commands)] if job.are_apart else [f"{command}{watch}" for command in job.commands]
    once = NO_LIMIT if job.are_apart else ONCE
    unit += [ALWAYS[job.name] if always else once]
    unit += [f"ExecStart={_words(service.program)} {command}" for command in commands]
    if not user_level:
        unit += [f"User={service.user}"]
    unit += [
        f"Environment={_words(f'XTALGRID_CONFIG={service.config}', f'XTALGRID_HOME={service.home}')}",
        f"WorkingDirectory={_escaped(service.home)}",
        "UMask=0077",
    ]
    if user_level:
        unit += ["", USER_SANDBOX]
    else:
        unit += [f"ReadWritePaths={_words(service.home, *service.writes)}", "", SANDBOX]
    if always:
        unit += ["", "[Install]", f"WantedBy={'default' if user_level else 'multi-user'}.target"]
    return "\n".join(unit) + "\n"


def _timer_unit(job: Job) -> str:
    return f"""{MARK}
[Unit]
Description=xtalgrid: {job.about}, every {job.every} minutes

[Timer]
OnCalendar=*:{job.minute}/{job.every}
Persistent=yes
AccuracySec=10s

[Install]
WantedBy=timers.target
"""


def _escaped(path: Path | str) -> str:
    return str(path).replace("%", "%%")


def _words(*words: Path | str) -> str:
    """Join words into a systemd list; those with spaces are quoted."""
    escaped = map(_escaped, words)
    return " ".join(f'"{word}"' if " " in word else word for word in escaped)


class Systemd:
    """A folder of units, and the systemd that reads it."""

    def __init__(self, *, user_level: bool) -> None:
        self.folder = folder(user_level=user_level)
        self._command = ["systemctl", "--user"] if user_level else ["systemctl"]

    def install(self, service: Service) -> Iterator[str]:
        """Write, enable and start the units; yield a line for each change.

        Raises
        ------
        ConfigError
            If systemd refuses one.
        """
        wanted = units(service)
        lines = {name: list(put(self.folder / name, text)) for name, text in wanted.items()}
        for group in lines.values():
            yield from group
        yield from self._remove([path for path in self.installed() if path.name not in wanted])
        self._call("daemon-reload")  # even without changes: an earlier install may have been killed before this
        for name in wanted:
            if f"{name.removesuffix('.service')}.timer" not in wanted:  # the other services are started by their timers
                yield from self._start(name, is_changed=bool(lines[name]))

    def _start(self, name: str, *, is_changed: bool) -> Iterator[str]:
        if not self._is("enabled", name):
            self._call("enable", name)
            yield f"enabled  {name}"
        if is_changed or not self._is("active", name):
            self._call("restart", name)
            yield f"started  {name}"

    def uninstall(self) -> Iterator[str]:
        """Stop and remove the units; yield a line for each.

        Raises
        ------
        ConfigError
            If systemd refuses.
        """
        yield from self._remove(self.installed())

    def installed(self) -> list[Path]:
        """Return the unit files that an installation wrote."""
        return [path for path in sorted(self.folder.glob("xtalgrid-*")) if is_ours(path)]

    def _remove(self, paths: list[Path]) -> Iterator[str]:
        names = [path.name for path in paths]
        if not names:
            return
        self._call("disable", "--now", *names)
        for name in names:
            if name.endswith(".timer"):  # not for a service: its state could be the home
                self._try("clean", "--what=state", name)  # the time of its last run
            self._try("reset-failed", name)
        for path in paths:
            path.unlink()
            yield f"removed  {path}"
        self._call("daemon-reload")

    def status(self) -> Iterator[JobState]:
        """Yield the state of each unit."""
        names = {path.name for path in self.installed()}
        for name in sorted(names):
            asked = "ActiveState,SubState,UnitFileState,Result,NextElapseUSecRealtime"
            shown = self._call("show", f"--property={asked}", name)
            properties = dict(line.split("=", 1) for line in shown.splitlines())
            state = properties["ActiveState"]
            if name.removesuffix(".service") + ".timer" in names - {name}:  # between two runs it is inactive
                text, is_good = f"{state}, last run: {properties['Result']}", state != "failed"
            else:
                enabled, following = properties["UnitFileState"], properties.get("NextElapseUSecRealtime")
                text = f"{state} ({properties['SubState']}), {enabled}" + (f", next {following}" if following else "")
                is_good = (state, enabled) == ("active", "enabled")
            yield JobState(job=name, where="systemd", state=text, is_good=is_good)

    def _is(self, state: str, name: str) -> bool:
        return self._try(f"is-{state}", "--quiet", name).returncode == 0

    def _call(self, *words: str) -> str:
        done = self._try(*words)
        if done.returncode:
            why = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise ConfigError(f"systemctl {' '.join(words)}: {why}")
        return done.stdout

    def _try(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._command, *words], capture_output=True, text=True)
