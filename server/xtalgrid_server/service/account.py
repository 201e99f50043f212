"""The account that the services run as: create its folders, and check that it can do their work."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xtalgrid_core.errors import ConfigError

from ..storage.permissions import PRIVATE
from .jobs import Service

if TYPE_CHECKING:
    import pwd


def prepare(planned: Service) -> Iterator[str]:
    """Create missing folders, and check that the account can use the program, the configuration and the home.

    Yields a line for each folder created.

    Raises
    ------
    ConfigError
        If the account does not exist, or cannot use them.
    """
    if planned.user is None:
        planned.home.mkdir(parents=True, exist_ok=True)
        return
    import pwd  # not available on Windows

    try:
        account = pwd.getpwnam(planned.user)
    except KeyError:
        raise ConfigError(
            f"there is no account {planned.user}; create it with useradd --system --home-dir {planned.home} "
            f"--shell /usr/sbin/nologin {planned.user}, or give another with --user"
        ) from None
    made = [folder for folder in (planned.home, *planned.writes) if not folder.exists()]
    for folder in made:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, account.pw_uid, account.pw_gid)
        folder.chmod(0o700 if folder == planned.home else 0o750)
    try:
        _try_as(account, planned)
    except ConfigError:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # another account could not use it at the next try
        raise
    yield from (f"made     {folder}" for folder in made)


def _try_as(account: pwd.struct_passwd, planned: Service) -> None:
    """Run `xtalgrid status` the way the services will run.

    Raises
    ------
    ConfigError
        If the account cannot use the program, the configuration or the home.
    """
    try:
        tried = subprocess.run(
            [str(planned.program), "--config", str(planned.config), "--home", str(planned.home), "status"],
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=os.getgrouplist(account.pw_name, account.pw_gid),
            umask=PRIVATE,
            cwd="/",
            env={},
            capture_output=True,
            text=True,
        )
    except PermissionError as error:
        raise ConfigError(
            f"{planned.program}: {account.pw_name} cannot run it; install xtalgrid in a folder such as /opt"
        ) from error
    if tried.returncode:
        lines = tried.stderr.strip() or f"exit code {tried.returncode}"
        why = lines.splitlines()[-1].removeprefix("xtalgrid: ").removeprefix("Error: ")
        raise ConfigError(f"xtalgrid status, run as {account.pw_name}, fails: {why}")
