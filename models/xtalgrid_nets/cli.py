"""The command ``xtalgrid-train``: render, fit, export, evaluate."""

from __future__ import annotations

from pathlib import Path

import click

from .adapt.commands import adapt
from .evaluation_plates_cli import render_test
from .explain.commands import explain
from .export_cli import export
from .fit.commands import fit
from .judge import commands as judging
from .marco.commands import import_
from .mxnet import commands as mxnet
from .networks.commands import networks
from .sets import commands as sets

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
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


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--wells", default=3000, show_default=True, help="Full-size wells: chops and views.")
@click.option("--views", default=6000, show_default=True, help="Small wells, for the segmenter alone.")
@click.option("--seed", default=1_000_000, show_default=True, help="The same seed renders the same wells.")
@click.option("--jobs", default=2, show_default=True, help="Processes.")
def render(folder: Path, wells: int, views: int, seed: int, jobs: int) -> None:
    """Render a training set into FOLDER."""
    from .data import render_dataset

    render_dataset(folder, wells=wells, views=views, seed=seed, jobs=jobs)


main.add_command(adapt)
main.add_command(explain)
main.add_command(export)
main.add_command(fit)
main.add_command(import_)
main.add_command(judging.calibrate)
main.add_command(judging.evaluate)
main.add_command(judging.evaluate_chops)
main.add_command(judging.rule)
main.add_command(judging.windows)
main.add_command(mxnet.import_mxnet)
main.add_command(mxnet.recordio)
main.add_command(networks)
main.add_command(render_test)
main.add_command(sets.chop_rules)
main.add_command(sets.dataset)
main.add_command(sets.marco)
main.add_command(sets.masks)
main.add_command(sets.uniform)
