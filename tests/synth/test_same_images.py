"""The renderer draws what it drew when its version (`RENDERER`) was chosen.

Evaluation plates are rendered anew wherever they are needed, and figures measured on them are compared. After a change that
is meant to alter the images, give `RENDERER` a new value and write the expected file with
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
    return render_well(outcome, seed=seed, width=320, height=240, pixel_size_um=9.05, plate_type=plate)


def summary(well: RenderedWell) -> list[int]:
    """Return the mean grey values of 8 by 8 parts of the image, each for red, green and blue."""
    parts = well.image.reshape(8, 30, 8, 40, 3).mean(axis=(1, 3))
    return [round(float(value)) for value in parts.ravel()]


def test_the_expected_file_is_of_this_version() -> None:
    assert json.loads(EXPECTED.read_text())["renderer"] == RENDERER


@pytest.mark.parametrize("number", range(len(WELLS)))
def test_images_are_the_same(number: int) -> None:
    """One grey level of tolerance, since processors differ in the last digit of sines and exponentials."""
    expected = json.loads(EXPECTED.read_text())["wells"][number]
    assert np.abs(np.subtract(summary(render(number)), expected)).max() <= 1


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(summary(render(number))) for number in range(len(WELLS)))
    EXPECTED.write_text(f'{{"renderer": "{RENDERER}", "wells": [\n{lines}\n]}}\n')
