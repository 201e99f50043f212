"""``xtalgrid-train networks``: compare the architectures."""

from __future__ import annotations

import click

from xtalgrid_core.outcomes import CLASSES


@click.command()
@click.option(
    "--classes", default=len(CLASSES), show_default=True, type=click.IntRange(2), help="Outputs to count with."
)
def networks(classes: int) -> None:
    """List the networks: size, cost of one 256×256 chop, and the publication of each."""
    from ..networks import NETWORKS
    from ..networks.measure import multiply_adds, size_of

    row = "{:<26}{:>13}{:>8}{:>13}{:>7}{:>7}  {}"
    click.echo(row.format("network", "parameters", "MiB", "mult-adds/M", "input", "dense", "source"))
    for network in NETWORKS.values():
        size = size_of(network, classes)
        click.echo(
            row.format(
                network.name,
                f"{size.parameters:,}",
                f"{size.mebibytes:.1f}",
                f"{multiply_adds(network, classes) / 1e6:,.0f}",
                network.input_side,
                "yes" if network.dense else "",
                network.source,
            )
        )
