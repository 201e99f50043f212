"""Annotation tools' own code on our exports, and ours on what they save.

    make test-peers ANNOTATION_PYTHON=venv/bin/python

That environment has supervision (MIT), label-studio-sdk (Apache-2.0), datumaro (MIT) and labelme (GPL-3: it runs in a
process of its own), or some of them. pycocotools reads COCO in the ordinary tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.server.conftest import score, system  # noqa: F401
from tests.server.exchange.conftest import PLATE, config, plate  # noqa: F401
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_server.exchange.export import export
from xtalgrid_server.exchange.foreign import Told
from xtalgrid_server.exchange.import_annotations import import_annotations, open_annotations
from xtalgrid_server.reports.entries import Filter

PYTHON = os.environ.get("XTALGRID_ANNOTATION_PYTHON", "")
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="annotation tools are not here: make test-peers ANNOTATION_PYTHON=venv/bin/python"
)

BOX = [106, 80, 213, 160]
"""The chop and the drop of every image: left, top, right, bottom."""


@pytest.fixture
def seen(system, plate, tmp_path):  # noqa: F811
    """What the tools saw, by tool; `skip` where one is not installed."""
    for kind, out in (("coco", "coco.json"), ("label-studio", "tasks.json"), ("yolo", "yolo"), ("labelme", "labelme")):
        export(system.config, system.ledger, kind, tmp_path / out, Filter())
    images = tmp_path / "yolo" / "images"
    shutil.copytree(system.config.image_root, images)
    shutil.copytree(tmp_path / "labelme", images, dirs_exist_ok=True)
    script = Path(__file__).with_name("in_annotation_tools.py")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}
    command = [PYTHON, script, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def of(seen, tool):
    if isinstance(seen[tool], str):
        pytest.skip(seen[tool])
    return seen[tool]


def test_the_tools_read_what_we_write_and_we_read_what_they_save(system, seen, tmp_path):  # noqa: F811
    names = {str(image.well): image.image_name for image in system.ledger.images.of_plate(PLATE)}
    labels = {"A1a": "clear", "A2a": "precipitate", "A3a": "crystals harvestable", "A4a": "clear"}
    expected = sorted([names[well], label, *BOX] for well, word in labels.items() for label in (word, "drop"))

    tool = of(seen, "supervision")
    assert [[*one[:2], *(pytest.approx(x, abs=0.01) for x in BOX)] for one in tool["yolo"]] == expected
    assert [one[:2] for one in tool["coco"]] == [one[:2] for one in expected]
    assert all(one[2:] == pytest.approx(BOX) for one in tool["coco"])
    written = [each.mark for each in open_annotations(tmp_path / "written").read()]  # its own YOLO labels
    assert len(written) == len(expected)
    assert {mark.label for mark in written} <= {*CLASSES, "drop"}

    tool = of(seen, "label_studio_sdk")
    assert tool["accepted"] == [True] * 4
    assert tool["wrong"] is False

    tool = of(seen, "labelme")
    corners = [[106, 80], [213, 160]]
    assert sorted(tool["shapes"]) == sorted([*one[:2], "rectangle", corners] for one in expected)
    done = import_annotations(
        system.config, system.imager, system.ledger, Path(tool["saved"]), Told(by="ann"), dry_run=True
    )
    assert (done.format, done.new, done.unchanged, done.refused) == ("labelme", 1, 1, 0)

    tool = of(seen, "datumaro")
    assert (tool["images"], tool["annotations"]) == (4, 8 if tool["annotations"] == 8 else 16)
    back = import_annotations(system.config, system.imager, system.ledger, tmp_path / "from_cvat", dry_run=True)
    assert (back.format, back.unchanged, back.refused) == ("COCO", back.annotations, 0)
