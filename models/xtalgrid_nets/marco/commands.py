"""``xtalgrid-train import``: published networks taken over."""

from __future__ import annotations

from pathlib import Path

import click

from xtalgrid_core.errors import XtalgridError


@click.group("import")
def import_() -> None:
    """Take published networks over."""


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
    """Make the published MARCO network a second opinion.

    The wheel is checked by its SHA-256 and never installed. The files are the same each time.
    """
    from .install import install

    try:
        manifest = install(out, wheel)
    except (XtalgridError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for entry in manifest.models:
        click.echo(f"{entry.role}  {entry.variant}  {entry.sha256}  {out / entry.file}")
