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
def ask(system, plate, tmp_path):  # noqa: F811
    """``ask("supervision")``: what a tool saw of the plate's exports."""
    for kind, out in (("coco", "coco.json"), ("label-studio", "tasks.json"), ("yolo", "yolo"), ("labelme", "labelme")):
        export(system.config, system.ledger, kind, tmp_path / out, Filter())
    images = tmp_path / "yolo" / "images"
    shutil.copytree(system.config.image_root, images)
    shutil.copytree(tmp_path / "labelme", images, dirs_exist_ok=True)

    def run(tool: str):
        script = Path(__file__).with_name("in_annotation_tools.py")
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}
        command = [PYTHON, script, tool, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        seen = json.loads(done.stdout.splitlines()[-1])
        if isinstance(seen, str):
            pytest.skip(seen)
        return seen

    return run


@pytest.fixture
def expected(system, plate):  # noqa: F811
    """(image, label) of each region, sorted."""
    names = {str(image.well): image.image_name for image in system.ledger.images.of_plate(PLATE)}
    labels = {"A1a": "clear", "A2a": "precipitate", "A3a": "crystals harvestable", "A4a": "clear"}
    return sorted([names[well], label] for well, word in labels.items() for label in (word, "drop"))


def test_supervision_reads_yolo_and_coco_and_we_read_its_yolo(ask, expected, tmp_path):
    seen = ask("supervision")
    for kind in ("yolo", "coco"):
        assert [one[:2] for one in seen[kind]] == expected
        assert all(one[2:] == pytest.approx(BOX, abs=0.01) for one in seen[kind])
    written = [each.mark for each in open_annotations(tmp_path / "written").read()]
    assert sorted(mark.label for mark in written) == sorted(label for _, label in expected)
    assert {mark.label for mark in written} <= {*CLASSES, "drop"}


def test_label_studio_s_sdk_accepts_our_predictions_with_our_interface(ask):
    seen = ask("label_studio_sdk")
    assert seen["accepted"] == [True] * 4
    assert seen["wrong"] is False


def test_labelme_reads_our_files_and_we_read_what_it_saves(system, ask, expected):  # noqa: F811
    seen = ask("labelme")
    corners = [[106, 80], [213, 160]]
    assert sorted(seen["shapes"]) == [[*one, "rectangle", corners] for one in expected]
    saved = Path(seen["saved"])
    done = import_annotations(system.config, system.imager, system.ledger, saved, Told(by="ann"), dry_run=True)
    assert (done.format, done.new, done.unchanged, done.refused) == ("labelme", 1, 1, 0)


def test_datumaro_which_is_in_cvat_reads_coco_and_we_read_what_it_writes(system, ask, tmp_path):  # noqa: F811
    seen = ask("datumaro")
    assert seen == {"images": 4, "annotations": 8}
    back = import_annotations(system.config, system.imager, system.ledger, tmp_path / "from_cvat", dry_run=True)
    assert (back.format, back.annotations, back.unchanged) == ("COCO", 8, 8)
