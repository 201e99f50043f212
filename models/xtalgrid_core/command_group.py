"""Groups of commands whose names can be typed with ``_`` or ``-``, and the lines that commands print.

Only the programs' command lines import this module, so that the library needs no click.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from .lines import message_lines, one_line


def say(line: str, err: bool = False) -> None:
    """Print one line on standard output or standard error, whatever characters are in it."""
    click.echo(one_line(line), err=err)


def say_error(text: str) -> None:
    """Print a message, which may have several lines, on standard error."""
    click.echo(message_lines(text), err=True)


class CommandGroup(click.Group):
    """A group that finds commands by both spellings; help and messages show each command's own name."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what its errors quote from elsewhere is shown as `say` would."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = message_lines(error.message)  # type: ignore[misc]
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by either spelling of its name."""
        return super().resolve_command(ctx, [own_name(args[0], self.commands), *args[1:]])


def own_name(typed: str, names: Iterable[str]) -> str:
    """Return the name that was typed with ``_`` or ``-``, or what was typed if there is none.

    Examples
    --------
    >>> own_name("create-work", ["create_work", "import-folder"])
    'create_work'
    >>> own_name("status", ["create_work", "import-folder"])
    'status'
    """
    return next((name for name in names if name.replace("_", "-") == typed.replace("_", "-")), typed)
