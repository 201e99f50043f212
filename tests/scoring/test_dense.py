"""Dense scoring: class maps with and without tiles, and the probabilities of chops."""

import msgspec
import numpy as np
import pytest

from tests.conftest import BLUE, CHOP_BY_CHOP, RED, encoded, entry, well
from xtalgrid_core import wire
from xtalgrid_core.chops import cut, dense_window
from xtalgrid_core.dense import chop_probabilities, class_map
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.score import score_image


def nothing() -> None:
    pass


@pytest.fixture(scope="module")
def squeezenet() -> Networks:
    """The package's own networks, whose padding reaches beyond a tile."""
    segmenter, classifier = default_models()
    return Networks.load(wire.Options(segmenter=segmenter, classifier=classifier, **CHOP_BY_CHOP))


@pytest.fixture
def texture():
    """``texture(height, width)``: an image with texture everywhere."""

    def make(height: int, width: int) -> np.ndarray:
        rng = np.random.default_rng(height * width)
        coarse = rng.integers(40, 220, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        return np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)[:height, :width]

    return make


@pytest.mark.parametrize(("height", "width", "most"), [(640, 700, 900), (300, 900, 500), (1000, 270, 600)])
def test_tiles_do_not_change_the_class_map(squeezenet, texture, height, width, most):
    view, sizes = texture(height, width), []

    def network(images):
        sizes.append(images.shape[1:3])
        return squeezenet.class_map(images)

    whole = class_map(view, squeezenet.class_map, nothing)
    tiled = class_map(view, network, nothing, max_cells=most)
    assert len(sizes) > 1
    assert len(set(sizes)) == 1, "one size, so that the runtime can reuse its memory"
    assert all((rows // 16 - 1) * (cols // 16 - 1) <= most for rows, cols in sizes)
    assert whole.shape == tiled.shape
    assert np.abs(whole - tiled).max() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(256, 256), (400, 523), (100, 300), (90, 60), (272, 1000)])
def test_dense_is_exact_where_the_network_pads_nothing(networks, texture, height, width):
    """The small classifier has no padding, so dense and exact must agree, even at and beyond the edges."""
    view = texture(height, width)
    chops = dense_window(height, width, 48)
    exact = networks.probabilities(cut(view, chops))
    dense = chop_probabilities(class_map(view, networks.class_map, nothing), chops)
    assert dense.shape == (len(chops), 13)
    assert np.abs(dense - exact).max() < 1e-5


def test_a_single_chop_is_the_same_dense_and_exact(squeezenet, texture):
    view = texture(256, 256)
    dense = chop_probabilities(class_map(view, squeezenet.class_map, nothing), dense_window(256, 256, 48))
    assert np.abs(dense - squeezenet.probabilities(view[None])).max() < 1e-5


def test_between_tiles_scoring_can_be_stopped(networks, texture):
    calls = []

    def pause():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_map(texture(800, 800), networks.class_map, pause, max_cells=400)


def test_a_network_that_is_not_dense_is_detected(networks, texture):
    with pytest.raises(ArithmeticError, match="not dense"):
        class_map(texture(400, 400), lambda images: networks.class_map(images)[:, :, :5, :5], nothing)


@pytest.mark.parametrize("mode", ["dense", "exact"])
def test_a_network_that_is_not_dense_is_run_chop_by_chop_in_any_mode(options, networks, monkeypatch, mode):
    data = encoded(well(RED))
    chosen = msgspec.structs.replace(options, mode=mode, step=48)
    with_map = score_image(data, entry(0, data), chosen, networks)
    monkeypatch.setattr(networks, "is_dense", False)
    without = score_image(data, entry(0, data), chosen, networks)
    assert without.outcome is with_map.outcome is Outcome.HARVESTABLE
    assert without.p_crystal == pytest.approx(with_map.p_crystal, abs=1e-4)


@pytest.mark.parametrize("mode", ["dense", "exact"])
def test_chops_follow_the_outline_of_the_drop(options, networks, mode):
    """A crystal in the corner of a round drop's box, outside the drop, must not count."""
    image = well(BLUE, 1200, 1200)  # radius 400 about the middle: its box begins at 200
    image[200:300, 200:300] = (255, 180, 180)  # too bright for the test segmenter to be part of the drop
    data = encoded(image)
    answer = score_image(data, entry(0, data), msgspec.structs.replace(options, mode=mode, step=48), networks)
    row, col = np.ogrid[:1200, :1200]
    drop = (row - 600) ** 2 + (col - 600) ** 2 < 410**2
    for box in (chop.box for chop in answer.boxes):
        assert drop[box[0] : box[0] + box[2], box[1] : box[1] + box[3]].any()
    assert answer.outcome is Outcome.CLEAR
