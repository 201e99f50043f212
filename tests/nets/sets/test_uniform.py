"""Patches of wells whose drop shows one thing all over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xtalgrid_core.images import SEGMENTER_SIDE, Pixels
from xtalgrid_core.outcomes import PRIORITY, Outcome
from xtalgrid_synth import render_well

pytest.importorskip("skimage", reason="training sets need the extra [train]")

from xtalgrid_nets.sets.format import NO_LABEL, SetError
from xtalgrid_nets.sets.reading import ChopSet
from xtalgrid_nets.sets.uniform import build, read_list, window_label

CLEAR, RIM, PRECIPITATE = PRIORITY[Outcome.CLEAR], PRIORITY[Outcome.RIM], PRIORITY[Outcome.PRECIPITATE]


@pytest.mark.parametrize(
    ("outcome", "part", "contours", "label"),
    [
        (Outcome.CLEAR, 1.0, 0.0, CLEAR),
        (Outcome.CLEAR, 0.9, 0.0, RIM),
        (Outcome.CLEAR, 0.0, 9.0, RIM),
        (Outcome.PRECIPITATE, 0.9, 3.0, PRECIPITATE),
        (Outcome.PRECIPITATE, 0.9, 0.2, NO_LABEL),  # smooth: nothing is to be seen in this part of the drop
        (Outcome.PRECIPITATE, 0.2, 3.0, NO_LABEL),
        (Outcome.PRECIPITATE, 0.0, 3.0, RIM),
    ],
)
def test_a_window_is_labelled_by_how_much_of_the_drop_is_in_it(
    outcome: Outcome, part: float, contours: float, label: int
) -> None:
    assert window_label(outcome, part, contours) == label


def test_patches_of_a_clear_and_a_full_drop(tmp_path: Path) -> None:
    lines = ["image,outcome,pixel_size_um,stretch"]
    masks = {}
    for name, outcome, seed in (("clear.png", Outcome.CLEAR, 3), ("full.png", Outcome.PRECIPITATE, 5)):
        well = render_well(outcome, seed=seed, width=612, height=512, pixel_size_um=5.6, plate_type="disc")
        Image.fromarray(well.image).save(tmp_path / name)
        masks[outcome] = np.asarray(
            Image.fromarray(well.drop_mask).resize((SEGMENTER_SIDE, SEGMENTER_SIDE)), np.float32
        )
        lines.append(f"{name},{outcome.value},2.8,1")
    lines += ["torn.png,clear,2.8,1", "clear.png,precipitate,1.13,"]
    (tmp_path / "torn.png").write_bytes(b"no picture")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    order = iter([masks[Outcome.CLEAR], masks[Outcome.PRECIPITATE], masks[Outcome.CLEAR]])

    def segment(image: Pixels) -> np.ndarray:
        return next(order)

    build(tmp_path / "list.csv", tmp_path, tmp_path / "set", segment, patches=5)
    made = ChopSet(tmp_path / "set")
    of = {row.image: set(np.unique(made.patch_labels[made.patch_wells == row.well])) for row in made.table}
    assert of["clear.png at 2.8 µm"] <= {CLEAR, RIM}
    assert CLEAR in of["clear.png at 2.8 µm"]
    assert PRECIPITATE in of["full.png at 2.8 µm"]
    assert CLEAR not in of["full.png at 2.8 µm"]
    assert len(made.patch_wells) == 15
    assert {row.plate for row in made.table} == {
        "clear.png",
        "full.png",
    }  # both scales of a picture are held out together
    (failed,) = made.records[0]["failed"]
    assert failed["image"].startswith("torn.png")


@pytest.mark.parametrize(
    "line",
    [
        "a.png,crystals harvestable,1.13,1",
        "a.png,cloudy,1.13,1",
        "a.png,clear,,1",
        "a.png,clear,nan,1",
        "a.png,clear,1.13,0",
    ],
)
def test_a_list_that_cannot_be_true_names_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.csv").write_text(f"image,outcome,pixel_size_um,stretch\n{line}\n")
    with pytest.raises(SetError, match="line 2"):
        read_list(tmp_path / "list.csv")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_as_a_spreadsheet_saves_it(tmp_path: Path, encoding: str) -> None:
    text = "image;outcome;pixel_size_um;stretch\nKüvette.png;clear;1.13;\n;;;\n"
    (tmp_path / "list.csv").write_text(text.replace(";;;\n", ""), encoding=encoding)
    assert [(row.image, row.um, row.stretch) for row in read_list(tmp_path / "list.csv")] == [("Küvette.png", 1.13, 1)]
    (tmp_path / "list.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SetError, match="not UTF-8"):
        read_list(tmp_path / "list.csv")


def test_a_picture_is_listed_once_for_each_scale(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image,outcome,pixel_size_um\na.png,clear,1.13\na.png,precipitate,1.130\n")
    with pytest.raises(SetError, match=r"line 3: lists a\.png at 1\.13 µm again"):
        read_list(tmp_path / "list.csv")


def test_another_list_of_that_name_does_not_go_on_with_a_set(tmp_path: Path) -> None:
    def killed(image: Pixels) -> np.ndarray:
        raise KeyboardInterrupt

    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "list.csv").write_text("image,outcome,pixel_size_um\na.png,clear,1.13\n")
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "list.csv", tmp_path, tmp_path / "set", killed)
    (tmp_path / "list.csv").write_text("image,outcome,pixel_size_um\nb.png,clear,1.13\n")
    with pytest.raises(SetError, match="with other arguments"):
        build(tmp_path / "list.csv", tmp_path, tmp_path / "set", killed)
