"""A second opinion beside ours. tests/nets/marco compares the input and output of MARCO's network with TensorFlow."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.conftest import GREEN, RED, encoded, entry, well
from tests.tiny_networks import TOGETHER
from xtalgrid_core.errors import BrokenModel, UnknownModel
from xtalgrid_core.images import WellImage, WellPixels, read_image
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_core.weights import default_options, read_manifest, second_opinion_at, with_second_opinion
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.score import score_image
from xtalgrid_scoring.second_opinion import SIDE, network_input, probabilities

PICTURE = np.zeros((1, 3, SIDE, SIDE), np.float32)


def test_it_sees_the_central_square_at_its_own_size() -> None:
    """A picture that says where its pixels are: rows in red, columns in green."""
    rows, cols = np.indices((130, 201))
    image = np.stack([rows, cols, np.full_like(rows, 7)], axis=2).astype(np.uint8)
    seen = network_input(WellPixels(image))
    assert seen.shape == (1, 3, SIDE, SIDE)
    assert seen.dtype == np.float32
    places = np.minimum(
        np.arange(SIDE) * 130 / 599, 129
    )  # beyond the last pixel's middle there is nothing to blend it with
    assert np.abs(seen[0, 0] - places[:, None]).max() < 1e-3
    assert np.abs(seen[0, 1] - (35 + places)).max() < 1e-3  # (201 - 130) // 2
    assert (seen[0, 2] == 7).all()
    turned = network_input(WellPixels(np.ascontiguousarray(image.transpose(1, 0, 2))))
    assert np.abs(turned[0].transpose(0, 2, 1) - seen[0]).max() < 1e-3


def test_a_picture_of_its_size_is_not_changed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    assert np.array_equal(network_input(WellPixels(image))[0], image.transpose(2, 0, 1))


def test_probabilities_are_the_softmax_of_its_logits() -> None:
    found = probabilities(lambda _: np.log(np.array([[1, 2, 3, 4]], np.float32)), PICTURE)
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("logits", [np.zeros((1, 13), np.float32), np.array([[0, 0, np.nan, 0]], np.float32)])
def test_an_answer_that_is_none_is_refused(logits: np.ndarray) -> None:
    with pytest.raises(ArithmeticError, match="second opinion"):
        probabilities(lambda _: logits, PICTURE)


@pytest.mark.parametrize(("kind", "size"), [("JPEG", (1920, 2560)), ("JPEG", (300, 400)), ("PNG", (1024, 1224))])
def test_of_a_file_it_sees_every_pixel_that_the_whole_image_has(kind: str, size: tuple[int, int]) -> None:
    """It never sees a JPEG decoded at a reduced scale, as the segmenter does."""
    noise = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    data = encoded(noise, kind)
    assert np.array_equal(network_input(WellImage(data)), network_input(WellPixels(read_image(data))))


# ---- in a score ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tiny_weights: Path, tiny_second_opinion: Path) -> Options:
    return with_second_opinion(default_options(tiny_weights), second_opinion_at(tiny_second_opinion)[0])


@pytest.fixture(scope="module")
def both_networks(both: Options, tiny_weights: Path, tiny_second_opinion: Path) -> Networks:
    return Networks.load(both, [tiny_weights, tiny_second_opinion])


def test_a_score_has_both_opinions_and_what_comes_of_both(both: Options, both_networks: Networks) -> None:
    data = encoded(well(RED))
    answer = score_image(data, entry(0, data), both, both_networks)
    alone = score_image(data, entry(0, data), default_options_of(both), both_networks)
    assert (alone.second_opinion, alone.own_groups) == (None, None)
    assert answer.own_groups == alone.groups
    assert answer.second_opinion is not None
    assert answer.second_opinion.model == both.second_opinion
    # 480×640: the square is white but for a disk of radius 160, so red is 70 × 0.35 less than white, green 180 × 0.35
    disk = np.pi * 160**2 / 480**2
    red, green, blue = (220 - (220 - level) * disk for level in RED)
    odds = np.exp(np.array([red - green, green - red, 0, blue - green]) / 20)
    assert answer.second_opinion.groups == pytest.approx(odds / odds.sum(), abs=0.01)
    assert answer.groups == pytest.approx(TOGETHER(answer.own_groups, answer.second_opinion.groups))
    assert answer.p_crystal == answer.groups[0] != alone.p_crystal
    assert (answer.boxes, answer.probabilities) == (alone.boxes, alone.probabilities)


def default_options_of(both: Options) -> Options:
    return msgspec.structs.replace(both, rule="pooled", second_opinion=None, combination=None)


def test_the_second_opinion_can_turn_an_outcome(both: Options, both_networks: Networks) -> None:
    """The chops are of the green drop, and make precipitate; the whole picture is more blue than green."""
    image = well(GREEN)
    image[(image == 220).all(axis=2)] = (230, 190, 255)
    data = encoded(image)
    alone = score_image(data, entry(0, data), default_options_of(both), both_networks)
    strong = msgspec.structs.replace(both, combination=msgspec.structs.replace(TOGETHER, ours=0.05, second=3.0))
    answer = score_image(data, entry(0, data), strong, both_networks)
    assert alone.outcome.group is Group.PRECIPITATE
    assert answer.outcome.group is Group.CLEAR
    assert answer.boxes
    assert answer.probability == max(answer.groups)


def test_an_empty_well_stays_one_and_says_both(both: Options, both_networks: Networks) -> None:
    """The second opinion has no class for a well without a drop."""
    data = encoded(well(None))
    answer = score_image(data, entry(0, data), both, both_networks)
    assert answer.outcome is Outcome.NULL_EXPERIMENT
    assert answer.groups == answer.own_groups
    assert answer.second_opinion is not None


def test_a_host_without_it_fails(both: Options, tiny_weights: Path) -> None:
    with pytest.raises(UnknownModel, match=r"unknown model: second opinion [0-9a-f]{12}… is not available here"):
        Networks.load(both, [tiny_weights])


def test_what_is_installed_but_not_named_takes_no_part(
    both: Options, tiny_weights: Path, tiny_second_opinion: Path
) -> None:
    networks = Networks.load(default_options_of(both), [tiny_weights, tiny_second_opinion])
    data = encoded(well(RED))
    assert score_image(data, entry(0, data), default_options_of(both), networks).second_opinion is None


def test_another_kind_of_network_is_none(both: Options, tiny_weights: Path, tmp_path: Path) -> None:
    data = (tiny_weights / "segmenter.onnx").read_bytes()
    segmenter = read_manifest(tiny_weights).models[0]
    entry_ = msgspec.structs.replace(segmenter, role="second_opinion", combination=TOGETHER)
    shutil.copy(tiny_weights / "manifest.json", tmp_path)
    manifest = msgspec.structs.replace(
        read_manifest(tmp_path), default={"second_opinion": entry_.sha256}, models=(entry_,)
    )
    (tmp_path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    (tmp_path / "segmenter.onnx").write_bytes(data)
    options = with_second_opinion(default_options_of(both), second_opinion_at(tmp_path)[0])
    assert options.second_opinion == hashlib.sha256(data).hexdigest()
    with pytest.raises(BrokenModel, match=r"second opinion .* expected \['image'\] to \['logits'\]"):
        Networks.load(options, [tmp_path, tiny_weights])
