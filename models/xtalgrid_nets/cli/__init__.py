"""The command ``xtalgrid-train``."""

from __future__ import annotations

import click

from xtalgrid_core.command_group import CommandGroup, own_name
from xtalgrid_core.errors import not_installed

from . import adapt, explain, export, fit, imports, judge, networks, sets

_BEFORE_GROUPS = {
    **dict.fromkeys(
        ("chop-rules", "dataset", "marco", "masks", "recordio", "render", "render-test", "uniform"), sets.sets
    ),
    **dict.fromkeys(("calibrate", "evaluate", "evaluate-chops", "rule", "windows"), judge.judge),
    "import-mxnet": imports.import_,
}
"""Former names of commands, from before there were groups, and the group of each."""


_WITHOUT_TORCH = ("import", "adapt")
"""A server that has no torch can import MARCO's network, and adapt what decides."""


class Commands(CommandGroup):
    """A group that also takes `_BEFORE_GROUPS`, for one release, and prints the new name on standard error."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its present or its former name."""
        old, *rest = own_name(args[0], _BEFORE_GROUPS), *args[1:]
        group = _BEFORE_GROUPS.get(old)
        if group is None:
            return super().resolve_command(ctx, args)
        new = old.removeprefix("import-")
        if not ctx.resilient_parsing:  # not while the shell completes a command
            click.echo(f"`xtalgrid-train {old}` is now called `xtalgrid-train {group.name} {new}`", err=True)
        return old, group.commands[new], rest


@click.group(cls=Commands)
@click.version_option(package_name="xtalgrid")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="Processor cores to use.")
@click.pass_context
def main(ctx: click.Context, threads: int) -> None:
    """Train xtalgrid's networks on rendered wells, and judge them on real ones."""
    if ctx.invoked_subcommand in _WITHOUT_TORCH:
        return
    try:
        import torch
    except ModuleNotFoundError as error:
        raise click.ClickException(not_installed(error.name, "train")) from error

    torch.set_num_threads(threads)


for command in (
    adapt.adapt,
    explain.explain,
    export.export,
    fit.fit,
    imports.import_,
    judge.judge,
    networks.networks,
    sets.sets,
):
    main.add_command(command)
