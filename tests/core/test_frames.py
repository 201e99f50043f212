import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.core.test_wire import SCORED
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.frames import frame, percent, thumbnail
from xtalgrid_core.outcomes import Outcome

GREY = np.full((600, 900, 3), 127, np.uint8)


def colours(line: np.ndarray) -> set[str]:
    return {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in line.reshape(-1, 3).tolist()}


def drawn(outcome: Outcome, image: np.ndarray = GREY, **fields) -> np.ndarray:
    fields = {"boxes": (), "drop": wire.Drop(box=None, confidence=0.9)} | fields
    return np.asarray(frame(image, msgspec.structs.replace(SCORED, outcome=outcome, **fields)))


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.FAILED])
def test_the_border_has_the_outcomes_colour(outcome):
    picture = drawn(outcome)
    assert picture.shape == GREY.shape
    for edge in (picture[-5, 20:-20], picture[20:-20, -5], picture[20:-20, 5]):
        assert outcome.style.colour in colours(edge)


def test_a_crystals_border_is_solid_and_a_precipitates_dashed():
    assert colours(drawn(Outcome.HARVESTABLE)[-5]) == {Outcome.HARVESTABLE.style.colour}
    bottom = drawn(Outcome.PRECIPITATE)[-5]
    changes = (bottom[1:] != bottom[:-1]).any(axis=1).sum()
    assert len(colours(bottom)) == 2
    assert changes >= 6


def test_the_picture_inside_is_untouched_and_so_is_the_original():
    before = GREY.copy()
    picture = drawn(Outcome.CLEAR)
    assert (picture[100:-20, 20:-20] == GREY[100:-20, 20:-20]).all()
    assert (before == GREY).all()


def test_a_box_is_drawn_where_its_chop_is():
    chop = wire.BestChop(box=(200, 300, 256, 256), outcome=Outcome.HARVESTABLE, probability=0.91)
    picture = drawn(Outcome.HARVESTABLE, boxes=(chop,))
    for edge in (picture[456, 320:540], picture[230:440, 300], picture[230:440, 556]):
        assert colours(edge) == {Outcome.HARVESTABLE.style.colour}
    assert colours(picture[260:440, 320:540]) == {"#7f7f7f"}


def test_the_drops_outline_is_drawn():
    outline = ((200, 200), (200, 600), (500, 600), (500, 200))
    picture = drawn(Outcome.CLEAR, drop=wire.Drop(box=(200, 200, 300, 400), outline=outline, confidence=0.9))
    assert {"#ffffff", "#202020"} <= colours(picture[195:205, 200:600])


@pytest.mark.parametrize("background", [0, 127, 255])
@pytest.mark.parametrize("outcome", [Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.OTHER, Outcome.CLEAR])
def test_a_box_shows_on_any_background(background, outcome):
    chop = wire.BestChop(box=(200, 300, 256, 256), outcome=outcome, probability=0.91)
    picture = drawn(outcome, np.full((600, 900, 3), background, np.uint8), boxes=(chop,))
    contrast = np.abs(picture[400, 290:310].astype(int) - background).max(axis=1)
    assert contrast.max() >= 90


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 3000), (1, 1), (3, 200)])
def test_images_of_any_size_can_be_framed(height, width):
    assert drawn(Outcome.PHASE_SEPARATION, np.zeros((height, width, 3), np.uint8)).shape == (height, width, 3)


def test_boxes_and_outlines_outside_the_image_are_clipped():
    picture = frame(GREY[:100, :100], SCORED)
    assert picture.size == (100, 100)


@pytest.mark.parametrize("corner", [0.1, 0.3, 1 / 3, 0.7])
def test_dashes_end_despite_rounding(corner):
    points = tuple((round(100 + i * corner * 7), round(100 + i * corner * 13)) for i in range(50))
    drawn(Outcome.CLEAR, drop=wire.Drop(box=None, outline=points, confidence=0.9))


def test_a_failed_image_says_so():
    failed = wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail="…")
    picture = np.asarray(frame(GREY, failed))
    assert Outcome.FAILED.style.colour in colours(picture[-5])


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        *((1.0, "100 %"), (0.99999, "> 99 %"), (0.995, "> 99 %"), (0.99, "99 %"), (0.989, "98 %")),
        *((0.29, "29 %"), (0.01, "1 %"), (0.0099, "< 1 %"), (1e-12, "< 1 %"), (0.0, "0 %")),
    ],
)
def test_percentages_are_never_overstated(probability, text):
    assert percent(probability) == text


def test_thumbnails_fit_and_do_not_change_the_image():
    picture = Image.fromarray(GREY)
    assert thumbnail(picture, 300).size == (300, 200)
    assert picture.size == (900, 600)
