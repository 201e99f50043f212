"""The command ``xtalgrid simulate``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from xtalgrid_core.command_group import say

from ..simulation.model import HOUR, Scenario, hosts_needed, simulate
from ..simulation.summary import lines, summary
from .parameters import FiniteRange
from .printing import json_option, print_found

_DEFAULT = Scenario()


def _option(name: str, text: str, kind: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    default = getattr(_DEFAULT, name)
    return click.option(f"--{name.replace('_', '-')}", type=kind, default=default, show_default=True, help=text)


_POSITIVE = FiniteRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)


@click.command("simulate")
@_option("imagers", "Number of imagers; 0: only the archive.", click.IntRange(min=0))
@_option("well_s", "Seconds that each imager takes for one well.", _POSITIVE)
@_option("archive", "Wells of the archive, waiting from the start.", click.IntRange(min=0))
@_option("hosts", "Number of computers.", _COUNT)
@_option("cores", "Cores that each computer gives.", _COUNT)
@_option("core_s", "Core-seconds for a well on the median computer.", _POSITIVE)
@_option("spread", "Standard deviation of its logarithm between computers.", FiniteRange(min=0))
@_option("unit_s", "Core-seconds that a unit costs in addition to its wells.", FiniteRange(min=0))
@_option("on_h", "Mean hours that a computer is on …", _POSITIVE)
@_option("off_h", "… and then off; 0: always on.", FiniteRange(min=0))
@_option("poll_s", "Seconds until a computer asks for work again.", FiniteRange(min=0))
@_option("unit", "Wells in a unit.", _COUNT)
@_option("archive_unit", "Wells in a unit of the archive.", _COUNT)
@_option("create_work_s", "Seconds between runs of create_work.", _POSITIVE)
@_option("quorum", "Computers that score each unit.", _COUNT)
@_option("spot_checks", "Fraction of the units that one more computer scores.", FiniteRange(0, 1))
@_option("errors", "Fraction of the results that are lost or refused.", FiniteRange(0, 1, max_open=True))
@_option("deadline_h", "Hours until a unit goes to another computer.", _POSITIVE)
@_option("days", "Days to simulate.", _POSITIVE)
@_option("warm_up_days", "Days at the start whose lags do not count.", FiniteRange(min=0))
@_option("seed", "The same seed gives the same figures.", click.IntRange(min=0))
@click.option(
    "--within-h",
    type=_POSITIVE,
    help="Find the number of computers that score 95 % of the wells within this many hours.",
)
@json_option
def simulate_command(within_h: float | None, as_json: bool, **options: Any) -> None:
    """Simulate whether computers keep up with imagers and an archive, or find how many are needed."""
    scenario = Scenario(**options)
    if within_h is not None:
        hosts = hosts_needed(scenario, within_h * HOUR)
        if hosts is None:
            raise click.ClickException("even 20,000 computers are too few; try a shorter --create-work-s or --unit")
        if not as_json:
            say("1 computer is needed" if hosts == 1 else f"{hosts} computers are needed")
        scenario = dataclasses.replace(scenario, hosts=hosts)
    elif scenario.hosts < (fewest := scenario.fewest_hosts):
        what = f"--quorum {scenario.quorum}" + (" and --spot-checks need" if scenario.spot_checks else " needs")
        raise click.UsageError(
            f"{what} {fewest} computers, as none is given the same unit twice; give --hosts {fewest} or more"
        )
    figures = summary(scenario, simulate(scenario))
    print_found(figures, lines(figures), as_json)
