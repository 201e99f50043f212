"""The examples of docs/api.md, run as they are against a viewer that listens."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, blocks
from tests.system.viewer import serving
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.web.app import create_app

EXAMPLES = blocks(ROOT / "docs" / "api.md")
CURL = [block.text for block in EXAMPLES if "curl" in block.text]
PYTHON = [block.text for block in EXAMPLES if block.language == "python"]


@pytest.fixture
def environment(config, system, score):
    """What the examples expect: a viewer, and a token of ben's."""
    score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR, (3, 1): Outcome.HARVESTABLE})
    app = create_app(config)
    token = app.state.site.authentication.tokens.make("ben", "beamline", "score", 30, "anna")
    with serving(app) as address:
        yield {**os.environ, "XTALGRID": address, "TOKEN": token}


def test_curl_and_python(environment, system, tmp_path):
    for script in CURL:
        shell = ["bash", "-eu", "-o", "pipefail", "-c", script]
        subprocess.run(shell, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    made = system.ledger.corrections.of_images([1, 2])
    assert [one.outcome for one in made[1]] == [Outcome.PRECIPITATE, None]  # undone
    assert [(one.outcome, one.who) for one in made[2]] == [(Outcome.HARVESTABLE, "ben")]
    for script in PYTHON:
        run = [sys.executable, "-W", "error", "-c", script]
        done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "is clear now" in done.stdout, done.stderr
    assert [one.outcome for one in system.ledger.corrections.of_images([1])[1]][-1] is Outcome.CLEAR
    first, second = (system.ledger.marks.of_image(image_id) for image_id in (1, 2))
    assert [(one.x, one.y, one.width, one.word, one.who) for one in first.standing] == [
        (310.0, 205.5, 40.0, "crystals harvestable", "ben")
    ]
    assert not second.standing and len(second.removed) == 1
    assert len(CURL) == 3 and len(PYTHON) == 1
