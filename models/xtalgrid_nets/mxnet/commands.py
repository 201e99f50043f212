"""``xtalgrid-train recordio`` and ``xtalgrid-train import-mxnet``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.images import MEAN_RGB
from xtalgrid_core.outcomes import CLASSES, PRIORITY, Outcome

if TYPE_CHECKING:
    from .packs import Packed

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_OUT = click.Path(path_type=Path, dir_okay=False)


@click.group()
def recordio() -> None:
    """Chop sets to MXNet's RecordIO packs (im2rec) and back; needs no MXNet."""


@recordio.command("pack")
@click.argument("folder", metavar="SET", type=_FOLDER)
@click.argument("prefix", type=_OUT)
@click.option(
    "--part",
    type=click.Choice(["all", "training", "held-out"]),
    default="all",
    show_default=True,
    help="Which chops of the set.",
)
@click.option(
    "--jpeg", type=click.IntRange(1, 100), metavar="QUALITY", help="JPEG, not PNG: smaller, and not the same."
)
def pack(folder: Path, prefix: Path, part: str, jpeg: int | None) -> None:
    """Write the chops of SET as PREFIX.rec, .idx and .lst (labels: 0 is the first of the 13 classes)."""
    from .packs import pack as write

    try:
        packed = write(folder, prefix, part=part, quality=jpeg)  # type: ignore[arg-type]
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{prefix}.rec: {packed.images:,} chops")


@recordio.command("unpack")
@click.argument("rec", type=_FILE)
@click.argument("folder", metavar="SET", type=_FOLDER)
@click.option("--classes", metavar="NAME,NAME,…", help="What the labels 0, 1, … of a pack from elsewhere mean.")
@click.option(
    "--wells",
    metavar="REGEX",
    help="Whose chop it is, from the paths of the .lst: a regular expression with (?P<plate>…), and (?P<well>…) if it can.",
)
def unpack(rec: Path, folder: Path, classes: str | None, wells: str | None) -> None:
    """Make a training set SET of the pack REC.

    Classes are ours ("crystals harvestable", …, "rim") or, with "crystal" among them, the groups crystal, precipitate, other, clear, and rim.
    """
    from .packs import unpack as read

    try:
        pattern = re.compile(wells) if wells else None
        if pattern and "plate" not in pattern.groupindex:
            raise click.ClickException("--wells needs a part (?P<plate>…): the split for validation goes by plate")
        ours = rec.with_name(f"{rec.stem}.wells.csv").is_file()
        packed = read(rec, folder, classes=_meanings(classes) if classes else None, wells=pattern)
    except re.error as error:
        raise click.ClickException(f"--wells {wells}: no regular expression ({error})") from error
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _report(packed, folder)
    if not (ours or wells):
        click.echo(
            "Each chop counts as a plate of its own: chops of one well may be trained on and held out. Say --wells."
        )


def _report(packed: Packed, folder: Path) -> None:
    click.echo(f"{folder}: {packed.images:,} chops")
    if packed.failed:
        for name, reason in list(packed.failed.items())[:10]:
            click.echo(f"  left out: {name}: {reason}", err=True)
        click.echo(f"  {len(packed.failed):,} images left out; dataset.json names each and why", err=True)


def _meanings(text: str) -> list[tuple[int, str]]:
    from ..sets.labels import Labels

    names = [name.strip() for name in text.split(",")]
    labels = Labels(groups="crystal" in (name.lower() for name in names))
    read = [labels.read(name) for name in names]
    return [(PRIORITY[label.outcome], str(label)) for label in read if label is not None]


@click.command("import-mxnet")
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
    help="13: the top-left 13×13 of a chop's 15×15 cells, as MXNet's AvgPool2D(13); mean: all. [default: as in the file]",
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
def import_mxnet(
    symbol: Path,
    params: Path,
    out: Path,
    classes: str | None,
    pool: str | None,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    bgr: bool,
) -> None:
    """Take a SqueezeNet checkpoint of MXNet over: gluon's 1.0 and 1.1, and the paper's with ELU.

    OUT.pt is a trained state, for `export` and the worker; OUT.npz has the features alone, for `fit --start`, whatever the outputs were.
    """
    from ..networks import NETWORKS
    from ..states import save_trained
    from .checkpoints import import_checkpoint, read_symbol, save_features

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
    """The names of the outputs as they are stored, and where each stands in the checkpoint."""
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
