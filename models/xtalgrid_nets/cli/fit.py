"""The command ``xtalgrid-train fit``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import finite

_SET = click.Path(path_type=Path, file_okay=False, exists=True)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_RUN = click.Path(path_type=Path, file_okay=False, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.argument("recipe")
@click.option(
    "--data", type=_SET, multiple=True, required=True, help="A training set. Repeatable; several sets are read as one."
)
@click.option("--out", type=_FOLDER, required=True, help="The run's folder.")
@click.option(
    "--start", type=_FILE, help="Initial weights: ImageNet's (.npz), a trained state (.pt) or a worker's (.onnx)."
)
@click.option("--resume", is_flag=True, help="Continue the run in --out from its last checkpoint.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Maximum time, including earlier parts of a resumed run; the schedule is adjusted to it unless it is steady.",
)
@click.option("--cpu-time", is_flag=True, help="Count --minutes in CPU time of this process; needs --loaders 0.")
@click.option("--after", type=_RUN, help="The run of which this is the next leg: go on from its last step.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe. Repeatable."
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Device for torch."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="auto: bfloat16 if the processor supports it.",
)
@click.option(
    "--loaders",
    type=click.IntRange(0, 16),
    default=1,
    show_default=True,
    help="Number of processes that prepare batches.",
)
def fit(
    recipe: str,
    data: tuple[Path, ...],
    out: Path,
    start: Path | None,
    resume: bool,
    minutes: float | None,
    cpu_time: bool,
    after: Path | None,
    changes: tuple[str, ...],
    device: str,
    precision: str,
    loaders: int,
) -> None:
    """Train a network with RECIPE, a TOML file or the name of a packaged recipe.

    If the run is stopped (Ctrl-C, SIGTERM), it first writes a checkpoint; --resume continues it.
    """
    from xtalgrid_core.errors import XtalgridError

    from ..fit.recipe import read_recipe
    from ..fit.train import fit as train
    from ..fit.train import keep_memory

    if cpu_time and loaders:
        raise click.UsageError("--cpu-time counts this process alone; give --loaders 0 with it")
    keep_memory()
    try:
        finished = train(
            read_recipe(recipe, changes),
            data,
            out,
            start=start,
            resume=resume,
            after=after,
            minutes=minutes,
            cpu_time=cpu_time,
            device=device,
            precision=precision,
            loaders=loaders,
        )
    except XtalgridError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(
            f"{error}; fix this, then continue from the last checkpoint with --resume"
        ) from error
    if not finished:
        click.echo(f"stopped; run the same command with --resume to continue from {out / 'checkpoint.pt'}", err=True)
        raise SystemExit(130)
    click.echo(f"trained: {out / 'state.pt'}")
