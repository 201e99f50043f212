"""The critic's arithmetic; `tests/nets/marco/test_judging.py` runs it whole."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="judging needs the extra [train]")

from scipy.linalg import sqrtm

from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_nets.judge.critic import frechet
from xtalgrid_nets.judge.marco import compare
from xtalgrid_nets.judge.truth import Truth


def even(count: int) -> np.ndarray:
    return np.full(count, 1 / count, np.float32)


def test_the_distance_is_that_of_two_normal_distributions() -> None:
    """|a - b|² + tr(A + B - 2 √(AB)), Dowson and Landau 1982, with the root taken by scipy."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (60, 5)), rng.normal(0.5, 2, (90, 5)) @ rng.normal(0, 1, (5, 5))
    cov_a, cov_b = np.cov(a.T, ddof=0), np.cov(b.T, ddof=0)
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    expected = apart + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet(a, b, even(90)) == pytest.approx(expected, rel=1e-4)


def test_a_sample_is_at_no_distance_from_itself_and_at_a_shift_s_square_from_its_copy() -> None:
    a = np.random.default_rng(1).normal(0, 1, (30, 100))
    assert frechet(a, a, even(30)) == pytest.approx(0, abs=1e-4)
    assert frechet(a, a + 0.5, even(30)) == pytest.approx(25, rel=1e-4)


def test_a_weight_of_two_is_as_good_as_a_row_twice() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, (20, 4)), rng.normal(1, 1, (3, 4))
    weights = np.array([0.5, 0.25, 0.25], np.float32)
    assert frechet(a, b, weights) == pytest.approx(frechet(a, b[[0, 0, 1, 2]], even(4)), rel=1e-5)


def well(source: str, group: Group | None, ours: Outcome, marco: Group, **changes: object) -> tuple:
    truth = Truth(path=None, source=source, kind="real", plate="", group=group, **changes)  # type: ignore[arg-type]
    return truth, ours, marco


def test_sources_that_trained_either_are_marked_and_out_of_the_total() -> None:
    wells = [
        well("lab", Group.CRYSTAL, Outcome.BAD_FORM, Group.CRYSTAL),
        well("lab", Group.CRYSTAL, Outcome.CLEAR, Group.CRYSTAL),
        well("lab", Group.CLEAR, Outcome.CLEAR, Group.CRYSTAL),
        well("lab", Group.OTHER, Outcome.NULL_EXPERIMENT, Group.CLEAR, outcome=Outcome.NULL_EXPERIMENT),
        well("lab", Group.CLEAR, Outcome.HARVESTABLE, Group.CLEAR, sure=False),
        well("lab", None, Outcome.HARVESTABLE, Group.CLEAR),
        well("wells: MARCO/GSK", Group.CRYSTAL, Outcome.FAILED, Group.CRYSTAL),
    ]
    lab, gsk, total = compare(wells)
    assert (lab.source, lab.apart, gsk.apart, total.source) == ("lab", "", "MARCO's own images", "total")
    counts = [(s.hits, s.of) for s in (lab.right, lab.marco_right, lab.crystals, lab.marco_crystals)]
    assert counts == [(2, 3), (2, 3), (1, 2), (2, 2)]
    assert [(s.hits, s.of) for s in (lab.false, lab.marco_false)] == [(0, 2), (1, 2)]
    assert (gsk.right.hits, gsk.marco_right.hits, gsk.right.of) == (0, 1, 1)
    assert (total.right, total.false) == (lab.right, lab.false)
