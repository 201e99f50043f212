"""A BOINC project's folder: its configuration, and its own tools, which must run in it."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from xtalgrid_core.errors import ConfigError, GridError

from ...config import Config
from ...storage.permissions import SHARED_FILE, given_umask
from .names import download_path

_PATIENCE_SECONDS = 900

_LONGEST_PATH = 120
"""Bytes; the native stage_file has 256 for a path, and the name of a weights file takes 69."""

_FANOUT = 1024
"""BOINC's default, if config.xml sets none."""


class Project:
    """A BOINC project on this machine.

    Raises
    ------
    ConfigError
        If the folder is not a BOINC project, or its config.xml cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "config.xml"
        try:  # safe to parse: only the project's owner can write it
            root = ET.parse(path).getroot()  # noqa: S314
        except OSError as error:
            raise ConfigError(
                f"boinc.project: {folder} is not a BOINC project ({path.name}: {error.strerror}); give the folder that "
                "make_project created"
            ) from error
        except ET.ParseError as error:
            raise ConfigError(f"boinc.project: {path} is not XML ({error})") from error
        config = root.find("config")
        self._config = root if config is None else config

    def setting(self, name: str, default: str = "") -> str:
        """Return an option of config.xml."""
        text = self._config.findtext(name)
        return default if text is None else text.strip()

    def database_url(self) -> sa.URL:
        """Return the URL of the project's database, from config.xml."""
        host, port = self.setting("db_host", "localhost"), ""
        if host.count(":") == 1:  # more of them are an IPv6 address
            host, _, port = host.partition(":")
        return sa.URL.create(
            "mysql+pymysql",
            username=self.setting("db_user") or None,
            password=self.setting("db_passwd") or None,
            host=host or "localhost",
            port=int(port) if port.isdigit() else None,
            database=self.setting("db_name"),
        )

    def downloads(self, name: str) -> Path:
        """Return the path of a staged file."""
        folder = self.folder / self.setting("download_dir", "download")
        fanout = self.setting("uldl_dir_fanout")
        return download_path(folder, int(fanout) if fanout.isdigit() else _FANOUT, name)

    def stage(self, folder: Path) -> None:
        """Move all files of a folder into BOINC's download folder. The content of a file name must never change.

        Raises
        ------
        GridError
            If BOINC did not take them.
        """
        if len(os.fsencode(folder)) > _LONGEST_PATH:
            raise GridError(f"{folder}: the path is too long for BOINC's stage_file; choose a shorter home")
        native = self.folder / "bin" / "stage_file_native"  # since 1.4; the PHP tool is broken in servers of 2026
        tool = native if native.is_file() else self.folder / "bin" / "stage_file"
        for path in folder.iterdir():
            path.chmod(SHARED_FILE)
        self._run([str(tool), str(folder)])

    def create_work(self, options: Sequence[str], lines: Sequence[str]) -> None:
        """Create many work units at once, from a line for each: options and input files.

        Raises
        ------
        GridError
            If BOINC did not take all of them.
        """
        self._run(
            [str(self.folder / "bin" / "create_work"), *options, "--stdin"], "".join(f"{line}\n" for line in lines)
        )

    def _run(self, command: list[str], text: str = "") -> None:
        name = Path(command[0]).name
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                input=text,
                capture_output=True,
                encoding="utf-8",
                errors="replace",  # whatever the locale: a database's messages may be in another one
                timeout=_PATIENCE_SECONDS,
                check=False,
                umask=given_umask(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GridError(f"cannot run {command[0]}: {error}; is {self.folder} a complete BOINC project?") from error
        if done.returncode:
            output = " ".join(f"{done.stderr} {done.stdout}".split())[-600:]
            raise GridError(f"BOINC's {name} failed with exit code {done.returncode}: {output or 'no output'}")


def open_project(config: Config) -> Project:
    """Open the configured project.

    Raises
    ------
    ConfigError
        If none is configured, or the folder is not one.
    """
    if not config.boinc.project:
        raise ConfigError("boinc.project: not set; give the folder of the BOINC project")
    return Project(Path(config.boinc.project).expanduser())
