"""The command ``xtalgrid-train export``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import finite

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--segmenter", type=_FILE, help="Trained state of a segmenter (.pt).")
@click.option("--classifier", type=_FILE, help="Trained state of a classifier (.pt).")
@click.option("--out", type=_FOLDER, help="Folder of weights (default: the package's own).")
@click.option(
    "--crystal-shift",
    default=0.0,
    show_default=True,
    callback=finite,
    help="Subtracted from the crystal classes' log-odds.",
)
@click.option(
    "--keep",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    callback=finite,
    help="Share of the present classifier in the new one: their parameters are averaged.",
)
@click.option("--int8", "int8", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="SET",
              help="Also write int8 variants, quantised on this chop set.")  # fmt: skip
@click.option("--int8-classifier", type=_FILE, help="Only write the classifier's int8 variant, from this trained "
              "state, which learned by the recipe int8 to answer as the fp32 weights do, and make it the default."
              )  # fmt: skip
def export(
    segmenter: Path | None,
    classifier: Path | None,
    out: Path | None,
    crystal_shift: float,
    keep: float,
    int8: Path | None,
    int8_classifier: Path | None,
) -> None:
    """Write ONNX files and their manifest.

    If a network is not given, the one in the folder is kept. The calibration of p_crystal is kept too.
    """
    from xtalgrid_core.errors import XtalgridError
    from xtalgrid_core.weights import PACKAGED, Role

    from ..export import install

    if int8_classifier and not int8:
        raise click.UsageError("--int8-classifier needs --int8 SET, for the ranges that were not learned")
    paths: dict[Role, Path | None] = {"segmenter": segmenter, "classifier": classifier}
    states = {role: path for role, path in paths.items() if path}
    try:
        manifest = install(
            states,
            out or PACKAGED,
            crystal_shift=crystal_shift,
            int8=int8,
            int8_classifier=int8_classifier,
            keep=keep,
        )
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for entry in manifest.models:
        click.echo(f"{entry.role:<10} {entry.variant}  {entry.sha256}  {entry.file}")
