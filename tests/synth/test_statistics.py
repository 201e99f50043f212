"""Boxes that people drew on real images, compared with those of rendered wells."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from xtalgrid_synth.statistics import main, real_boxes, rendered_boxes, table

HEAD = "marco_file_stem,split,class,x_centre,y_centre,width,height\n"


def test_boxes_are_counted_by_class_and_image(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(
        HEAD
        + "a,train,discrete crystal,0.5,0.5,0.10,0.05\na,train,discrete crystal,0.2,0.2,0.02,0.04\n"
        + "a,train,clear,0.5,0.5,0.6,0.5\nb,train,precipitate,0.5,0.5,0.3,0.4\nc,train,(no box),,,,\n",
        encoding="utf-8",
    )
    clear, crystal, precipitate, drop = real_boxes(path)
    assert (crystal.sizes, crystal.counts) == ([0.10, 0.04], [2])
    assert (clear.sizes, precipitate.sizes) == ([0.6], [0.4])
    assert drop.counts == [1, 1]
    assert table([crystal])[-1] == (
        "| real: discrete crystal | 1 | 2 | 4.3 / 5.5 / 7.0 / 8.5 / 9.7 | 2 / 2 / 2 / 2 / 2 |"
    )


def test_a_bad_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(HEAD + "a,train,clear,0.5,0.5,wide,0.5\n", encoding="utf-8")
    done = CliRunner().invoke(main, [str(path)])
    assert done.exit_code == 1
    assert done.output == f"Error: {path}, line 2: width or height is not a number\n"
    path.write_text("image,class\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no column height, marco_file_stem, width"):
        real_boxes(path)


def test_rendered_crystals_are_as_large_as_real_ones() -> None:
    """Medians of 2,250 boxes around single crystals on real images: 5.7 % of the image's side; drops (1,682): 54 %."""
    *kinds, drop = rendered_boxes(4, seed=50)
    harvestable, bad_form, overnucleated = kinds
    for kind in (harvestable, bad_form):
        assert 0.015 < sorted(kind.sizes)[len(kind.sizes) // 2] < 0.2
    assert max(overnucleated.sizes) < 0.1
    assert min(overnucleated.counts) > 20 > min(harvestable.counts)
    assert 0.3 < sorted(drop.sizes)[len(drop.sizes) // 2] < 0.85
