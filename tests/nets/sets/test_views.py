"""Views of real pictures with the masks of given weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xtalgrid_core.outcomes import Outcome
from xtalgrid_synth import render_well

pytest.importorskip("skimage", reason="training sets need the extra [train]")

from xtalgrid_nets.fit.batches import ViewBatches
from xtalgrid_nets.fit.recipe import read_recipe
from xtalgrid_nets.sets.crops import Segmenter
from xtalgrid_nets.sets.format import SetError
from xtalgrid_nets.sets.reading import ChopSet
from xtalgrid_nets.sets.views import build, read_list


def test_pictures_and_their_parts_get_the_masks_of_the_shipped_segmenter(tmp_path: Path) -> None:
    well = render_well(Outcome.CLEAR, seed=3, width=612, height=512, pixel_size_um=5.6, plate_type="disc")
    Image.fromarray(well.image).save(tmp_path / "a.png")
    (tmp_path / "torn.png").write_bytes(b"no picture")
    (tmp_path / "list.csv").write_text("image,split\na.png,train\ntorn.png,train\nkept.png,judge\na.png,train\n")
    summary = build(tmp_path / "list.csv", tmp_path, tmp_path / "set", Segmenter(), parts=2)
    assert list(summary.failed) == ["torn.png"]
    sets = ChopSet(tmp_path / "set")
    _, masks = sets.take_views(np.arange(3))
    truth = np.asarray(Image.fromarray(well.drop_mask).resize((256, 256))) > 0
    found = masks[0] > 127
    assert (found & truth).sum() / (found | truth).sum() > 0.85
    assert (masks[1] != masks[0]).any() and (masks[1] != masks[2]).any()  # each part is segmented by itself

    sets.well_held_out[:] = False
    batch = ViewBatches(read_recipe("slim-segmenter", ["colours=none", "turns=none", "coarser=1"]), sets)[0]
    assert {float(mask.float().mean()) for mask in batch["masks"]} <= {float(mask.mean()) for mask in masks}


def test_a_list_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file\na.png\n")
    with pytest.raises(SetError, match="no column image"):
        read_list(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("image,split\na.png,judge\n")
    with pytest.raises(SetError, match="no line is to train on"):
        read_list(tmp_path / "list.csv")


def test_a_list_as_a_spreadsheet_saves_it(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image,split\na.png,Train\nb.png,judge\n", encoding="utf-8-sig")
    assert read_list(tmp_path / "list.csv") == ["a.png"]
