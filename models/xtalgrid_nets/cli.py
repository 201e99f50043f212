"""The command ``xtalgrid-train``: render, fit, export, evaluate."""

from __future__ import annotations

from pathlib import Path

import click

from .fit_cli import fit
from .render_test import render_test

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
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
@click.option("--seed", default=1_000_000, show_default=True)
@click.option("--jobs", default=2, show_default=True)
def render(folder: Path, wells: int, views: int, seed: int, jobs: int) -> None:
    """Render a training set into FOLDER."""
    from .data import render_dataset

    render_dataset(folder, wells=wells, views=views, seed=seed, jobs=jobs)


@main.command()
@click.option("--segmenter", type=_FILE, help="Trained state of a segmenter.")
@click.option("--classifier", type=_FILE, help="Trained state of a classifier.")
@click.option("--out", type=_FOLDER, help="Folder of weights (default: the package's own).")
@click.option("--crystal-shift", default=0.0, show_default=True, help="Taken from the crystal classes' log-odds.")
def export(segmenter: Path | None, classifier: Path | None, out: Path | None, crystal_shift: float) -> None:
    """Write ONNX files and their manifest."""
    from xtalgrid_core.weights import PACKAGED, Role

    from .export import install

    states: dict[Role, Path] = {}
    if segmenter:
        states["segmenter"] = segmenter
    if classifier:
        states["classifier"] = classifier
    for entry in install(states, out or PACKAGED, crystal_shift=crystal_shift).models:
        click.echo(f"{entry.role}: {entry.file} {entry.sha256}")


@main.command()
@click.option("--real", type=_FOLDER, help="Folder of real wells with labels.csv.")
@click.option("--rendered", default=0, show_default=True, help="How many wells to render and judge as well.")
@click.option("--seed", default=9_000_000, show_default=True, help="Of the rendered wells; training uses others.")
@click.option("--weights", type=_FOLDER, help="Folder of weights (default: the package's own).")
@click.option("--work", type=_FOLDER, required=True, help="Scratch folder for results and rendered wells.")
@click.option(
    "--calibrate",
    is_flag=True,
    help="First fit p_crystal on as many other rendered wells, and write it to the manifest.",
)
@click.pass_context
def evaluate(
    ctx: click.Context, real: Path | None, rendered: int, seed: int, weights: Path | None, work: Path, calibrate: bool
) -> None:
    """Score wells with the real worker and report each source by itself."""
    from xtalgrid_core.weights import PACKAGED

    from . import calibrate as calibration
    from . import evaluate as judge

    threads = ctx.parent.params["threads"] if ctx.parent else 1
    if calibrate:
        others = judge.rendered_truth(work / "calibration", wells=rendered, seed=seed + 500_000, even=True)
        found, error = calibration.calibrate(others, work / "calibration", weights or PACKAGED, threads)
        click.echo(
            f"p_crystal: slope {found.slope}, intercept {found.intercept}; calibration error {error:.3f} on {len(others)} rendered wells"
        )
    truths = judge.real_truth(real) if real else []
    if rendered:
        truths += judge.rendered_truth(work / "rendered", wells=rendered, seed=seed)
    scored = judge.score([t.path for t in truths], work / "scores", weights=weights, threads=threads)
    click.echo("\n".join(judge.report(truths, scored)))


main.add_command(fit)
main.add_command(render_test)
