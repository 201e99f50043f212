"""``xtalgrid-train networks``: compare the architectures."""

from __future__ import annotations

import click
import msgspec

from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.terminal import print_table


@click.command()
@click.option(
    "--classes", default=len(CLASSES), show_default=True, type=click.IntRange(2), help="Outputs to count with."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def networks(classes: int, as_json: bool) -> None:
    """List the networks: size, cost of one 256×256 chop, and the publication of each."""
    from ..networks.measure import measured

    listed = measured(classes)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
        return
    rows = [
        (
            one.name,
            f"{one.parameters:,}",
            f"{one.mebibytes:.1f}",
            f"{one.multiply_adds / 1e6:,.0f}",
            one.input_side,
            "yes" if one.dense else "",
            one.source,
        )
        for one in listed
    ]
    header = ("network", "parameters", "MiB", "mult-adds/M", "input", "dense", "source")
    print_table(header, rows, right="parameters MiB mult-adds/M input dense")
