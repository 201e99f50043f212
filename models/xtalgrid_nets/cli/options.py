"""Shared by the commands of ``xtalgrid-train``: option types, groups of options, and one-line errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from xtalgrid_core.errors import XtalgridError, not_installed
from xtalgrid_core.options import DEFAULTS, ZOOM, Rule

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
THRESHOLD = click.FloatRange(0, 1, min_open=True)

_Command = Callable[..., Any]


class Command(click.Command):
    """A command whose errors are one line, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (XtalgridError, OSError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            raise click.ClickException(not_installed(error.name, "train")) from error


def finite(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Refuse NaN and infinity, which click's ranges let through, in a number, several numbers, or none."""
    for number in value if isinstance(value, tuple) else (value,):
        if number is not None and not math.isfinite(number):
            raise click.BadParameter("not a finite number")
    return value


def weights_options(command: _Command) -> _Command:
    """Add the options that choose networks: ``--weights``, ``--variant``."""
    return _with(
        command,
        click.option("--weights", type=FOLDER, help="Folder of weights (default: the package's own)."),
        click.option(
            "--variant",
            type=click.Choice(["fp32", "int8"]),
            help="Variant of the default weights (default: the default weights themselves).",
        ),
    )


def scoring_options(command: _Command) -> _Command:
    """Add the worker's scoring options, and `weights_options`.

    They are ``--rule``, ``--support``, ``--crystal-from``, ``--undecided``, ``--zoom`` and ``--exact``.
    """
    return _with(
        weights_options(command),
        click.option(
            "--rule", type=click.Choice(get_args(Rule)), default=DEFAULTS.rule, show_default=True, help="Decision rule."
        ),
        click.option(
            "--support",
            type=click.FloatRange(0, 1),
            default=DEFAULTS.support,
            show_default=True,
            callback=finite,
            help="Rule group: fraction of the chops covering a point that must agree on a crystal.",
        ),
        click.option(
            "--crystal-from",
            type=THRESHOLD,
            default=DEFAULTS.crystal_from,
            show_default=True,
            callback=finite,
            help="Rule pooled: minimum p_crystal to call a well a crystal.",
        ),
        click.option(
            "--zoom",
            type=click.FloatRange(1, 10),
            default=ZOOM,
            show_default=True,
            callback=finite,
            help="Rule pooled: score an image of a guessed scale again as if magnified so many times; 1: once.",
        ),
        click.option(
            "--undecided",
            type=click.FloatRange(0, 1),
            default=0.0,
            show_default=True,
            callback=finite,
            help="Rule pooled: a well of a lower probability is undecided; 0: never.",
        ),
        click.option("--exact", is_flag=True, help="Classify chops one by one, as published; many times slower."),
    )


def _with(command: _Command, *options: Callable[[_Command], _Command]) -> _Command:
    """Add options to a command; its help lists them in this order."""
    for option in reversed(options):
        command = option(command)
    return command
