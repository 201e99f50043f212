"""The local grid beside the other steps, which take finished units out of the spool while it works."""

import threading
import time

import pytest

from xtalgrid_server.config import from_string
from xtalgrid_server.grids.local import LocalGrid, Worked


@pytest.fixture
def folder(tmp_path):
    """A unit in the spool that no worker can do."""
    folder = tmp_path / "home" / "spool" / "units" / "xg_1"
    folder.mkdir(parents=True)
    (folder / "unit.zip").write_bytes(b"no zip")
    return folder


@pytest.fixture
def grid(tmp_path):
    return LocalGrid(from_string("", home=tmp_path / "home"))


def test_a_unit_that_no_worker_can_do_is_given_up(grid, folder):
    assert grid.work() == Worked(failed=1)
    assert [name for name, _ in grid.given_up()] == [folder.name]


def test_a_unit_that_is_taken_away_while_its_worker_ends_costs_the_grid_nothing(grid, folder):
    def take_away():
        while not (folder / "worker.log").exists():
            time.sleep(0.001)
        grid.discard(folder.name)

    thread = threading.Thread(target=take_away)
    thread.start()
    worked = grid.work()
    thread.join()
    assert worked in (Worked(finished=1), Worked())  # taken away while the worker was at it, or before it began
    assert grid.waiting() == []
