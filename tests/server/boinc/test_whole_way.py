"""The whole way of a unit with a real BOINC client: create_work, client, worker, upload, hooks, ledger.

Of BOINC's server only the parts that judge nothing are played: the tools (conftest) and the pages (tests/system/boinc_project.py).
"""

import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.system.boinc_client import BoincClient, wait_until
from tests.system.boinc_project import Project as Pages
from xtalgrid_server.grids.boinc.app_version import own_python

from .test_hooks import config, config_text, hook, unit  # noqa: F401  fixtures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="starts a BOINC client as Linux does"),
]


@pytest.fixture
def client(tmp_path):
    """A client and its project's pages; the worker is that of this Python, with no weights but those that travel."""
    if shutil.which("boinc") is None or shutil.which("boinccmd") is None:
        missing("there is no BOINC client (Debian's package boinc-client)")
    with Pages() as pages:
        client = BoincClient(tmp_path / "client", pages.url)
        own_python(Path(sys.executable), client.project_folder)
        with client:
            yield client, pages


def test_a_unit_goes_out_by_boinc_and_its_scores_come_back(system, project, unit, calls, hook, client):  # noqa: F811
    boinc, pages = client
    (call,) = calls()
    ((job, files),) = call["jobs"]
    names = [ref.findtext("open_name") for ref in ET.fromstring(call["template"]).iterfind("workunit/file_ref")]
    pages.send(
        job,
        {name: (file, project.downloads(file).read_bytes()) for name, file in zip(names, files, strict=True)},
    )
    boinc.update(lambda: not pages.waiting)
    wait_until(lambda: job in pages.reports, 250)
    assert pages.reports[job].exit_status == 0, pages.reports[job].stderr

    uploaded = project.folder / "upload" / "1a" / f"{job}_0_r1_0"
    uploaded.parent.mkdir(parents=True)
    uploaded.write_bytes(pages.uploads[job])
    assert hook("check", uploaded) == (0, "")
    assert hook("assimilate", 1, uploaded) == (0, "")
    assert system.assimilate().scores == 2
    outcomes = {image.image_name: str(image.outcome) for image in system.ledger.images.by_id([1, 2]).values()}
    assert outcomes == {"1.png": "crystals harvestable", "2.png": "clear"}
