"""The command ``xtalgrid report``: a plate or a project for the group meeting."""

from __future__ import annotations

from pathlib import Path

import click

from xtalgrid_core.command_group import say
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically

from ..config import Config
from ..steps.system import System
from ..storage.permissions import outside
from .options import INSPECTION_FROM_ZERO, log_access, with_config


@click.command("report")
@click.argument("plate", required=False)
@click.option("--project", help="All plates whose project's name contains this, at their newest inspections.")
@click.option("--inspection", type=INSPECTION_FROM_ZERO, help="The plate's inspection; default: the newest.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="FILE.pdf for print, or FILE.html with embedded pictures.",
)
@click.option("--most", type=click.IntRange(1, 300), default=48, show_default=True, help="Pictures of a plate at most.")
@with_config
def report(
    config: Config, plate: str | None, project: str | None, inspection: int | None, out: Path, most: int
) -> None:
    """Write a report of PLATE, or of a project's plates: counts, map, conditions and the likeliest drops."""
    from ..web.rendering import renderer
    from ..web.report.content import pictures, report_of_plate, report_of_project

    if (plate is None) == (project is None):
        raise click.UsageError("give either a plate or --project")
    if project is not None and inspection is not None:
        raise click.UsageError("--inspection is for a plate; a project's plates come with their newest")
    if out.suffix.lower() not in (".pdf", ".html"):
        raise ConfigError(f"{out}: name a file that ends with .pdf or .html")
    with System(config) as system:
        found = (
            report_of_plate(system.ledger, plate, inspection, most)
            if plate is not None
            else report_of_project(system.ledger, project or "", most)
        )
        made = pictures(config, system.ledger, found)
    if out.suffix.lower() == ".pdf":
        from ..web.report.pdf import pdf  # ReportLab takes a moment
        from ..web.report.text import Text

        text = Text()
        data, faults = pdf(found, made, text), text.faults
    else:
        from ..web.report.html import html

        data, faults = html(renderer(), found, made), []
    with outside(config.home, out):
        write_atomically(out, data)
    log_access(config, "export", kind=f"report{out.suffix.lower()}", plates=[one.barcode for one in found.plates])
    plates = f"{len(found.plates)} plate{'' if len(found.plates) == 1 else 's'}"
    drops = f"{len(made)} picture{'' if len(made) == 1 else 's'}"
    say(f"{out}: {plates}, {drops}{'; ' + found.left_out if found.left_out else ''}")
    if missing := sum(isinstance(each, str) for each in made.values()):
        say(f"{missing} pictures could not be made; the report says why", err=True)
    for fault in faults:
        say(f"{out}: {fault}", err=True)
