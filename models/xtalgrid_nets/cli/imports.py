"""``xtalgrid-train import``: import published networks."""

from __future__ import annotations

from pathlib import Path

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import XtalgridError, not_installed
from xtalgrid_core.images import MEAN_RGB
from xtalgrid_core.outcomes import CLASSES, Outcome

from .options import Command

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_OUT = click.Path(path_type=Path, dir_okay=False)


@click.group("import", cls=CommandGroup)
def import_() -> None:
    """Import published networks."""


@import_.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for these weights alone."
)
@click.option(
    "--wheel",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Path of dls_marco_score_ispyb-1.0.1-py3-none-any.whl (default: pip downloads it, 43 MB).",
)
def marco(out: Path, wheel: Path | None) -> None:
    """Import the published MARCO network as a second opinion.

    The wheel is checked by its SHA-256 and never installed. The resulting files are always the same. This needs no
    torch, only the extra marco.
    """
    try:
        from ..marco.install import install
    except ModuleNotFoundError as error:
        raise click.ClickException(not_installed(error.name, "marco")) from error
    from xtalgrid_core.weights import MANIFEST, read_manifest

    try:
        before = read_manifest(out).models if (out / MANIFEST).is_file() else ()
        manifest = install(out, wheel)
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for entry in manifest.models:
        say(f"{entry.role}  {entry.variant}  {entry.sha256}  {out / entry.file}")
    for old in before:
        if old.combination not in (None, *(new.combination for new in manifest.models if new.sha256 == old.sha256)):
            say(
                f"{old.variant}: replaced {old.combination}, which was fitted here or came with another release; "
                "fit it again with `xtalgrid-train judge second-opinion`"
            )


@import_.command("mxnet", cls=Command)
@click.argument("symbol", metavar="PREFIX-symbol.json", type=_FILE)
@click.argument("params", metavar="PREFIX-0000.params", type=_FILE)
@click.argument("out", metavar="OUT", type=_OUT)
@click.option(
    "--classes",
    metavar="NAME,NAME,…",
    help="Meaning of the outputs, in their order: the 13 outcomes, or any names if there are not 13.",
)
@click.option(
    "--pool",
    type=click.Choice(["13", "mean"]),
    help="Cells of a chop to average: 13: the top-left 13×13 of 15×15, like MXNet's AvgPool2D(13); mean: all. "
    "[default: as in the file]",
)
@click.option(
    "--mean",
    nargs=3,
    type=float,
    default=MEAN_RGB,
    show_default=True,
    help="Values (RGB) that its training subtracted from the pixels.",
)
@click.option(
    "--std",
    nargs=3,
    type=click.FloatRange(0, min_open=True),
    default=(1.0, 1.0, 1.0),
    show_default=True,
    help="Values (RGB, 0..255) that its training divided the pixels by.",
)
@click.option("--bgr", is_flag=True, help="It was trained on pixels in the order blue, green, red.")
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
        checkpoint = read_symbol(symbol)
        names, order = ([], None) if features_only else _outputs(checkpoint.classes, classes)
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
            say(f"{out}: features of SqueezeNet {checkpoint.version}")
            return
        files = [symbol.name, params.name]
        record = {"imported": files, "outputs": classes, "mean": list(mean), "std": list(std), "bgr": bgr}
        save_trained(out, net, name, record, classes=names)
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    say(f"{out}: {name}, {checkpoint.classes} outputs")
    if checkpoint.classes != len(CLASSES):
        say(f"The worker needs {len(CLASSES)} outputs. To start training from this one, write to OUT.npz.")
    elif not NETWORKS[name].dense:
        say("This network classifies chops one by one, which takes longer than dense scoring.")
        if not checkpoint.elu:
            say("With --pool mean it can score densely, with slightly different probabilities.")


def _outputs(count: int, text: str | None) -> tuple[list[str], list[int] | None]:
    """Return the names of the outputs as stored, and the position of each in the checkpoint."""
    names = [name.strip() for name in text.split(",")] if text else [str(number) for number in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise click.ClickException(f"the checkpoint has {count} outputs, but --classes names {len(set(names))}")
    if count != len(CLASSES):
        return names, None
    if text is None:
        raise click.ClickException(
            "the meaning of the 13 outputs is unknown; name them in order with --classes NAME,NAME,…"
        )
    mismatched = sorted({name.lower() for name in names} ^ {str(outcome) for outcome in CLASSES})
    if mismatched:
        raise click.ClickException(
            f"--classes must name the 13 outcomes ({', '.join(CLASSES)}); wrong or missing: {', '.join(mismatched)}"
        )
    place = {Outcome(name.lower()): number for number, name in enumerate(names)}
    return [str(outcome) for outcome in CLASSES], [place[outcome] for outcome in CLASSES]
