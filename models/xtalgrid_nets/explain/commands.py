"""The command ``xtalgrid-train explain``."""

from __future__ import annotations

from pathlib import Path

import click

from ..judge.commands import FILE, FOLDER, Command


@click.command("explain", cls=Command)
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="Folder for the pictures.")
@click.option("--weights", type=FOLDER, help="Folder of weights (default: the package's own).")
@click.option("--start", "state", type=FILE, help="A trained state (.pt) in place of the weights' classifier.")
@click.option("--pixel-size", type=float, help="µm a pixel (default: known imagers by image size, else a guess).")
@click.option("--samples", default=12, show_default=True, type=click.IntRange(1), help="Noisy copies for SmoothGrad.")
def explain(
    images: tuple[Path, ...],
    out: Path,
    weights: Path | None,
    state: Path | None,
    pixel_size: float | None,
    samples: int,
) -> None:
    """Draw why well IMAGES are called what they are called: NAME-groups.png and NAME-smoothgrad.png."""
    from xtalgrid_core.errors import ImageError
    from xtalgrid_core.weights import PACKAGED

    from ..adapt.run import starting_point
    from ..sets.crops import Segmenter
    from .well import explain_well

    folder = weights or PACKAGED
    net, _ = starting_point(state, folder)
    segmenter = Segmenter(folder)
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in images:
        try:
            said, pictures = explain_well(path, net, segmenter, out, pixel_size, samples)
        except ImageError as error:
            failed += 1
            click.echo(f"failed  {path}: {error}", err=True)
        else:
            click.echo(f"{path.name}: {said}" + "".join(f"\n  {picture}" for picture in pictures))
    if failed:
        raise SystemExit(1)
