import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core.scale import REFERENCE_UM, pixel_size


def test_a_configured_size_wins():
    size = pixel_size(2560, 1920, 2.26)
    assert (size.um, size.origin) == (2.26, "configured")
    assert size.to_reference == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("width", "height", "um", "origin"),
    [(2560, 1920, 1.131, "Rigaku Minstrel"), (1224, 1024, 2.838, "Formulatrix Rock Imager")],
)
def test_known_imagers(width, height, um, origin):
    assert (pixel_size(width, height).um, pixel_size(width, height).origin) == (um, origin)


def test_an_image_near_the_reference_scale_is_not_resampled():
    assert pixel_size(2560, 1920).to_reference == 1.0
    assert pixel_size(2560, 1920, 1.02 * REFERENCE_UM).to_reference == pytest.approx(1.02)


@given(st.integers(64, 20_000), st.integers(64, 20_000))
def test_other_pixel_sizes_are_guessed(width, height):
    size = pixel_size(width, height)
    assert 0.05 <= size.um <= 50
    if size.origin == "guessed":
        assert size.um == pytest.approx(2560 * REFERENCE_UM / width)


@pytest.mark.parametrize("um", [0, -1, 0.04, 51, math.nan, math.inf])
def test_impossible_sizes_are_rejected(um):
    with pytest.raises(ValueError, match=r"between 0\.05 and 50"):
        pixel_size(2560, 1920, um)
