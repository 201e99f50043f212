"""``xtalgrid-train import``: import published networks."""

from __future__ import annotations

from pathlib import Path

import click

from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.images import MEAN_RGB
from xtalgrid_core.outcomes import CLASSES, Outcome

from .options import Command

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_OUT = click.Path(path_type=Path, dir_okay=False)


@click.group("import")
def import_() -> None:
    """Import published networks."""


@import_.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of weights of its own."
)
@click.option(
    "--wheel",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="dls_marco_score_ispyb-1.0.1-py3-none-any.whl, if it is here already; otherwise pip downloads it (43 MB).",
)
def marco(out: Path, wheel: Path | None) -> None:
    """Import the published MARCO network as a second opinion.

    The wheel is checked by its SHA-256 and never installed. The resulting files are always the same. This needs no
    torch, only what `pip install 'xtalgrid[marco]'` brings.
    """
    try:
        from ..marco.install import install
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed; this import needs: pip install 'xtalgrid[marco]'"
        ) from error
    try:
        manifest = install(out, wheel)
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for entry in manifest.models:
        click.echo(f"{entry.role}  {entry.variant}  {entry.sha256}  {out / entry.file}")


@import_.command("mxnet", cls=Command)
@click.argument("symbol", metavar="PREFIX-symbol.json", type=_FILE)
@click.argument("params", metavar="PREFIX-0000.params", type=_FILE)
@click.argument("out", metavar="OUT", type=_OUT)
@click.option(
    "--classes",
    metavar="NAME,NAME,…",
    help="What the outputs mean, in their order: the 13 outcomes, or any names of yours for another count.",
)
@click.option(
    "--pool",
    type=click.Choice(["13", "mean"]),
    help="13: the top-left 13×13 of a chop's 15×15 cells, as MXNet's AvgPool2D(13); mean: all. "
    "[default: as in the file]",
)
@click.option(
    "--mean", nargs=3, type=float, default=MEAN_RGB, show_default=True, help="Subtracted in its training (RGB)."
)
@click.option(
    "--std",
    nargs=3,
    type=click.FloatRange(0, min_open=True),
    default=(1.0, 1.0, 1.0),
    show_default=True,
    help="Divided by (0..255).",
)
@click.option("--bgr", is_flag=True, help="It was trained on blue, green, red.")
def mxnet(
    symbol: Path,
    params: Path,
    out: Path,
    classes: str | None,
    pool: str | None,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    bgr: bool,
) -> None:
    """Import a SqueezeNet checkpoint of MXNet: gluon's 1.0 and 1.1, or the paper's with ELU.

    OUT.pt is a trained state, for `export` and the worker; OUT.npz has only the features, for `fit --start`, and may
    come from a checkpoint with any outputs.
    """
    from ..mxnet.checkpoints import import_checkpoint, read_symbol, save_features
    from ..networks import NETWORKS
    from ..states import save_trained

    features_only = out.suffix == ".npz"
    try:
        found = read_symbol(symbol)
        names, order = ([], None) if features_only else _outputs(found.classes, classes)
        net, name = import_checkpoint(
            symbol,
            params,
            pool=pool,  # type: ignore[arg-type]
            order=order,
            mean=mean,
            std=std,
            bgr=bgr,
        )
        if features_only:
            save_features(out, net)
            click.echo(f"{out}: features of SqueezeNet {found.version}")
            return
        files = [symbol.name, params.name]
        record = {"imported": files, "outputs": classes, "mean": list(mean), "std": list(std), "bgr": bgr}
        save_trained(out, net, name, record, classes=names)
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out}: {name}, {found.classes} outputs")
    if found.classes != len(CLASSES):
        click.echo(f"The worker needs {len(CLASSES)} outputs. To start a training from this one, write OUT.npz.")
    elif not NETWORKS[name].dense:
        click.echo("It is scored chop by chop, which takes longer than dense scoring.")
        if not found.elu:
            click.echo("With --pool mean it is scored densely, at somewhat other probabilities.")


def _outputs(count: int, text: str | None) -> tuple[list[str], list[int] | None]:
    """Return the names of the outputs as stored, and the position of each in the checkpoint."""
    names = [name.strip() for name in text.split(",")] if text else [str(number) for number in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise click.ClickException(f"the checkpoint has {count} outputs, --classes names {len(set(names))}")
    if count != len(CLASSES):
        return names, None
    if text is None:
        raise click.ClickException("what do the 13 outputs mean? Say it with --classes NAME,NAME,… in their order")
    strangers = sorted({name.lower() for name in names} ^ {str(outcome) for outcome in CLASSES})
    if strangers:
        raise click.ClickException(
            f"--classes must name the 13 outcomes ({', '.join(CLASSES)}); look at: {', '.join(strangers)}"
        )
    place = {Outcome(name.lower()): number for number, name in enumerate(names)}
    return [str(outcome) for outcome in CLASSES], [place[outcome] for outcome in CLASSES]
