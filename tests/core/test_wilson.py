"""Wilson's interval against published values."""

from __future__ import annotations

import pytest

from xtalgrid_core.wilson import wilson


@pytest.mark.parametrize(
    ("hits", "number", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, 857-872, Table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_published(hits: int, number: int, low: float, high: float) -> None:
    assert wilson(hits, number) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("hits", "number", "low", "high"),
    [  # scipy 1.17: scipy.stats.binomtest(hits, number).proportion_ci(0.95, "wilson")
        (0, 10, 0.0, 0.27753279986288926),
        (10, 10, 0.7224672001371109, 1.0),
        (7, 8, 0.5291118177871464, 0.9775825085499433),
        (431, 1000, 0.4006284437674723, 0.4618996489035343),
    ],
)
def test_intervals_are_scipys(hits: int, number: int, low: float, high: float) -> None:
    assert wilson(hits, number) == pytest.approx((low, high), abs=1e-8)


def test_the_interval_of_none_and_all_reaches_0_and_1() -> None:
    assert [wilson(0, number)[0] for number in range(1, 200)] == [0.0] * 199
    assert [wilson(number, number)[1] for number in range(1, 200)] == [1.0] * 199
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "number"), [(3, 2), (-1, 2)])
def test_more_hits_than_trials_are_rejected(hits: int, number: int) -> None:
    with pytest.raises(ValueError, match=f"{hits} of {number}"):
        wilson(hits, number)
