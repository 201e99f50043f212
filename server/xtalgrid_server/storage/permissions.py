"""What other accounts may read: nothing below `home`, whatever the umask was; elsewhere, what the umask lets them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config import Config

PRIVATE = 0o077
"""The umask of our programs: files get 0600, folders 0700."""
SHARED_FILE = 0o644
"""The mode of what others must be able to read: BOINC's web server, systemd, cron."""

_PASSWORD = re.compile("://[^/@]*:[^/@]+@")
"""In a database's URL."""

_given: int | None = None


def keep_private() -> None:
    """Let other accounts read nothing that this program and those it starts write from now on."""
    global _given
    _given = os.umask(PRIVATE)


def given_umask() -> int:
    """Return the umask that this program was started with; -1, which `subprocess` takes for no change, if unknown."""
    return -1 if _given is None else _given


@contextmanager
def as_given() -> Iterator[None]:
    """Write for others: as the umask says that the program was started with. For programs of one thread."""
    if _given is None:
        yield
        return
    private = os.umask(_given)
    try:
        yield
    finally:
        os.umask(private)


@contextmanager
def outside(home: Path, path: Path) -> Iterator[None]:
    """Write to a path: for others, unless it is in `home`."""
    if path.absolute().is_relative_to(home):
        yield
    else:
        with as_given():
            yield


def readable_secrets(config: Config) -> Iterator[str]:
    """Yield a line for each file with a secret that every account of this machine can read, with what to do."""
    if sys.platform == "win32":
        return
    urls = (config.imager.url, config.imager.write_url, config.ledger.url, config.boinc.database)
    passwords = (config.imager.password_file, config.imager.write_password_file, config.alerts.password_file)
    files = [(Path(name).expanduser(), "has a password") for name in passwords if name]
    if config.file is not None and any(_PASSWORD.search(url) for url in urls):
        files.append((config.file, "has a database's password"))
    for path, what in files:
        if _is_open(path):
            yield f"{path} {what}, and every account of this machine can read it: chmod o= {path}"
    home = config.home
    if any(_is_open(path) for path in (home / "viewer.key", home / "ledger.db", home / "access.log")):
        yield f"{home} has sessions and scores, and every account of this machine can read them: chmod o= {home}"


def _is_open(path: Path) -> bool:
    try:
        real = path.resolve(strict=True)
        return bool(real.stat().st_mode & 0o004) and all(above.stat().st_mode & 0o001 for above in real.parents)
    except OSError:
        return False
