"""The model against what can be worked out by hand."""

import dataclasses

import pytest
from click.testing import CliRunner

from xtalgrid_server.cli.main import main
from xtalgrid_server.simulation.model import DAY, HOUR, Scenario, hosts_needed, simulate

ONE = Scenario(imagers=1, well_s=10.0, core_s=1.0, unit_s=0.0, poll_s=0.0, create_work_s=1000.0, days=2.0)


def test_one_host_that_is_quick_enough():
    done = simulate(ONE)
    assert done.photographed == 2 * DAY / 10
    assert done.busy == pytest.approx(0.1, rel=0.01)
    # packed every 1,000 s: the first well of a unit waits 990 s for that, the last none; then 100 s of work
    assert done.lag(1) == pytest.approx(1090, abs=1)
    assert done.lag(0.5) == pytest.approx(595, abs=10)
    assert done.waiting <= 110


def test_one_host_that_is_too_slow_scores_what_it_can():
    done = simulate(dataclasses.replace(ONE, core_s=20.0))
    assert done.busy > 0.97
    assert done.scored == pytest.approx(2 * DAY / 20, rel=0.03)
    assert done.waiting == done.photographed - done.scored


def test_cores_and_hosts_share_the_work():
    slow = dataclasses.replace(ONE, core_s=25.0, unit=10)
    assert hosts_needed(slow, 2000) == 3
    assert simulate(dataclasses.replace(slow, hosts=1, cores=3)).waiting < 300


def test_an_archive_takes_as_long_as_its_core_seconds_and_never_goes_before_what_is_fresh():
    only = dataclasses.replace(ONE, imagers=0, archive=50_000, hosts=2, days=1)
    assert simulate(only).archive_days == pytest.approx(25_000 / DAY, rel=0.05)
    both = simulate(dataclasses.replace(only, imagers=1, days=2))
    assert both.archive_days == pytest.approx(25_000 / DAY / 0.95, rel=0.05)
    assert both.lag(1) < 1090 + 1000, "at most one unit of the archive is in the way"


def test_a_quorum_of_two_doubles_the_work_and_each_host_scores_a_unit_once():
    done = simulate(dataclasses.replace(ONE, imagers=0, archive=20_000, hosts=4, quorum=2, days=1))
    assert done.results == 40
    assert done.archive_days == pytest.approx(10_000 / DAY, rel=0.1)


def test_hosts_that_come_and_go_and_fail_lose_nothing():
    done = simulate(
        dataclasses.replace(
            ONE, core_s=8.0, hosts=10, on_h=1.0, off_h=2.0, errors=0.2, deadline_h=3.0, spread=0.5, days=5
        )
    )
    assert done.waiting < 2000
    assert done.scored + done.waiting == done.photographed
    assert 0.2 < done.busy < 0.8
    assert done.lag(0.95) < 6 * HOUR


def test_the_same_seed_gives_the_same_figures():
    lab = dataclasses.replace(ONE, hosts=5, on_h=1.0, off_h=1.0, errors=0.1, seed=3)
    assert simulate(lab).lag(0.9) == simulate(lab).lag(0.9) != simulate(dataclasses.replace(lab, seed=4)).lag(0.9)


@pytest.mark.parametrize(("options", "fewest"), [({"quorum": 3}, 3), ({"spot_checks": 0.05}, 2)])
def test_no_unit_is_scored_twice_by_one_host(options, fewest):
    """BOINC would not send the second instance of such a unit to anybody (one_result_per_host_per_wu)."""
    assert hosts_needed(dataclasses.replace(ONE, days=0.5, **options), 2000) == fewest
    ((name, value),) = options.items()
    words = ["simulate", "--days", "0.2", f"--{name.replace('_', '-')}", str(value), "--hosts"]
    refused = CliRunner().invoke(main, [*words, str(fewest - 1)])
    assert (refused.exit_code, f"give --hosts {fewest} or more" in refused.output) == (2, True)
    assert CliRunner().invoke(main, [*words, str(fewest)]).exit_code == 0
