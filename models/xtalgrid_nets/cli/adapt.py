"""The command ``xtalgrid-train adapt``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from xtalgrid_core.command_group import say
from xtalgrid_core.options import DEFAULTS

from .options import FILE, FOLDER, Command, finite


@click.command("adapt", cls=Command)
@click.argument("wells", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=FOLDER)
@click.option("--source", "only", multiple=True, help="Adapt only to this source of WELLS (default: all). Repeatable.")
@click.option(
    "--frozen",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Real wells, including crystals, that no model is fitted to: a table or folder, like WELLS. Repeatable.",
)
@click.option("--rendered", type=FOLDER, help="Rendered plates for the comparison (default: render some).")
@click.option("--rendered-wells", default=16, show_default=True, help="Wells to render on each of 4 plates.")
@click.option("--weights", "current", type=FOLDER, help="Folder of the weights in use (default: the package's own).")
@click.option(
    "--second-opinion",
    type=click.Path(path_type=Path),
    help="The second opinion in use, its folder or its file; how it is combined is adapted too.",
)
@click.option(
    "--remember-wells",
    default=30,
    show_default=True,
    type=click.IntRange(1, 288),
    help="Wells to render on each of 4 other plates, whose crystals must not be lost.",
)
@click.option(
    "--folds",
    type=click.Choice(["auto", "plate", "column"]),
    default="auto",
    show_default=True,
    help="What to leave out in turn for judging the adaptation; auto: plates if there are at least 3, else columns.",
)
@click.option(
    "--column-from", metavar="REGEX", help="Regular expression whose first group is the column in a file name."
)
@click.option("--last-layer", is_flag=True, help="Try to fit the end of the network, too; takes torch, and longer.")
@click.option(
    "--start",
    type=FILE,
    help="With --last-layer: state (.pt) or classifier (.onnx) to adapt (default: the one in use).",
)
@click.option(
    "--remember",
    multiple=True,
    type=FOLDER,
    help="With --last-layer: training set with patches to remember (default: render wells).",
)
@click.option(
    "--crystal-from",
    default=DEFAULTS.crystal_from,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    callback=finite,
    help="Probability from which a well is called a crystal; work.crystal_from, where that is set.",
)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="Number of workers.")
def adapt(wells: Path, out: Path, last_layer: bool, **options: Any) -> None:
    """Fit what decides to a lab's own scored WELLS; write the candidate and its comparison to OUT.

    WELLS is a CSV table (plate, image, and label or outcome) or a folder of sets of wells with one labels.csv. If the
    candidate is better, `xtalgrid model promote OUT` puts it into use. After an interruption, the same command
    continues where it stopped. No torch is needed without --last-layer.
    """
    from ..adapt.run import Plan
    from ..adapt.run import adapt as run

    chosen = {key: value for key, value in options.items() if value is not None}
    result = run(Plan(wells=wells, out=out, last_layer=last_layer, **chosen), bar)
    for path, reason in result.left_out.items():
        say(f"left out  {path}: {reason}", err=True)
    for fold, number, before, after, step in result.folds:
        say(f"{fold}: {after} of {number} right, {before} before ({step})")
    say(f"{result.comparison.verdict} ({result.step}):")
    for reason in result.comparison.reasons:
        say(f"  {reason}")
    for note in result.notes:
        say(f"note: {note}")
    say(f"report: {out / 'report.md'}")
    if result.comparison.verdict == "better":
        say(f"to use it: xtalgrid model promote {out}")


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[], object]]:
    """Show progress on a terminal."""
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit="", disable=None) as shown:
        yield shown.update
