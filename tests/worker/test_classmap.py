"""Class maps: groups inside the drop, and nothing outside."""

import io

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.conftest import RED, encoded, well
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS
from xtalgrid_scoring.classmap import group_maps
from xtalgrid_worker.cli import main


def drawn(tmp_path, tiny_weights, image, name="well.png", *words):
    (tmp_path / name).write_bytes(encoded(image))
    command = [
        "classmap",
        str(tmp_path / name),
        "--out",
        str(tmp_path / "maps"),
        "--weights",
        str(tiny_weights),
        *words,
    ]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    return {
        group: np.asarray(Image.open(io.BytesIO((tmp_path / "maps" / f"{group}.png").read_bytes())))
        for group in SCORED_GROUPS
    }


def test_a_crystal_shows_in_the_drop_and_nowhere_else(tmp_path, tiny_weights):
    maps = drawn(tmp_path, tiny_weights, well(RED), "well.png", "--pixel-size", "1.13")
    crystal, clear = maps["crystal"], maps["clear"]
    assert crystal.shape == (480, 640, 4)
    assert crystal[240, 320, 3] > 100 > 5 > crystal[20, 20, 3]  # opaque inside, transparent in the corner of the well
    assert clear[240, 320, 3] < 5
    assert tuple(crystal[240, 320, :3]) == (0xE0, 0x20, 0x1B)  # the frame's colour


def test_a_well_without_a_drop_has_an_empty_map(tmp_path, tiny_weights):
    maps = drawn(tmp_path, tiny_weights, well(None))
    assert all(not picture[..., 3].any() for picture in maps.values())


def test_maps_are_zero_where_no_chop_agrees():
    cells = np.zeros((len(CLASSES), 40, 40), np.float32)
    cells[10] = 12.0  # clear everywhere
    cells[:, 20, 20] = 0
    cells[0, 20, 20] = 12.0  # except for one cell of crystal
    crystal, *_ = group_maps(cells)
    assert crystal.shape == (40, 40)
    assert crystal.max() < 0.01
    cells[0, :, 20:] = 24.0  # half of the drop
    crystal, *_ = group_maps(cells)
    assert crystal[20, 35] == pytest.approx(1, abs=0.01)
    assert crystal[20, 2] < 0.01


def test_an_unknown_model_is_named(tmp_path, tiny_weights):
    (tmp_path / "well.png").write_bytes(encoded(well(RED)))
    command = ["classmap", str(tmp_path / "well.png"), "--out", str(tmp_path), "--classifier", "c" * 64]
    done = CliRunner().invoke(main, [*command, "--weights", str(tiny_weights)])
    assert done.exit_code == 2
    assert "unknown model" in done.output
