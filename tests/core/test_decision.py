import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conftest import FEW_CHOPS
from xtalgrid_core import decision as rules
from xtalgrid_core.chops import Box, dense_window, sliding_window
from xtalgrid_core.decision import Calibration, chops_needed, group_evidence, priority, without_drop
from xtalgrid_core.options import Options, group_limits
from xtalgrid_core.outcomes import CLASSES, Group, Outcome
from xtalgrid_core.pooling import group_sums


def chop(**given_probabilities: float) -> list[float]:
    """A chop's 13 probabilities: ``chop(HARVESTABLE=0.9)``; the rest goes to the rim class."""
    values = {Outcome[name]: p for name, p in given_probabilities.items()}
    values[Outcome.RIM] = values.get(Outcome.RIM, 0) + 1 - sum(values.values())
    return [values.get(outcome, 0.0) for outcome in CLASSES]


def apart(n: int) -> list[Box]:
    return [Box(0, 300 * i, 256, 256) for i in range(n)]


def decide(values, boxes, *, calibration=None, pooling=None, **options):
    """Decide with the rule ``group`` and no support, unless `options` say otherwise."""
    chosen = Options(**{"segmenter": "a" * 64, "classifier": "b" * 64, "rule": "group", "support": 0.0} | options)
    return rules.decide(values, boxes, chosen, calibration, pooling)


def decided(*chops, **options):
    return decide(np.array(chops), apart(len(chops)), **options)


@pytest.mark.parametrize("rule", ["published", "group"])
def test_a_crystal_in_one_chop_outranks_precipitate_everywhere_else(rule):
    decision = decided(chop(PRECIPITATE=0.99), chop(BAD_FORM=0.86), chop(CLEAR=0.99), rule=rule)
    assert (decision.outcome, decision.best) == (Outcome.BAD_FORM, (1,))
    assert decision.probability == pytest.approx(0.86)


@pytest.mark.parametrize("rule", ["published", "group"])
def test_a_chop_below_the_threshold_does_not_count(rule):
    decision = decided(chop(HARVESTABLE=0.84, CLEAR=0.16), chop(CLEAR=0.9), rule=rule)
    assert decision.outcome is Outcome.CLEAR


def test_a_chop_at_the_threshold_counts():
    assert decided(chop(HARVESTABLE=0.85), rule="published").outcome is Outcome.HARVESTABLE


def test_three_crystal_classes_of_30_percent_are_a_crystal_by_the_group_rule_only():
    torn = chop(HARVESTABLE=0.3, BAD_FORM=0.31, OVERNUCLEATED=0.3)
    by_group = decided(torn, rule="group")
    assert by_group.outcome is Outcome.BAD_FORM
    assert by_group.probability == pytest.approx(0.91)
    assert by_group.chop_outcomes == ((Outcome.BAD_FORM, pytest.approx(0.91)),)
    assert decided(torn, rule="published").outcome is Outcome.UNDECIDED


def test_precipitate_and_crystal_together_are_not_one_group():
    assert decided(chop(HARVESTABLE=0.5, PRECIPITATE=0.5), rule="group").outcome is Outcome.UNDECIDED


def test_of_two_groups_above_a_low_threshold_the_higher_one_is_taken():
    assert decided(chop(HARVESTABLE=0.45, PRECIPITATE=0.55), threshold=0.4).outcome is Outcome.HARVESTABLE


def test_without_a_counting_chop_a_well_is_undecided():
    decision = decided(chop(CLEAR=0.5, PRECIPITATE=0.5), chop(HARVESTABLE=0.3, CLEAR=0.7), rule="published")
    assert decision.outcome is Outcome.UNDECIDED
    assert decision.probability == pytest.approx(0.7)
    assert decision.best[0] == 1, "a person should look at the likeliest crystal first"


def test_the_threshold_of_the_papers_second_run():
    assert decided(chop(HARVESTABLE=0.82)).outcome is Outcome.UNDECIDED
    assert decided(chop(HARVESTABLE=0.82), threshold=0.80).outcome is Outcome.HARVESTABLE


def test_best_chops_are_apart_ordered_and_limited_in_number():
    boxes = sliding_window(600, 600)
    values = np.array([chop(HARVESTABLE=0.86 + 0.001 * i) for i in range(len(boxes))])
    decision = decide(values, boxes, n_boxes=3)
    assert len(decision.best) == 3
    assert decision.best[0] == len(boxes) - 1
    shown = [boxes[i] for i in decision.best]
    assert all(a.overlap(b) < 0.1 for a in shown for b in shown if a is not b)
    assert [p for _, p in decision.chop_outcomes] == sorted((p for _, p in decision.chop_outcomes), reverse=True)
    assert decide(values, boxes, n_boxes=0).best == ()


def test_a_crystal_must_show_in_several_of_the_chops_that_cover_it():
    boxes = sliding_window(1000, 1000)
    assert chops_needed(boxes, 0.2)[0] == 3
    values = np.array([chop(PRECIPITATE=0.9)] * len(boxes))
    values[100] = chop(HARVESTABLE=0.99)
    alone = decide(values, boxes, support=0.2)
    assert alone.outcome is Outcome.PRECIPITATE
    assert alone.p_crystal == pytest.approx(0.0, abs=1e-3)
    assert decide(values, boxes).outcome is Outcome.HARVESTABLE, "by default one chop is enough, as published"
    assert decide(values, boxes, rule="published", support=0.2).outcome is Outcome.HARVESTABLE
    values[101:103] = chop(HARVESTABLE=0.9)
    together = decide(values, boxes, support=0.2)
    assert together.outcome is Outcome.HARVESTABLE
    assert together.probability == pytest.approx(0.99)
    assert together.p_crystal == pytest.approx(0.9)


@pytest.mark.parametrize(("strange", "needed"), [("PRECIPITATE", 0.3), ("OTHER", 0.9)])
def test_a_clear_drop_stays_clear_if_few_chops_disagree(strange, needed):
    boxes = dense_window(1000, 1000, 48)
    count = chops_needed(boxes, 0.3)[["CRYSTAL", "PRECIPITATE", "OTHER"].index(strange)]
    assert count == pytest.approx(needed * 256**2 * len(boxes) / 1000**2, abs=0.1 * len(boxes))
    values = np.array([chop(CLEAR=0.95)] * len(boxes))
    values[: count - 1] = chop(**{strange: 0.95})
    assert decide(values, boxes, support=0.3).outcome is Outcome.CLEAR
    assert decide(values, boxes).outcome is Outcome[strange], "by default one chop is enough, as published"
    values[count - 1] = chop(**{strange: 0.95})
    assert decide(values, boxes, support=0.3).outcome is Outcome[strange]


@pytest.mark.parametrize("side", [256, 400, 800, 1300])
def test_support_is_the_same_fraction_of_chops_at_every_step(side):
    """0.2 of the chops that cover an average point, rounded."""
    for step, grid in ((50, sliding_window), (48, dense_window), (16, dense_window)):
        boxes = grid(side, side, step)
        seeing = np.zeros((side + 16, side + 16))
        for box in boxes:
            seeing[box.row : box.row + box.height, box.col : box.col + box.width] += 1
        expected = [max(1, round(part * seeing[seeing > 0].mean())) for part in (0.2, 0.2, 0.6, 0)]
        assert list(chops_needed(boxes, 0.2)) == expected, "crystal, precipitate, other, clear"
        assert chops_needed(boxes[: len(boxes) // 2 + 1], 0.2)[0] <= chops_needed(boxes, 0.2)[0]
        distant = [box.moved(0, 10_000) for box in boxes]
        assert chops_needed([*boxes, *distant], 0.2) == chops_needed(boxes, 0.2), "the gap between them is not counted"


def test_an_unsupported_crystal_leaves_a_well_undecided_below_the_threshold():
    boxes = sliding_window(1000, 1000)
    values = np.array([chop(CLEAR=0.5, PRECIPITATE=0.5)] * len(boxes))
    values[100] = chop(HARVESTABLE=0.99)
    decision = decide(values, boxes, support=0.2)
    assert decision.outcome is Outcome.UNDECIDED
    assert decision.probability < 0.85
    assert decision.best[0] == 100, "a person should look at it first"


def test_where_chops_hardly_overlap_one_is_enough():
    assert chops_needed(apart(5), 0.2) == (1, 1, 1, 1)
    assert chops_needed(sliding_window(200, 200), 1.0) == (1, 1, 1, 1)


def test_only_chops_of_the_winning_class_are_shown():
    assert decided(chop(HARVESTABLE=0.9), chop(PRECIPITATE=0.99), chop(HARVESTABLE=0.95)).best == (2, 0)


def test_maxima_are_over_all_chops():
    maxima = decided(chop(HARVESTABLE=0.9), chop(CLEAR=0.8)).maxima
    assert maxima[0] == pytest.approx(0.9)
    assert maxima[CLASSES.index(Outcome.CLEAR)] == pytest.approx(0.8)


@given(
    hnp.arrays(np.float64, (4, 13), elements=st.floats(0, 1, width=32)),
    st.sampled_from(["published", "group", "pooled"]),
)
def test_every_decision_is_within_the_wire_formats_ranges(values, rule):
    values = (values + 1e-6) / (values + 1e-6).sum(axis=1, keepdims=True)
    decision = decide(values, apart(4), rule=rule, threshold=0.6, pooling=FEW_CHOPS)
    for p in (decision.probability, decision.p_crystal, *decision.maxima, *(p for _, p in decision.chop_outcomes)):
        assert 0 <= p <= 1
    if rule == "pooled":
        assert decision.outcome is not Outcome.UNDECIDED
    elif decision.outcome.group is Group.CRYSTAL:
        assert group_evidence(group_sums(values), (1,) * 4)[0] >= 0.6


def test_probabilities_rounded_above_1_are_clipped():
    values = np.array([chop(HARVESTABLE=1.0)], np.float32) * np.float32(1.00001)
    decision = decide(values, apart(1), rule="published")
    assert (decision.probability, decision.maxima[0], decision.chop_outcomes[0][1]) == (1.0, 1.0, 1.0)


def test_calibration_is_platt_scaling_of_the_strongest_crystal_chop():
    calibration = Calibration(slope=0.5, intercept=-1.0)
    decision = decided(chop(HARVESTABLE=0.5, BAD_FORM=0.3), chop(CLEAR=1.0), calibration=calibration)
    assert decision.p_crystal == pytest.approx(1 / (1 + math.exp(-(0.5 * math.log(0.8 / 0.2) - 1))))
    assert Calibration()(0.3) == pytest.approx(0.3)


def test_an_extreme_calibration_gives_a_probability():
    assert Calibration(slope=1e6)(0.0) == pytest.approx(0.0)
    assert Calibration(slope=1e6)(1.0) == pytest.approx(1.0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_evidence_is_never_less_probable(a, b):
    calibration = Calibration(slope=1.7, intercept=0.2)
    assert (calibration(a) <= calibration(b)) == (a <= b) or calibration(a) == calibration(b)


@pytest.mark.parametrize(
    ("values", "boxes", "message"),
    [
        (np.zeros((0, 13)), 0, "≥ 1 chop"),
        (np.full((2, 13), 1 / 13), 3, r"expected \(3, 13\)"),
        (np.full((2, 12), 1 / 12), 2, r"expected \(2, 13\)"),
        (np.full((1, 13), np.nan), 1, "0..1"),
        (np.full((1, 13), 1.5), 1, "0..1"),
    ],
)
def test_invalid_input_is_rejected(values, boxes, message):
    with pytest.raises(ValueError, match=message):
        decide(values, apart(boxes))


def test_undecided_and_failed_rank_last():
    ranks = [priority(outcome) for outcome in (Outcome.HARVESTABLE, Outcome.RIM, Outcome.UNDECIDED, Outcome.FAILED)]
    assert ranks == [0, 12, 13, 13]


def test_the_pooled_rule_calls_crystals_from_crystal_from_on():
    torn = chop(HARVESTABLE=0.3, CLEAR=0.7)
    p = decided(torn, rule="pooled", pooling=FEW_CHOPS).p_crystal
    assert 0 < p < 0.5
    above, below = (decided(torn, rule="pooled", pooling=FEW_CHOPS, crystal_from=p + d) for d in (-0.01, 0.01))
    assert (above.outcome, above.probability) == (Outcome.HARVESTABLE, p)
    assert (below.outcome, below.p_crystal) == (Outcome.CLEAR, p)
    assert below.probability > 0.5
    assert above.chop_outcomes == ((Outcome.HARVESTABLE, pytest.approx(0.3)),)


def test_the_pooled_rule_takes_the_most_probable_class_where_the_group_shows():
    decision = decided(chop(HARVESTABLE=0.5, BAD_FORM=0.4), chop(BAD_FORM=0.9), rule="pooled", pooling=FEW_CHOPS)
    assert (decision.outcome, decision.best) == (Outcome.BAD_FORM, (0, 1))
    assert decision.chop_outcomes[0][0] is Outcome.HARVESTABLE, "each chop has its own outcome"


def test_the_pooled_rule_leaves_out_chops_that_hardly_show_the_group():
    chops = [chop(HARVESTABLE=p, CLEAR=1 - p) for p in (0.9, 0.5, 0.4)]
    assert decided(*chops, rule="pooled", pooling=FEW_CHOPS).best == (0, 1)


def test_without_a_pooling_the_pooled_rule_says_how_to_get_one():
    with pytest.raises(ValueError, match="fit one with `xtalgrid-train judge calibrate`"):
        decided(chop(CLEAR=1.0), rule="pooled")


@given(
    hnp.arrays(np.float64, (4, 13), elements=st.floats(0, 1)).filter(lambda values: values.sum(axis=1).min() > 0.01),
    st.sampled_from(["published", "group", "pooled"]),
    st.floats(-3, 3),
)
def test_the_four_groups_sum_to_1_and_the_first_is_p_crystal(values, rule, intercept):
    values = values / values.sum(axis=1, keepdims=True)
    calibration = Calibration(slope=1.2, intercept=intercept)
    decision = decide(values, apart(4), rule=rule, pooling=FEW_CHOPS, calibration=calibration)
    assert sum(decision.groups) == pytest.approx(1)
    assert min(decision.groups) >= 0
    assert decision.groups[0] == decision.p_crystal


def test_other_groups_share_the_rest_in_proportion_to_their_evidence():
    decision = decided(chop(PRECIPITATE=0.3, CLEAR=0.7), chop(PRECIPITATE=0.6, CLEAR=0.4), support=0.0)
    p = Calibration()(0.0)
    rest = (1 - p) / (0.6 + 0.7)  # the evidence of one chop: 0.6 precipitate, none for other, 0.7 clear
    assert decision.groups == pytest.approx((p, 0.6 * rest, 0.0, 0.7 * rest))


@pytest.mark.parametrize("rule", ["published", "group"])
def test_a_null_experiment_has_the_calibrated_p_crystal_of_no_evidence(rule):
    options = Options(segmenter="a" * 64, classifier="b" * 64, rule=rule)
    decision = without_drop(0.7, options, Calibration(slope=0.5, intercept=-1.0))
    assert (decision.outcome, decision.probability) == (Outcome.NULL_EXPERIMENT, 0.7)
    assert decision.p_crystal == Calibration(slope=0.5, intercept=-1.0)(0.0)
    assert sum(decision.groups) == pytest.approx(1)
    assert decision.groups[2] == max(decision.groups)


def test_under_the_pooled_rule_a_missed_drop_may_be_any_group():
    decision = without_drop(0.8, Options(segmenter="a" * 64, classifier="b" * 64), Calibration(intercept=3.0))
    assert decision.groups == pytest.approx((0.05, 0.05, 0.85, 0.05))  # a fifth, shared by four
    assert (decision.maxima, decision.best, decision.chop_outcomes) == ((), (), ())


def test_a_pooled_well_is_undecided_below_the_limit_of_the_group_it_would_be_called():
    torn = chop(HARVESTABLE=0.3, CLEAR=0.7)
    sure = decided(torn, rule="pooled", pooling=FEW_CHOPS)
    p = sure.probability
    limits = {"below": (0, 0, 0, p + 0.01), "at": (1, 1, 1, p)}
    below, at = (decided(torn, rule="pooled", pooling=FEW_CHOPS, undecided=limit) for limit in limits.values())
    assert (sure.outcome, at.outcome, below.outcome) == (Outcome.CLEAR, Outcome.CLEAR, Outcome.UNDECIDED)
    assert (below.probability, below.groups, below.best) == (p, sure.groups, sure.best)
    crystal = {"rule": "pooled", "pooling": FEW_CHOPS, "crystal_from": sure.p_crystal}
    assert decided(torn, undecided=(0, 1, 1, 1), **crystal).outcome is Outcome.HARVESTABLE
    assert decided(torn, undecided=(0.9, 0, 0, 0), **crystal).outcome is Outcome.UNDECIDED


def test_a_well_without_a_drop_is_undecided_if_that_is_not_sure():
    options = Options(segmenter="a" * 64, classifier="b" * 64, undecided=(0, 0, 0.8, 0))
    assert without_drop(0.74, options).outcome is Outcome.NULL_EXPERIMENT  # and a drop that was missed may be other
    assert without_drop(0.73, options).outcome is Outcome.UNDECIDED


def test_limits_are_one_number_or_numbers_by_group():
    assert group_limits(0.6) == (0.6,) * 4
    assert group_limits({"clear": 0.7, Group.CRYSTAL: 0.3}) == (0.3, 0, 0, 0.7)
    assert group_limits(0) is group_limits({}) is None
    with pytest.raises(ValueError, match="'clera' is no group; choose from: crystal, precipitate, other, clear"):
        group_limits({"clera": 0.7})
    with pytest.raises(ValueError, match="under the rule group the threshold decides"):
        Options(segmenter="a" * 64, classifier="b" * 64, rule="group", undecided=(0.5,) * 4)
