"""The command ``xtalgrid simulate``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from ..simulation.model import DAY, HOUR, Outcome, Scenario, hosts_needed, simulate

_DEFAULT = Scenario()


def _option(name: str, text: str, kind: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    default = getattr(_DEFAULT, name)
    return click.option(f"--{name.replace('_', '-')}", type=kind, default=default, show_default=True, help=text)


_POSITIVE = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)


@click.command("simulate")
@_option("imagers", "Imagers; 0: only the archive.", click.IntRange(min=0))
@_option("well_s", "Seconds from well to well of each imager.", _POSITIVE)
@_option("archive", "Wells that wait from the start.", click.IntRange(min=0))
@_option("hosts", "Computers.", _COUNT)
@_option("cores", "Cores each of them gives.", _COUNT)
@_option("core_s", "Core-seconds a well on the median computer.", _POSITIVE)
@_option("spread", "Standard deviation of its logarithm over computers.", click.FloatRange(min=0))
@_option("unit_s", "Core-seconds a unit costs beside its wells.", click.FloatRange(min=0))
@_option("on_h", "Mean hours a computer works …", _POSITIVE)
@_option("off_h", "… and then does not; 0: always on.", click.FloatRange(min=0))
@_option("poll_s", "A computer asks for work again within so many seconds.", click.FloatRange(min=0))
@_option("unit", "Wells of a unit.", _COUNT)
@_option("archive_unit", "Wells of a unit of the archive.", _COUNT)
@_option("create_work_s", "Seconds from run to run of create_work.", _POSITIVE)
@_option("quorum", "Computers that score each unit.", _COUNT)
@_option("spot_checks", "Part of the units that one more computer scores.", click.FloatRange(0, 1))
@_option("errors", "Part of the results that are lost or refused.", click.FloatRange(0, 1, max_open=True))
@_option("deadline_h", "Hours until a unit goes to another computer.", _POSITIVE)
@_option("days", "Days to simulate.", _POSITIVE)
@_option("warm_up_days", "Days until lags count.", click.FloatRange(min=0))
@_option("seed", "The same seed gives the same figures.", click.IntRange(min=0))
@click.option(
    "--within-h", type=_POSITIVE, help="Find how many computers score 95 % of the wells within so many hours."
)
def simulate_command(within_h: float | None, **options: Any) -> None:
    """Say how far a number of computers keeps up with imagers and an archive, or how many computers it takes."""
    scenario = Scenario(**options)
    if within_h is not None:
        found = hosts_needed(scenario, within_h * HOUR)
        if found is None:
            raise click.ClickException("not even 20,000 computers do that: a shorter --create-work-s or --unit may")
        click.echo(f"{found} computers are needed")
        scenario = dataclasses.replace(scenario, hosts=found)
    for line in lines(scenario, simulate(scenario)):
        click.echo(line)


def lines(scenario: Scenario, done: Outcome) -> list[str]:
    """An outcome for people."""
    found = [f"{scenario.hosts} computers, {scenario.days:g} days: cores busy {done.busy:.0%} of the time they are on"]
    if scenario.imagers:
        rate = scenario.imagers * DAY / scenario.well_s
        found.append(
            f"fresh      {done.photographed} wells ({rate:.0f} a day), {done.waiting} without a score at the end"
        )
    if len(done.lags):
        lag = ", ".join(f"{name} {done.lag(part) / 60:.1f}" for name, part in (("median", 0.5), ("95 %", 0.95)))
        found.append(f"lag        {lag}, longest {done.lag(1) / 60:.1f} minutes from image to score")
    if scenario.archive:
        when = "not done" if done.archive_days is None else f"done after {done.archive_days:.1f} days"
        found.append(f"archive    {done.archive_scored} of {scenario.archive} wells scored, {when}")
    return found
