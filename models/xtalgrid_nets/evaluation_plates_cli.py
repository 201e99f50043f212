"""The command ``xtalgrid-train render-test``, which renders the plates for evaluating models."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("render-test")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--validation", is_flag=True, help="Render the plates for choosing rules and calibrating instead.")
@click.option("--plates", type=click.IntRange(1), help="How many plates, from the first (default: all).")
@click.option("--wells", type=click.IntRange(1, 288), default=150, show_default=True, help="Drops a plate.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="How many processes render at once.")
def render_test(folder: Path, validation: bool, plates: int | None, wells: int, jobs: int) -> None:
    """Render the test plates into FOLDER: a folder for each barcode, with a truth.csv of the outcomes.

    Images in it are kept, so that a run that was stopped can go on.
    """
    from xtalgrid_core.errors import ConfigError
    from xtalgrid_synth.evaluation_plates import TEST_PLATES, VALIDATION_PLATES, render_evaluation_plates

    settings = VALIDATION_PLATES if validation else TEST_PLATES
    if plates is not None and plates > len(settings):
        raise click.BadParameter(f"there are {len(settings)} plates", param_hint="--plates")
    try:
        files = render_evaluation_plates(folder, range(plates or len(settings)), wells, jobs, settings)
    except (ConfigError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(files)} images of {plates or len(settings)} plates in {folder}")
