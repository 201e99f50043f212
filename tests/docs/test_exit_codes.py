"""The pages name every reason of an image without a score, and every exit code of the programs."""

import re

import pytest

from xtalgrid_core.errors import FailureReason
from xtalgrid_server.cli import main as server_cli
from xtalgrid_worker import cli as worker_cli
from xtalgrid_worker.boinc import app as boinc_app

from .pages import ROOT


def section(page: str, title: str) -> str:
    """Return what stands below a title, up to the next one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {title}"
    return found[1]


def test_every_reason_stands_in_the_facility_managers_guide_and_no_other():
    said = re.findall(
        r"^\| `([^`]+)`", section("docs/guides/facility-manager.md", "Images without a score"), re.MULTILINE
    )
    assert said == list(FailureReason)


@pytest.mark.parametrize(
    ("page", "title", "module"),
    [
        ("docs/configuration.md", "Exit codes", server_cli),
        ("worker/README.md", "Stopping", worker_cli),
        ("docs/boinc.md", "A job, as the worker sees it", boinc_app),
    ],
)
def test_every_exit_code_stands_on_its_page(page, title, module):
    rows = re.findall(r"^\| (\d[\d, ]*)", section(page, title), re.MULTILINE)
    codes = {value for name, value in vars(module).items() if name.startswith("EXIT_")}
    assert codes
    assert codes <= {int(code) for row in rows for code in row.strip(" ,").split(", ")}
