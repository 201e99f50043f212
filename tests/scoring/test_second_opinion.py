"""The input and output of the MARCO network; tests/nets/marco compares it with TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest

from xtalgrid_scoring.second_opinion import SIDE, network_input, probabilities


def test_it_sees_the_central_square_at_its_own_size() -> None:
    """A picture that says where its pixels are: rows in red, columns in green."""
    rows, cols = np.indices((130, 201))
    image = np.stack([rows, cols, np.full_like(rows, 7)], axis=2).astype(np.uint8)
    seen = network_input(image)
    assert seen.shape == (1, 3, SIDE, SIDE)
    assert seen.dtype == np.float32
    places = np.minimum(
        np.arange(SIDE) * 130 / 599, 129
    )  # beyond the last pixel's middle there is nothing to blend it with
    assert np.abs(seen[0, 0] - places[:, None]).max() < 1e-3
    assert np.abs(seen[0, 1] - (35 + places)).max() < 1e-3  # (201 - 130) // 2
    assert (seen[0, 2] == 7).all()
    turned = network_input(image.transpose(1, 0, 2))
    assert np.abs(turned[0].transpose(0, 2, 1) - seen[0]).max() < 1e-3


def test_a_picture_of_its_size_is_not_changed() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    assert np.array_equal(network_input(image)[0], image.transpose(2, 0, 1))


def test_probabilities_are_the_softmax_of_its_logits() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    found = probabilities(lambda _: np.log(np.array([[1, 2, 3, 4]], np.float32)), image)
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("logits", [np.zeros((1, 13), np.float32), np.array([[0, 0, np.nan, 0]], np.float32)])
def test_an_answer_that_is_none_is_refused(logits: np.ndarray) -> None:
    with pytest.raises(ArithmeticError, match="second opinion"):
        probabilities(lambda _: logits, np.zeros((64, 64, 3), np.uint8))
