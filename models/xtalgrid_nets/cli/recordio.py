"""``xtalgrid-train sets recordio``: convert MXNet's packs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.outcomes import PRIORITY

if TYPE_CHECKING:
    from ..mxnet.packs import Packed

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_OUT = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=CommandGroup)
def recordio() -> None:
    """Convert chop sets to MXNet's RecordIO packs (im2rec) and back; needs no MXNet."""


@recordio.command("pack")
@click.argument("folder", metavar="SET", type=_FOLDER)
@click.argument("prefix", type=_OUT)
@click.option(
    "--part",
    type=click.Choice(["all", "training", "held-out"]),
    default="all",
    show_default=True,
    help="Which chops of the set to convert.",
)
@click.option(
    "--jpeg",
    type=click.IntRange(1, 100),
    metavar="QUALITY",
    help="Write JPEG instead of PNG: smaller, but not lossless.",
)
def pack(folder: Path, prefix: Path, part: str, jpeg: int | None) -> None:
    """Write the chops of SET as PREFIX.rec, .idx and .lst (labels: 0 is the first of the 13 classes)."""
    from ..mxnet.packs import pack as write

    try:
        packed = write(folder, prefix, part=part, quality=jpeg)  # type: ignore[arg-type]
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    say(f"{prefix}.rec: {packed.images:,} chops")


@recordio.command("unpack")
@click.argument("rec", type=_FILE)
@click.argument("folder", metavar="SET", type=_FOLDER)
@click.option("--classes", metavar="NAME,NAME,…", help="Meaning of the labels 0, 1, … of a pack that is not ours.")
@click.option(
    "--wells",
    metavar="REGEX",
    help="Regular expression that finds a chop's plate, (?P<plate>…), and optionally its well, (?P<well>…), "
    "in the paths of the .lst.",
)
def unpack(rec: Path, folder: Path, classes: str | None, wells: str | None) -> None:
    """Make a training set SET from the pack REC.

    --classes takes our classes ("crystals harvestable", …, "rim") or, if "crystal" is among them, the groups crystal,
    precipitate, other and clear, and rim.
    """
    from ..mxnet.packs import unpack as read

    try:
        pattern = re.compile(wells) if wells else None
        if pattern and "plate" not in pattern.groupindex:
            raise click.ClickException("--wells needs a group (?P<plate>…), because validation holds out whole plates")
        has_table = rec.with_name(f"{rec.stem}.wells.csv").is_file()
        packed = read(rec, folder, classes=_meanings(classes) if classes else None, wells=pattern)
    except re.error as error:
        raise click.ClickException(f"--wells {wells}: not a regular expression ({error})") from error
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _report(packed, folder)
    if not (has_table or wells):
        say(
            "Each chop counts as its own plate, so chops of one well may be used both for training and for validation; "
            "to avoid this, give --wells."
        )


def _report(packed: Packed, folder: Path) -> None:
    say(f"{folder}: {packed.images:,} chops")
    if packed.failed:
        for name, reason in list(packed.failed.items())[:10]:
            say(f"  left out: {name}: {reason}", err=True)
        say(f"  {len(packed.failed):,} images left out; dataset.json lists them with the reasons", err=True)


def _meanings(text: str) -> list[tuple[int, str]]:
    from ..sets.labels import Labels

    names = [name.strip() for name in text.split(",")]
    labels = Labels(groups="crystal" in (name.lower() for name in names))
    read = [labels.read(name) for name in names]
    return [(PRIORITY[label.outcome], str(label)) for label in read if label is not None]
