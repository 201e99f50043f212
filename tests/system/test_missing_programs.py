"""A computer without the outside programs: the tests that need them say so and are skipped, and none fails."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The tests that need a program, and what they say without it.
NEED = {
    "tests/system/test_scripts.py::test_shellcheck_has_no_remark": "shellcheck is not installed",
    "tests/server/service/test_units.py::test_systemd_accepts_the_units_odd_paths_included": "systemd-analyze is not installed",
    "tests/server/service/test_units.py::test_units_are_exposed_little_as_systemd_counts": "systemd-analyze is not installed",
    "tests/server/test_without_text.py::test_exiftool_writes_text_and_finds_none_of_it_afterwards": "exiftool is not installed",
    "tests/server/boinc/test_docker.py::test_the_scripts_are_sound": "shellcheck is not installed",
    "tests/server/boinc/test_docker.py::test_compose_takes_the_plan_and_every_variable_reaches_its_place": "docker compose",
    "tests/server/boinc/test_whole_way.py": "BOINC client",
    "tests/system/test_boinc_client.py": "BOINC client",
    "tests/system/test_mariadb.py::test_what_became_of_the_work_is_read": "MariaDB is not installed",
    "tests/system/test_viewer_browser.py": "chromium",
    "tests/worker/test_frozen.py": "binutils",
}


@pytest.mark.skipif(os.name != "posix", reason="finds programs as Unix does")
def test_without_them_tests_are_skipped_and_say_why(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "XTALGRID_REQUIRE_ALL"}
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--color=no", "-p", "no:cacheprovider", *NEED]
    done = subprocess.run(
        command, cwd=ROOT, env={**environment, "PATH": str(tmp_path)}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.fullmatch(r"\d+ skipped in .*", done.stdout.splitlines()[-1]), done.stdout[-3000:]
    assert all(reason in done.stdout for reason in NEED.values()), done.stdout
