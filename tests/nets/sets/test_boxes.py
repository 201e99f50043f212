"""Boxes and outlines that people drew, from `xtalgrid export annotations`, as chops and masks."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_core.outcomes import PRIORITY, Outcome
from xtalgrid_nets.cli import sets as commands
from xtalgrid_nets.sets.boxes import COLUMNS, build_from_marks
from xtalgrid_nets.sets.format import SetError
from xtalgrid_nets.sets.labels import Labels
from xtalgrid_nets.sets.reading import ChopSet

HEIGHT, WIDTH = 600, 800
UM = "1.13"  # a chop is 256 pixels of the original


def write(folder: Path, *lines: dict[str, object]) -> Path:
    """A well that is black on the left and white on the right, and marks in it."""
    pixels = np.full((HEIGHT, WIDTH, 3), 10, np.uint8)
    pixels[:, WIDTH // 2 :] = 240
    (folder / "P1").mkdir()
    Image.fromarray(pixels).save(folder / "P1" / "a.png")
    common = {"image": "P1/a.png", "plate": "P1", "kind": "box", "given_by": "person", "pixel_size_um": UM}
    with (folder / "marks.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows([{**common, **line} for line in lines])
    return folder / "marks.csv"


def box(label: str, row: float, col: float, height: float, width: float, **more: object) -> dict[str, object]:
    return {"label": label, "row": row, "col": col, "height": height, "width": width, **more}


def make(tmp_path: Path, *lines: dict[str, object]):
    table = write(tmp_path, *lines)
    return CliRunner().invoke(commands.sets, ["boxes", str(table), str(tmp_path / "set")])


def test_boxes_become_chops_around_them_and_outlines_masks(tmp_path):
    made = make(
        tmp_path,
        box("crystals harvestable", 20, 10, 30, 40),  # smaller than a chop, at the edge, on the dark side
        box("crystals harvestable", 300, 700, 20, 20),  # on the bright side
        box("any precipitate", 0, 0, HEIGHT, WIDTH),  # the whole well: as many chops as cover it
        box("crystals bad form", 1, 1, 5, 5, given_by="program"),
        {"label": "drop", "kind": "outline", "outline": "[[0, 0], [0, 400], [600, 400], [600, 0]]"},
    )
    assert made.exit_code == 0, made.output
    assert "1  marks of programs" in made.output
    found = ChopSet([tmp_path / "set"])
    harvestable = np.flatnonzero(found.labels == PRIORITY[Outcome.HARVESTABLE])
    chops = found.take(harvestable)
    assert chops.shape == (2, 256, 256, 3)
    assert (chops[0] < 60).all()
    assert (chops[1] > 200).all()
    precipitate = found.labels == PRIORITY[Outcome.PRECIPITATE]
    assert precipitate.sum() == 3 * 4  # 600×800 pixels
    assert list(found.group_only(found.wells)) == [label != PRIORITY[Outcome.HARVESTABLE] for label in found.labels]
    (mask,) = np.load(tmp_path / "set" / "masks.npy")
    assert (mask[:, :128] == 255).all()
    assert (mask[:, 130:] == 0).all()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (box("crystals harvestable", "x", 1, 2, 3), "the box ['x'"),
        (box("crystals harvestable", 1e9, 1, 2, 3), "not in an image"),
        ({"label": "drop", "kind": "outline", "outline": "[[1]]"}, "is not [[row, col], …]"),
        ({"label": "drop", "kind": "outline", "outline": "[[1, 2], [3, 4]]"}, "of three points or more"),
        ({"label": "drop", "kind": "outline", "outline": "[[1, 2], [3, NaN], [3, 4]]"}, "of three points or more"),
        (box("crystals harvestable", 1, 1, 2, 3, pixel_size_um="1,13"), "pixel_size_um is 1,13: could not convert"),
        (box("crystals harvestable", 1, 1, 2, 3, pixel_size_um="nan"), "pixel_size_um is nan"),
        (box("crystals harvestable", 1, 1, 2, 3, image="P1/none.png"), "no such file"),
    ],
)
def test_what_cannot_be_used_is_listed_with_its_image(tmp_path, line, reason):
    made = make(tmp_path, line)
    assert made.exit_code == 1
    assert reason in made.output


def test_images_without_a_person_s_box_are_left_out(tmp_path):
    made = make(tmp_path, box("blob", 1, 1, 2, 3), box("x", 1, 1, 2, 3, kind="point"))
    assert "1  images without a person's box or outline" in made.output


def test_a_set_goes_on_only_with_the_same_meanings(tmp_path, monkeypatch):
    table = write(tmp_path, box("salt", 1, 1, 2, 3))
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr("xtalgrid_nets.sets.boxes._add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        build_from_marks(table, tmp_path / "set", Labels(["salt=other"]))
    with pytest.raises(SetError, match="with other arguments"):
        build_from_marks(table, tmp_path / "set", Labels(["salt=clear"]))
