"""Figures of merit against values worked out by hand or published."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="judging needs the extra [train]")

from xtalgrid_core.outcomes import CLASSES, PRIORITY, Group, Outcome
from xtalgrid_nets.judge import metrics


def test_a_share_has_its_interval() -> None:
    """Newcombe (1998), Table I, method 3."""
    share = metrics.share(15, 148)
    assert (share.hits, share.of, share.rate) == (15, 148, 15 / 148)
    assert (share.low, share.high) == (pytest.approx(0.0624, abs=5e-5), pytest.approx(0.1605, abs=5e-5))


def test_none_of_none_has_no_rate() -> None:
    assert metrics.share(0, 0) == metrics.Share(0, 0, None, None, None)


def test_the_weighted_mean_weights_groups_by_frequency() -> None:
    """8 crystals, half of them found, and 2 clear wells, both: 0.8·0.5 + 0.2·1.0."""
    truth = [Group.CRYSTAL] * 8 + [Group.CLEAR] * 2
    called = [Outcome.BAD_FORM] * 4 + [Outcome.UNDECIDED] * 3 + [Outcome.FAILED] + [Outcome.CLEAR_WITH_FEATURES] * 2
    row = metrics.success(truth, called)
    assert row.groups["crystal"].rate == 0.5
    assert row.groups["clear"].rate == 1.0
    assert row.groups["other"].rate is None
    assert row.weighted_mean.rate == pytest.approx(0.6)


def test_a_null_experiment_is_in_the_group_other() -> None:
    row = metrics.success([Group.OTHER], [Outcome.NULL_EXPERIMENT])
    assert row.groups["other"].rate == 1.0


def test_confusion_counts_rows_of_truth() -> None:
    assert metrics.confusion("aab", "aba", "ab", "abc") == [[1, 1, 0], [1, 0, 0]]


def test_ranking_finds_crystals_against_wells_opened() -> None:
    """Ranked: crystal, other, crystal, other, other. 5 of 6 pairs are in order."""
    curve = metrics.roc(np.array([0.9, 0.8, 0.7, 0.2, 0.1]), np.array([True, False, True, False, False]))
    assert curve is not None
    assert curve.auc == pytest.approx(5 / 6)
    assert curve.found_at(0.0).hits == 1
    assert curve.found_at(0.34).hits == 2
    assert curve.opened_for(1.0) == 3
    assert curve.opened_for(0.5) == 1
    assert metrics.roc(np.array([0.1]), np.array([False])) is None


def test_area_under_the_curve_with_ties_by_hand() -> None:
    """Of 3 · 4 pairs 7 are in order (0.8: 4, 0.5: 3), 2 of the others tied (0.5: 1, 0.2: 1), which count half: 8 of 12."""
    score = np.array([0.8, 0.5, 0.2, 0.5, 0.3, 0.2, 0.3], np.float32)
    positive = np.array([True, True, True, False, False, False, False])
    assert metrics.auc(score, positive) == pytest.approx(8 / 12)
    assert metrics.auc(-score, positive) == pytest.approx(4 / 12)
    assert metrics.auc(np.zeros(7), positive) == 0.5
    curve = metrics.roc(score.astype(float), positive)
    assert curve is not None
    assert curve.auc == pytest.approx(8 / 12)


def test_area_under_the_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 9, 200).astype(float), rng.random(200) < 0.3
    a, b = score[positive][:, None], score[~positive][None, :]
    assert metrics.auc(score, positive) == pytest.approx(((a > b) + 0.5 * (a == b)).mean())


def test_calibration_error_by_hand() -> None:
    """Bins 0.1–0.2: mean 0.15, one crystal of four (0.10 off); 0.9–1.0: mean 0.95, five of six (0.117 off)."""
    p = np.array([0.15] * 4 + [0.95] * 5 + [0.95])
    crystal = np.array([True] + [False] * 3 + [True] * 5 + [False])
    found = metrics.reliability(p, crystal)
    assert found is not None
    assert found.ece == pytest.approx(0.4 * 0.10 + 0.6 * (0.95 - 5 / 6))
    assert [(b.low, b.crystals.hits, b.crystals.of) for b in found.bins] == [(0.1, 1, 4), (0.9, 5, 6)]
    assert found.brier == pytest.approx((0.85**2 + 3 * 0.15**2 + 5 * 0.05**2 + 0.95**2) / 10)


def test_probability_1_is_in_the_last_bin() -> None:
    found = metrics.reliability(np.array([1.0]), np.array([True]))
    assert found is not None
    assert (found.ece, found.bins[0].low) == (0, 0.9)


def test_opened_is_called_crystal_undecided_or_failed() -> None:
    called = [Outcome.HARVESTABLE, Outcome.UNDECIDED, Outcome.CLEAR, Outcome.FAILED, Outcome.CLEAR, Outcome.PRECIPITATE]
    crystal = np.array([True, True, True, False, False, False])
    one, two = metrics.plates(["A", "A", "A", "A", "A", "B"], crystal, called)
    assert (one.name, one.wells) == ("A", 5)
    assert (one.crystals_called.hits, one.crystals_found.hits, one.crystals_found.of) == (1, 2, 3)
    assert (one.others_opened.hits, one.others_opened.of) == (1, 2)
    assert (two.crystals_found.of, two.others_opened.hits) == (0, 0)


def maxima(**values: float) -> list[float]:
    found = np.zeros(len(CLASSES))
    for name, value in values.items():
        found[PRIORITY[Outcome[name]]] = value
    return found.tolist()


def test_the_class_called_is_the_first_of_the_most_probable() -> None:
    seen = maxima(HARVESTABLE=0.6, PRECIPITATE=0.9, CLEAR=0.8, RIM=1.0)
    assert metrics.top_classes(Outcome.PRECIPITATE, seen)[:3] == [
        Outcome.PRECIPITATE,
        Outcome.CLEAR,
        Outcome.HARVESTABLE,
    ]
    assert metrics.top_classes(Outcome.UNDECIDED, seen)[0] is Outcome.PRECIPITATE
    assert metrics.top_classes(Outcome.NULL_EXPERIMENT, ()) == [Outcome.NULL_EXPERIMENT]


def test_fewer_crystals_are_missed_with_more_classes_a_well() -> None:
    ranked = [
        [Outcome.PRECIPITATE, Outcome.BAD_FORM],  # a crystal well
        [Outcome.HARVESTABLE, Outcome.CLEAR],  # another
        [Outcome.CLEAR, Outcome.OVERNUCLEATED],  # a clear one
    ]
    groups = [Group.CRYSTAL, Group.CRYSTAL, Group.CLEAR]
    outcomes = [Outcome.HARVESTABLE, None, Outcome.CLEAR]
    first = metrics.top_n(groups, outcomes, ranked, 1)
    both = metrics.top_n(groups, outcomes, ranked, 2)
    assert (first.missed_crystals.hits, both.missed_crystals.hits) == (1, 0)
    assert (first.others_called_crystal.hits, both.others_called_crystal.hits) == (0, 1)
    assert (first.right_class.hits, first.right_class.of) == (1, 2)


def test_undecided_wells_are_not_covered_and_wrong() -> None:
    rows = metrics.coverage(
        np.array([0.99, 0.9, 0.7, 0.4]),
        right=np.array([True, False, True, False]),
        answered=np.array([True, True, True, False]),
        cutoffs=(0, 0.95),
    )
    assert [(r.answered.hits, r.right_of_answered.of, r.right_of_all.hits, r.right_of_all.of) for r in rows] == [
        (3, 3, 2, 4),
        (1, 1, 1, 4),
    ]
