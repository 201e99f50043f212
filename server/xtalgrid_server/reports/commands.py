"""The commands of reports: what people and other programs ask of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

from ..config import Config
from ..system import System
from . import alerts as alerts_module
from .alerts import Alert

Load = Callable[[], Config]

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


def print_json(value: Any) -> None:
    """Anything of this package as JSON: dates as ISO 8601, outcomes as their names."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())


@click.command()
@click.pass_obj
def sync(load: Load) -> None:
    """Record people's scores and the plates' samples, as the imager database has them now."""
    with System(load()) as system:
        done = system.sync()
    click.echo(f"{done.recorded} of {done.rows} score rows new or changed, contents of {done.contents} plates")


@click.command()
@json_option
@click.option("--dry-run", is_flag=True, help="Say what would be told; record and send nothing.")
@click.pass_obj
def alerts(load: Load, as_json: bool, dry_run: bool) -> None:
    """Tell of drops that show their first crystal, each once for ever; by mail where [alerts] names a mail server."""

    def show(found: list[Alert]) -> None:
        if as_json:
            print_json(found)
        elif not found:
            click.echo("no new crystals")
        for alert in [] if as_json else found:
            click.echo(f"{alert.crystal.image.barcode}  {alerts_module.describe(alert.crystal)}")

    with System(load()) as system:
        if dry_run:
            crystals = alerts_module.preview(system.config, system.ledger)
            recipes = system.ledger.people.contents(crystal.image.barcode for crystal in crystals)
            show([Alert(0, crystal, recipes(*crystal.drop)) for crystal in crystals])
            return
        told = system.alerts(show)
    if told.mails:
        click.echo(f"{told.mails} mails sent", err=True)
    alerts_module.check(told)


REPORTS = [sync, alerts]
"""What the command line is given."""
