"""The command ``xtalgrid``. Commands that replace a published script have the script's name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xtalgrid_core.command_group import CommandGroup, say_error
from xtalgrid_core.errors import Busy, XtalgridError, not_installed
from xtalgrid_core.files import readable

from ..domain.exit_codes import EXIT_BUSY
from ..domain.log import set_up_logging
from .parameters import GivenPath

if TYPE_CHECKING:
    from ..config import Config

EXIT_ERROR = 2

_MODULES = {
    "chain": (
        *("create_work", "grid", "assimilate", "finalizer", "set_autoscore", "ispyb-schema", "sync", "look_again"),
        *("alerts", "approve", "reject", "pause", "resume"),
    ),
    "exchange": ("layout", "import-scores", "import-annotations", "export", "export-scored"),
    "folders": ("run", "import-folder", "demo"),
    "operations": ("init", "check-imager", "status", "serve"),
    "reports": ("explain", "history", "agreement", "disagreements", "search", "fluorescence", "marks"),
    "boinc": ("boinc",),
    "models": ("model",),
    "users": ("projects", "user"),
    "plate_report": ("report",),
    "service": ("service",),
    "simulation": ("simulate",),
    "tokens": ("token",),
    "viewer": ("viewer",),
    "volunteer": ("volunteer",),
}
"""The modules beside this one, and the commands that each has."""


class _Imported(MutableMapping[str, click.Command]):
    """Commands by name. A command's module is imported when it is asked for: all of them would double its start."""

    def __init__(self, modules: dict[str, tuple[str, ...]]) -> None:
        self._known: dict[str, str | click.Command] = {
            name: module for module, names in modules.items() for name in names
        }

    def __getitem__(self, name: str) -> click.Command:
        found = self._known[name]
        if isinstance(found, str):
            found = self._known[name] = _command(name, found)
        return found

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _command(name: str, module: str) -> click.Command:
    """Import a command; if only the worker is installed, exit and say what is missing."""
    try:
        there = vars(importlib.import_module(f"{__package__}.{module}"))
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("xtalgrid"):
            raise
        sys.exit(f"xtalgrid: {not_installed(error.name, 'server')}")
    return next(found for found in there.values() if isinstance(found, click.Command) and found.name == name)


class _Commands(CommandGroup):
    """Commands whose errors for users are one message and an exit code, never a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read an argument that is not UTF-8, unless it is a file, as the name of such a folder was read."""
        return super().parse_args(ctx, [one if os.path.exists(one) else readable(one) for one in args])  # noqa: PTH110

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Busy as error:
            say_error(f"xtalgrid: {error}")
            sys.exit(EXIT_BUSY)
        except XtalgridError as error:
            say_error(f"xtalgrid: {error}")
            sys.exit(EXIT_ERROR)
        except RuntimeError as error:  # pathlib's
            if "home directory" not in str(error):
                raise
            say_error("xtalgrid: a path begins with ~, and its account has no home folder; write the whole path")
            sys.exit(EXIT_ERROR)
        except BrokenPipeError:
            raise  # the reader of our output has closed the pipe: click exits quietly
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            say_error(f"xtalgrid: {where}{error.strerror or error}; fix this, then run the command again")
            sys.exit(EXIT_ERROR)


@click.group(
    cls=_Commands,
    commands=_Imported(_MODULES),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="xtalgrid")
@click.option(
    "--config",
    "file",
    type=GivenPath(path_type=Path),
    help="Configuration file; default: xtalgrid.toml in this folder.",
)
@click.option("--home", type=GivenPath(path_type=Path), help="Data folder; default: as configured, or xtalgrid-data.")
@click.pass_context
def main(ctx: click.Context, file: Path | None, home: Path | None) -> None:
    """Score every drop a crystallization imager photographs."""
    set_up_logging()

    def load() -> Config:
        from ..config import load

        return load(file, home)

    ctx.obj = load
