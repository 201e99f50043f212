import itertools

import msgspec
import numpy as np
import pytest
from PIL import Image

from tests.conftest import BLUE, CHOP_BY_CHOP, FEW_CHOPS, GREEN, RED, encoded, entry, well
from xtalgrid_core import wire
from xtalgrid_core.chops import Box
from xtalgrid_core.decision import Calibration
from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.images import WellImage
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_scoring.drop import cut_out
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.score import MAX_SIDE, score_image
from xtalgrid_scoring.windows import classify_sizes


@pytest.fixture
def score(options, networks):
    def score(image: np.ndarray, pixel_size_um: float | None = 1.13, **fields) -> wire.Scored:
        data = encoded(image)
        return score_image(data, entry(7, data, pixel_size_um), msgspec.structs.replace(options, **fields), networks)

    return score


class FixedNetworks(Networks):
    """Networks with fixed outputs."""

    def __init__(self, mask: float, **probabilities: float) -> None:
        self._mask_value = mask
        self._row = np.array([[probabilities.get(outcome.name, 0.0) for outcome in CLASSES]], np.float32)
        self.calibration = Calibration()
        self.pooling = FEW_CHOPS
        self.is_dense = False
        self.chops = 0

    def mask(self, view):
        return np.full((256, 256), self._mask_value, np.float32)

    def probabilities(self, chops):
        assert chops.shape[1:] == (256, 256, 3)
        self.chops += len(chops)
        return np.repeat(self._row, len(chops), axis=0)


class WholeThingsOnly(FixedNetworks):
    """Networks that know a crystal, which is red, only if all of it lies within a chop."""

    def probabilities(self, chops):
        red = (chops[..., 0].astype(int) - chops[..., 1]) > 60
        edges = np.stack([red[:, 0].any(1), red[:, -1].any(1), red[:, :, 0].any(1), red[:, :, -1].any(1)])
        is_whole = red.any((1, 2)) & ~edges.any(0)
        rows = np.zeros((len(chops), len(CLASSES)), np.float32)
        rows[is_whole, CLASSES.index(Outcome.HARVESTABLE)] = 1
        rows[~is_whole, CLASSES.index(Outcome.CLEAR)] = 0.6
        rows[~is_whole, CLASSES.index(Outcome.PRECIPITATE)] = 0.4
        return rows


@pytest.fixture
def from_close_by(options):
    """Score a picture of unknown scale in which a crystal has 44 of 640 pixels: of a whole well, 200 µm."""
    image = well(None)
    image[190:234, 270:314] = RED

    def score(pixel_size_um: float | None = None, **fields) -> wire.Scored:
        data = encoded(image)
        asked = msgspec.structs.replace(options, **({"rule": "pooled"} | fields))
        return score_image(data, entry(0, data, pixel_size_um), asked, WholeThingsOnly(mask=0.9))

    return score


def test_a_crystal_larger_than_a_chop_is_found_in_a_picture_of_unknown_scale(from_close_by):
    answer = from_close_by()
    assert answer.outcome is Outcome.HARVESTABLE
    assert (answer.pixel_size_um, answer.pixel_size_origin) == (pytest.approx(2560 * 1.13 / 640 / 2.5), "guessed")
    row, col, height, width = answer.boxes[0].box
    assert row <= 190 and row + height >= 234 and col <= 270 and col + width >= 314


def test_a_picture_is_looked_at_once_if_its_scale_is_known_or_the_rule_goes_by_chops(from_close_by):
    whole_well = 2560 * 1.13 / 640
    assert from_close_by(whole_well).outcome is from_close_by(zoom=None).outcome is Outcome.CLEAR
    for once in ({"zoom": None}, {"rule": "published"}, {"rule": "group"}):
        assert from_close_by(**once).pixel_size_um == pytest.approx(whole_well)


def test_the_guess_stands_where_a_closer_look_shows_no_more(options):
    data = encoded(well())
    pooled = msgspec.structs.replace(options, rule="pooled")
    answer = score_image(data, entry(0, data, None), pooled, FixedNetworks(mask=0.9, HARVESTABLE=1.0))
    assert answer.outcome is Outcome.HARVESTABLE
    assert answer.pixel_size_um == pytest.approx(2560 * 1.13 / 640)


def test_a_crystal_larger_than_a_chop_is_found_in_chops_of_twice_the_size(options):
    """It has 264 pixels, and its picture the reference scale."""
    image = well(None, 960, 1280)
    image[350:614, 500:764] = RED
    data, networks = encoded(image), WholeThingsOnly(mask=0.9)
    pooled = msgspec.structs.replace(options, rule="pooled")

    def score(*chop_sizes: int, **fields) -> wire.Scored:
        networks.pooling = msgspec.structs.replace(FEW_CHOPS, chop_sizes=chop_sizes)
        return score_image(data, entry(0, data, 1.13), msgspec.structs.replace(pooled, **fields), networks)

    assert score(256).outcome is Outcome.CLEAR
    found = score(512)
    assert found.outcome is Outcome.HARVESTABLE
    assert found.pixel_size_um == 1.13
    row, col, height, width = found.boxes[0].box
    assert (height, width) == (512, 512)
    assert row <= 350 and row + height >= 614 and col <= 500 and col + width >= 764
    harvestable = CLASSES.index(Outcome.HARVESTABLE)
    assert [score(*sizes).probabilities[harvestable] for sizes in [(256,), (256, 512)]] == [0, 1]
    one, two = (score(*sizes, rule="group") for sizes in [(256,), (256, 512)])
    assert one == msgspec.structs.replace(two, seconds=one.seconds), "the paper's rules know one size"


@pytest.mark.parametrize("mode", ["dense", "exact"])
def test_a_chop_of_twice_the_size_is_what_is_seen_at_half_the_scale(options, networks, mode):
    """Another program reduces the picture."""
    random = np.random.default_rng(3)
    image = np.asarray(Image.fromarray(random.integers(60, 200, (60, 80, 3), np.uint8)).resize((1280, 960)))
    known = WellImage(encoded(image))
    found = cut_out(known, lambda view: np.full(view.shape[:2], 0.9, np.float32), 1.13)
    asked = msgspec.structs.replace(options, mode=mode, step=48)
    windows = classify_sizes(found, (256, 512), asked, networks)
    sides = [chop.height for chop in windows.chops]
    assert sides == sorted(sides) and set(sides) == {256, 512}
    small = np.asarray(Image.fromarray(found.view).resize((found.view.shape[1] // 2, found.view.shape[0] // 2)))
    double = [index for index, side in enumerate(sides) if side == 512]
    for index in double[:: max(len(double) // 5, 1)]:
        row, col = windows.chops[index].row // 2, windows.chops[index].col // 2
        seen = np.pad(small, ((0, 256), (0, 256), (0, 0)), mode="symmetric")[row : row + 256, col : col + 256]
        assert networks.probabilities(seen[None])[0] == pytest.approx(windows.probabilities[index], abs=0.02)


@pytest.mark.parametrize(("mode", "step"), [("exact", 50), ("dense", 48)])
@pytest.mark.parametrize(
    ("colour", "outcome"), [(RED, Outcome.HARVESTABLE), (GREEN, Outcome.PRECIPITATE), (BLUE, Outcome.CLEAR)]
)
def test_a_drop_is_found_and_scored(score, colour, outcome, mode, step):
    answer = score(well(colour), mode=mode, step=step)
    assert (answer.number, answer.outcome, answer.score) == (7, outcome, outcome.style.score)
    assert answer.probability > 0.99
    assert answer.drop.box == pytest.approx((80, 160, 320, 320), abs=4)
    assert answer.probabilities[CLASSES.index(outcome)] == pytest.approx(answer.probability)
    assert (answer.height, answer.width) == (480, 640)
    assert 0 < answer.seconds < 10


def test_boxes_lie_on_the_crystal(score):
    """A drop that is clear on the left and crystalline on the right: the boxes are on the right."""
    image = well(BLUE, 600, 1200)
    drop = (image == BLUE).all(axis=2)
    right = drop & (np.arange(1200) > 600)
    image[right] = RED
    answer = score(image)
    assert answer.outcome is Outcome.HARVESTABLE
    best = Box(*answer.boxes[0].box)
    inside = right[best.row : best.row + best.height, best.col : best.col + best.width]
    assert inside.mean() > 0.6
    assert (best.height, best.width) == (256, 256)


@pytest.mark.parametrize("um", [0.5, 1.13, 2.26, 4.0])
def test_boxes_are_in_pixels_of_the_original_at_any_scale(score, um):
    answer = score(well(RED, 600, 800), pixel_size_um=um)
    drop = Box(*answer.drop.box)
    for chop in answer.boxes:
        box = Box(*chop.box)
        assert box.height <= 256 * 1.13 / um + 1
        assert box.clipped(600, 800) == box
        assert box.overlap(drop) > 0


def test_a_finer_image_of_the_same_well_has_the_same_score(score):
    coarse, fine = score(well(RED, 480, 640), 2.26), score(well(RED, 960, 1280), 1.13)
    assert fine.outcome is coarse.outcome
    assert fine.p_crystal == pytest.approx(coarse.p_crystal, abs=0.02)
    assert np.array(coarse.boxes[0].box) * 2 == pytest.approx(np.array(fine.boxes[0].box), abs=16)


def test_no_drop_is_a_null_experiment(score):
    answer = score(well(None))
    assert (answer.outcome, answer.score) == (Outcome.NULL_EXPERIMENT, 34)
    assert (answer.probabilities, answer.boxes, answer.drop.box) == ((), (), None)
    assert answer.probability == answer.drop.confidence > 0.9
    assert answer.p_crystal < 0.01


def test_with_an_uncertain_drop_the_whole_well_is_scored(options):
    """Many small regions: none is a drop, but the well is not surely empty."""
    networks = FixedNetworks(mask=0.0, CLEAR=1.0)
    spots = np.kron(np.eye(8), np.ones((32, 32))) * np.kron(np.ones((16, 16)), np.pad(np.ones((8, 8)), 4)) * 0.7
    networks.mask = lambda view: spots.astype(np.float32)
    data = encoded(well(None, 300, 400))
    answer = score_image(data, entry(0, data), options, networks)
    assert answer.outcome is Outcome.CLEAR
    assert answer.drop.box is None
    assert networks.chops == 2 * 4, "the grid of 300×400 pixels: rows 0, 44; columns 0, 50, 100, 144"


def test_a_rim_is_published_as_clear(options):
    data = encoded(well())
    answer = score_image(data, entry(0, data), options, FixedNetworks(mask=0.9, RIM=0.95, HARVESTABLE=0.05))
    assert (answer.outcome, answer.score) == (Outcome.CLEAR, 1)


def test_a_drop_smaller_than_a_chop_is_scored_with_its_surroundings(score):
    image = np.full((600, 800, 3), 220, np.uint8)
    image[260:340, 350:440] = RED
    answer = score(image)
    assert answer.drop.box == pytest.approx((260, 350, 80, 90), abs=4)
    assert Box(*answer.boxes[0].box)[2:] == (256, 256)


def test_rule_and_threshold_come_from_the_options(options):
    data = encoded(well())
    torn = FixedNetworks(mask=0.9, HARVESTABLE=0.3, BAD_FORM=0.35, OVERNUCLEATED=0.3, CLEAR=0.05)

    def outcome(**fields):
        return score_image(data, entry(0, data), msgspec.structs.replace(options, **fields), torn).outcome

    assert outcome(rule="group") is Outcome.BAD_FORM
    assert outcome(rule="published") is Outcome.UNDECIDED
    assert outcome(rule="published", threshold=0.34) is Outcome.BAD_FORM
    assert outcome(rule="pooled") is Outcome.BAD_FORM
    assert outcome(rule="pooled", crystal_from=1.0) is Outcome.CLEAR


def test_p_crystal_uses_the_calibration_of_the_weights(options):
    data = encoded(well())
    networks = FixedNetworks(mask=0.9, HARVESTABLE=0.5, CLEAR=0.5)
    networks.calibration = Calibration(slope=1.0, intercept=-2.0)
    assert score_image(data, entry(0, data), options, networks).p_crystal == pytest.approx(0.1192, abs=1e-4)


def test_a_larger_step_takes_fewer_chops(options):
    data, counts = encoded(well(height=700, width=700)), []
    for step in (50, 100):
        networks = FixedNetworks(mask=0.9, CLEAR=1.0)
        score_image(data, entry(0, data), msgspec.structs.replace(options, step=step), networks)
        counts.append(networks.chops)
    assert counts == [10 * 10, 6 * 6]


def test_n_boxes_limits_the_boxes(score):
    assert len(score(well(height=1200, width=1600), n_boxes=2).boxes) == 2
    assert score(well(), n_boxes=0).boxes == ()


def test_every_decision_is_within_the_wire_formats_ranges(score):
    images = (well(RED), well(None), well(GREEN, 64, 2000), well((0, 0, 0), 100, 100))
    for image, (mode, um) in itertools.product(images, (("dense", None), ("exact", 1.13))):
        answer = score(image, um, mode=mode, step=48)
        for chop in answer.boxes:
            assert Box(*chop.box).clipped(*image.shape[:2]) == chop.box
        assert wire.decode_answer(wire.encode(answer)) == answer


@pytest.mark.parametrize(
    ("image", "um", "step", "message"),
    [
        (well(), 50.0, 50, f"maximum is {MAX_SIDE} along a side"),
        (well(height=700, width=700), 1.13, 1, "use a step above 1"),
        (
            np.vstack([np.full((1000, 90, 3), colour, np.uint8) for colour in (220, RED, 220)]),
            None,
            50,
            r"\(guessed\) right",
        ),
    ],
)
def test_excessive_work_is_rejected_in_advance(score, image, um, step, message):
    with pytest.raises(ImageError, match=message) as caught:
        score(image, um, step=step)
    assert caught.value.reason is FailureReason.TOO_LARGE


def test_scoring_can_be_stopped_between_any_two_chops(options, networks):
    data, calls = encoded(well(RED, 700, 700)), []

    def pause():
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_image(data, entry(0, data), options, networks, pause)
    assert len(calls) == 20


def test_a_network_that_returns_nan_raises_an_error(options, networks, monkeypatch):
    monkeypatch.setattr(networks, "_segmenter", lambda image: np.full((1, 1, 256, 256), np.nan, np.float32))
    data = encoded(well())
    with pytest.raises(ArithmeticError, match="segmenter"):
        score_image(data, entry(0, data), options, networks)


def test_the_packages_weights_score_a_well():
    data = encoded(well(RED, 400, 500), "JPEG")
    options = _packaged()
    first, again = (score_image(data, entry(0, data), options, Networks.load(options)) for _ in range(2))
    assert msgspec.structs.replace(first, seconds=0) == msgspec.structs.replace(again, seconds=0)
    assert wire.decode_answer(wire.encode(first)) == first
    assert first.outcome is Outcome.NULL_EXPERIMENT or sum(first.probabilities) > 1 - 1e-3


def _packaged() -> wire.Options:
    segmenter, classifier = default_models()
    return wire.Options(segmenter=segmenter, classifier=classifier, **CHOP_BY_CHOP)
