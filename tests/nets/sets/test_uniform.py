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


@pytest.mark.parametrize("line", ["a.png,crystals harvestable,1.13,1", "a.png,cloudy,1.13,1", "a.png,clear,,1"])
def test_a_list_that_cannot_be_true_names_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.csv").write_text(f"image,outcome,pixel_size_um,stretch\n{line}\n")
    with pytest.raises(SetError, match="line 2"):
        read_list(tmp_path / "list.csv")
