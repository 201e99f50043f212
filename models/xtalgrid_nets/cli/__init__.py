"""The command ``xtalgrid-train``."""

from __future__ import annotations

import click

from . import adapt, explain, export, fit, imports, judge, networks, sets

_BEFORE_GROUPS = {
    **dict.fromkeys(
        ("chop-rules", "dataset", "marco", "masks", "recordio", "render", "render-test", "uniform"), sets.sets
    ),
    **dict.fromkeys(("calibrate", "evaluate", "evaluate-chops", "rule", "windows"), judge.judge),
    "import-mxnet": imports.import_,
}
"""Commands that were not in groups at first, and the group each is in now."""


class Commands(click.Group):
    """A group that takes `_BEFORE_GROUPS` too, for one release, and says on standard error what each is called now."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name or by its name before it was in a group."""
        old, *rest = args
        group = _BEFORE_GROUPS.get(old)
        if group is None:
            return super().resolve_command(ctx, args)
        new = old.removeprefix("import-")
        if not ctx.resilient_parsing:  # a shell that completes
            click.echo(f"xtalgrid-train {old} is called xtalgrid-train {group.name} {new} now", err=True)
        return old, group.commands[new], rest


@click.group(cls=Commands)
@click.version_option(package_name="xtalgrid")
@click.option("--threads", default=2, show_default=True, help="Processor cores to use.")
def main(threads: int) -> None:
    """Train xtalgrid's networks on rendered wells, and judge them on real ones."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed; training needs: pip install 'xtalgrid[train]'"
        ) from error

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
