"""UV images of rendered wells: protein glows, salt does not, and the image matches its well."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from xtalgrid_core.images import read_image
from xtalgrid_core.outcomes import CLASSES, PRIORITY, Group, Outcome
from xtalgrid_synth import Nature, RenderedWell, render_plate, render_uv, render_well
from xtalgrid_synth.uv import draw_nature

SIZE = {"width": 640, "height": 480, "pixel_size_um": 4.52}


def of_crystals(well: RenderedWell) -> npt.NDArray[np.bool_]:
    return np.isin(well.content, [1 + PRIORITY[o] for o in CLASSES if o.group is Group.CRYSTAL])


@pytest.mark.parametrize("seed", range(4))
def test_protein_glows_and_salt_and_chromophores_stay_dark(seed: int) -> None:
    well = render_well(Outcome.HARVESTABLE, seed=seed, plate_type="disc", **SIZE)
    crystals = of_crystals(well)
    drop = well.drop_mask & ~crystals
    protein = render_uv(well, seed=seed, nature=Nature.PROTEIN).image
    assert protein[crystals].mean() > 2 * protein[drop].mean() + 15
    for dark in (Nature.SALT, Nature.CHROMOPHORE):
        image = render_uv(well, seed=seed, nature=dark).image
        assert image[crystals].mean() <= image[drop].mean() + 1
        assert image[crystals].mean() < protein[crystals].mean() / 2


def test_same_seed_same_bytes_in_any_size() -> None:
    well = render_well(Outcome.BAD_FORM, seed=3, plate_type="ring", **SIZE)
    first, again, other = (render_uv(well, seed=seed) for seed in (5, 5, 6))
    assert first.image.shape == (480, 640)
    assert first.nature == again.nature
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    assert render_uv(well, seed=5, width=321).image.shape == (241, 321)
    with pytest.raises(ValueError, match="width 2000; the UV mate of a well 640 pixels wide has 64 to 640"):
        render_uv(well, seed=5, width=2000)


def test_precipitate_glows_weakly_and_an_empty_well_not_at_all() -> None:
    mates = {}
    for outcome in (Outcome.PRECIPITATE_BAD, Outcome.NULL_EXPERIMENT, Outcome.CLEAR):
        well = render_well(outcome, seed=21, plate_type="disc", **SIZE)
        mate = render_uv(well, seed=4)
        assert mate.nature is None
        mates[outcome] = mate.image[render_well(Outcome.CLEAR, seed=21, plate_type="disc", **SIZE).drop_mask].mean()
    assert mates[Outcome.PRECIPITATE_BAD] > mates[Outcome.CLEAR] > mates[Outcome.NULL_EXPERIMENT]
    assert mates[Outcome.PRECIPITATE_BAD] < 90


def test_a_quarter_of_the_wells_with_crystals_holds_salt() -> None:
    natures = [draw_nature(Outcome.HARVESTABLE, seed) for seed in range(2000)]
    assert abs(natures.count(Nature.SALT) / 2000 - 0.25) < 0.04
    assert 0 < natures.count(Nature.CHROMOPHORE) < 200
    assert draw_nature(Outcome.CLEAR, 1) is None


def test_uv_images_lie_beside_their_plate_s_images(tmp_path: Path) -> None:
    outcomes = [Outcome.HARVESTABLE, Outcome.CLEAR]
    size = {"width": 160, "height": 120, "pixel_size_um": 18.0}
    files = render_plate(tmp_path, barcode="CI022987", seed=1, wells=outcomes, uv=True, **size)
    with (tmp_path / "CI022987" / "uv.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [path.name for path in files]
    assert rows[0]["crystals"] in list(Nature)
    assert rows[1]["crystals"] == ""
    for row, path in zip(rows, files, strict=True):
        assert "_UV_99_" in row["uv_image"]
        mate = read_image((path.parent / row["uv_image"]).read_bytes())
        assert mate.shape[:2] == (120, 160)
        assert np.ptp(mate.astype(int), axis=2).max() <= 1  # grey
