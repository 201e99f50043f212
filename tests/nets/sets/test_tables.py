"""Tables as people write them give what they meant, to every reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from xtalgrid_nets.sets.format import SetError
from xtalgrid_nets.sets.labels import Labels
from xtalgrid_nets.sets.sources import Columns, LabelledWell, PassedOver, from_table
from xtalgrid_nets.sets.tables import read_lines


def test_capitals_lose_no_plate(tmp_path: Path) -> None:
    """Wells without a plate would be split one by one."""
    (tmp_path / "wells.csv").write_text("Image;Plate ;Score\na.jpg;P1;23\n;;\nb.jpg;P1;13;2\n;P1;13\n")
    well, *others = from_table(tmp_path / "wells.csv", Labels(), columns=Columns(label="SCORE"))
    assert isinstance(well, LabelledWell)
    assert (well.image, well.plate, str(well.label)) == ("a.jpg", "P1", "crystals harvestable")
    assert [each.image for each in others] == ["row 4", "row 5"]
    assert all(isinstance(each, PassedOver) and each.broken for each in others)


def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wells.csv"
    for content, said in (
        (b"image,split,Split\n", "two columns are called split"),
        (b"image\nM\xfcller.jpg\n", "not UTF-8"),
        (b"picture\na.jpg\n", "no column image; it has picture"),
        (b"", "no column image; it has none"),
        (b"image\na.jpg,b\n", "line 2: 2 cells, but the header has 1"),
    ):
        path.write_bytes(content)
        with pytest.raises(SetError, match=said):
            read_lines(path, ["image"])
    with pytest.raises(SetError, match=r"cannot read .*none\.csv: No such file"):
        read_lines(tmp_path / "none.csv")
