"""The renderer's images are those of its version (`RENDERER`).

Everybody renders the evaluation plates anew, and compares figures measured on them. After a change that is meant to
alter the images, give `RENDERER` a new value and write the expected file with
``python tests/synth/test_same_images.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from xtalgrid_core.outcomes import CLASSES
from xtalgrid_synth import RenderedWell, render_well
from xtalgrid_synth.evaluation_plates import RENDERER
from xtalgrid_synth.grounds import PLATE_TYPES

EXPECTED = Path(__file__).with_name("same_images.json")
WELLS = [(outcome, PLATE_TYPES[n % 6], 4_000 + n) for n, outcome in enumerate(CLASSES * 2)]


def render(number: int) -> RenderedWell:
    outcome, plate, seed = WELLS[number]
    return render_well(outcome, seed=seed, width=320, height=240, pixel_size_um=3, plate_type=plate)


def sums(well: RenderedWell) -> list[int]:
    """Add up all grey values, each with a random sign that is always the same, in four ways."""
    signs = np.random.default_rng(0).choice([-1, 1], (4, well.image.size))
    return (signs @ well.image.ravel().astype(np.int64)).tolist()


def test_the_expected_file_is_of_this_version() -> None:
    assert json.loads(EXPECTED.read_text())["renderer"] == RENDERER


@pytest.mark.parametrize("number", range(len(WELLS)))
def test_images_are_the_same(number: int) -> None:
    """Allow a few pixels to differ by one: processors differ in the last digit of sines and exponentials."""
    expected = json.loads(EXPECTED.read_text())["wells"][number]
    assert np.abs(np.subtract(sums(render(number)), expected)).max() <= 12


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(sums(render(number))) for number in range(len(WELLS)))
    EXPECTED.write_text(f'{{"renderer": "{RENDERER}", "wells": [\n{lines}\n]}}\n')
