"""Pooling of all chops of a drop."""

import msgspec
import numpy as np
import pytest

from tests.conftest import FEW_CHOPS
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Outcome
from xtalgrid_core.pooling import FEATURES, Pooling, features, without_drop

CRYSTAL, CLEAR = CLASSES.index(Outcome.HARVESTABLE), CLASSES.index(Outcome.CLEAR)


def drop(crystals: int, chops: int = 40) -> np.ndarray:
    """A drop with so many certain crystals among clear chops."""
    rows = np.full((chops, len(CLASSES)), 0.001)
    rows[:, CLEAR] = 0.988
    rows[:crystals, [CRYSTAL, CLEAR]] = 0.988, 0.001
    return rows


def test_a_crystal_in_too_few_chops_does_not_show_in_the_features():
    few, enough = (features(drop(n), coverage=20)[0] for n in (5, 6))
    assert few < -5 < 4 < enough
    assert features(drop(6), coverage=20)[4] < -5, "six chops are too few for the second group of features"


def test_the_order_of_chops_and_rounding_make_no_difference():
    rows = drop(3) + np.random.default_rng(1).uniform(0, 1e-3, (40, 13))
    assert np.allclose(features(rows, 20), features(rows[::-1], 20))
    assert np.abs(FEW_CHOPS(rows, 20) - FEW_CHOPS((rows + 1e-6).astype(np.float32), 20)).max() < 0.01


def test_log_odds_are_bounded():
    one = np.eye(13)[[CRYSTAL]]
    assert features(one, 1).max() == pytest.approx(-features(one, 1).min()) == pytest.approx(9.21, abs=0.01)
    assert FEW_CHOPS(one, 1).sum() == pytest.approx(1)


def test_a_pooling_of_another_shape_is_rejected():
    with pytest.raises(msgspec.ValidationError, match=f"4 rows of {FEATURES} weights"):
        msgspec.json.decode(b'{"weights": [[1, 2]], "intercepts": [0, 0, 0, 0]}', type=Pooling)


def test_a_well_without_a_drop_is_other_for_sure():
    """A null experiment of the paper's Table 1, whose groups are crystal, precipitate, other and clear."""
    assert [str(group) for group in SCORED_GROUPS] == ["crystal", "precipitate", "other", "clear"]
    assert without_drop(2).tolist() == [[0, 0, 1, 0], [0, 0, 1, 0]]
    assert without_drop(0).shape == (0, 4)


def test_a_pooling_says_what_chops_it_is_for_only_if_there_are_others() -> None:
    """So the names of classifiers that were adapted before there were others stay as they are."""
    usual = Pooling(((0.0,) * FEATURES,) * 4, (0.0,) * 4)
    assert set(msgspec.to_builtins(usual)) == {"weights", "intercepts"}
    both = msgspec.structs.replace(usual, chop_sizes=(256, 512))
    assert msgspec.json.decode(msgspec.json.encode(both), type=Pooling) == both
    written = msgspec.to_builtins(usual)
    for sizes in ([], [256, 256], [300]):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(written | {"chop_sizes": sizes}, Pooling)
