"""The command ``xtalgrid-train explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xtalgrid_core.chops import STEP, STRIDE, dense_step_error
from xtalgrid_core.command_group import say
from xtalgrid_core.options import DEFAULTS

from .options import FILE, FOLDER, THRESHOLD, Command, finite, scoring_options


@click.command("explain", cls=Command)
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="Folder for the pictures.")
@scoring_options
@click.option(
    "--threshold",
    type=THRESHOLD,
    default=DEFAULTS.threshold,
    show_default=True,
    callback=finite,
    help="Rules published and group: minimum probability for a chop to count.",
)
@click.option(
    "--step",
    type=click.IntRange(1, 256),
    help=f"Pixels from chop to chop: a multiple of {STRIDE} (default {DEFAULTS.step}); "
    f"any with --exact (default {STEP}).",
)
@click.option(
    "--boxes",
    "n_boxes",
    type=click.IntRange(0, 100),
    default=DEFAULTS.n_boxes,
    show_default=True,
    help="Maximum number of best chops to show.",
)
@click.option("--start", "state", type=FILE, help="Trained state (.pt) to use in place of the classifier.")
@click.option(
    "--pixel-size",
    type=click.FloatRange(0.05, 50),
    callback=finite,
    help="Micrometres per pixel (default: that of known imagers, by image size, else a guess).",
)
@click.option(
    "--samples", default=12, show_default=True, type=click.IntRange(1), help="Number of noisy copies for SmoothGrad."
)
def explain(
    images: tuple[Path, ...], out: Path, state: Path | None, pixel_size: float | None, samples: int, **scoring: Any
) -> None:
    """Explain the outcomes of well IMAGES in pictures: NAME-groups.png and NAME-smoothgrad.png.

    Give the options that the images were scored with, to get the published outcome, probabilities and best chops.
    """
    from xtalgrid_core.errors import ImageError

    from ..explain.well import explain_well, load
    from ..judge.scoring import Settings

    settings = Settings(**scoring)
    if settings.step and not settings.exact and settings.step % STRIDE:
        raise click.BadParameter(dense_step_error(settings.step), param_hint="--step")
    options = settings.options
    stems: dict[str, Path] = {}
    for path in images:
        if stems.setdefault(path.stem, path) != path:
            raise click.ClickException(
                f"{stems[path.stem]} and {path} would have pictures of one name; "
                "give them in two runs, with an --out each"
            )
    networks, net = load(settings, state)
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in images:
        try:
            description, pictures = explain_well(path, networks, net, options, out, pixel_size, samples)
        except (ImageError, ArithmeticError) as error:
            failed += 1
            say(f"failed  {path}: {error}", err=True)
        else:
            for line in (f"{path.name}: {description}", *(f"  {picture}" for picture in pictures)):
                say(line)
    if failed:
        raise SystemExit(1)
