"""The command ``xtalgrid``. Commands that replace a published script have the script's name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from xtalgrid_core.command_group import CommandGroup, say_error
from xtalgrid_core.errors import Busy, XtalgridError
from xtalgrid_core.files import readable

from .. import config as configuration
from ..steps.step import EXIT_BUSY, set_up_logging
from .boinc import boinc
from .chain import CHAIN
from .exchange import EXCHANGE
from .folders import FOLDERS
from .models import model
from .operations import OPERATIONS
from .options import GivenPath
from .plate_report import report
from .reports import REPORTS
from .service import service
from .simulation import simulate_command
from .tokens import tokens
from .users import projects_command, users
from .viewer import viewer
from .volunteer import volunteer

EXIT_ERROR = 2


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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    ctx.obj = lambda: configuration.load(file, home)


for command in (
    *CHAIN,
    *EXCHANGE,
    *FOLDERS,
    *OPERATIONS,
    *REPORTS,
    boinc,
    model,
    projects_command,
    report,
    service,
    simulate_command,
    tokens,
    users,
    viewer,
    volunteer,
):
    main.add_command(command)
