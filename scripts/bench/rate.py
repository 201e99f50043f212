"""Measure the paper's image processing rate for every architecture.

    python scripts/bench/rate.py

*Crystal search* (Thielmann et al. 2023, section 3.2 and Table S1): with t seconds per well, t/16.25 workstations keep
up with the usual imaging rate and t/5.19 with the highest. Here t is that of the published way (the chops of a well one
by one, torch, one thread), so that the architectures can be compared; the worker's own, given with ``--worker``,
follows below. The report is a Markdown table.
"""

from __future__ import annotations

import argparse

import numpy as np

from published_way import seconds_torch
from xtalgrid_core.chops import CHOP
from xtalgrid_nets.networks import NETWORKS
from xtalgrid_nets.networks.measure import multiply_adds

USUAL, HIGHEST = 16.25, 5.19
"""Seconds between images (paper, section 2.1)."""

ARCHIVE = 15_666_284
"""Images of the paper's database on 17 October 2019 (section 3.2)."""

DAY = 24 * 3600


def row(name: str, cost: str, chop: str, well: float) -> str:
    """Format a row of the table; `well` is in core-seconds."""
    return (
        f"| {name} | {cost} | {chop} | {well:.3g} | {well / USUAL:.2g} | {well / HIGHEST:.2g} | "
        f"{well * ARCHIVE / DAY:,.0f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chops", type=int, default=350, help="number of chops in a well (default 350)")
    parser.add_argument("--sample", type=int, default=4, help="number of chops to time with each network (default 4)")
    parser.add_argument("--worker", nargs=2, metavar=("NAME", "SECONDS"), action="append", default=[])
    parser.add_argument("--networks", nargs="+", default=[n for n in NETWORKS if "mxnet" not in n], choices=NETWORKS)
    arguments = parser.parse_args()
    chops = np.random.default_rng(0).integers(0, 256, (arguments.sample, CHOP, CHOP, 3), np.uint8)
    print(
        "| network | 10⁶ multiply-adds per chop | ms per chop | core-s per well "
        "| cores, t/16.25 | t/5.19 | archive, core-days |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in arguments.networks:
        seconds = seconds_torch(chops, name)
        cost = f"{multiply_adds(NETWORKS[name], 13) / 1e6:,.0f}"
        print(row(name, cost, f"{1000 * seconds:.0f}", seconds * arguments.chops), flush=True)
    for name, seconds in arguments.worker:
        print(row(name, "", "", float(seconds)))


if __name__ == "__main__":
    main()
