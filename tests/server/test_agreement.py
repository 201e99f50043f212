"""Two honest computers agree though they round differently; what changes a score does not."""

import msgspec
import pytest

from tests.conftest import CHOP_BY_CHOP
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_server.steps.assimilate.agree import disagreement

from .conftest import answer, result_of

OPTIONS = wire.Options(segmenter="a" * 64, classifier="b" * 64, **CHOP_BY_CHOP)
MANIFEST = wire.Manifest(
    schema=1,
    unit="xg_1",
    min_worker="0.1.0",
    options=OPTIONS,
    images=(wire.ImageEntry(number=0, file="000.jpg", inspect_id=1, sha256="c" * 64),),
)


def differ(a, b, options=OPTIONS):
    there, back = (
        disagreement(result_of(MANIFEST, [x]), result_of(MANIFEST, [y]), options) for x, y in ((a, b), (b, a))
    )
    assert bool(there) == bool(back), "the order must not matter"
    return there


def said(outcome=Outcome.HARVESTABLE, probability=0.95, **changes):
    return msgspec.structs.replace(answer(0, outcome, probability), **changes)


@pytest.mark.parametrize("by", [0.0, 1e-6, 0.015, -0.015])
def test_rounding_is_no_disagreement(by):
    a = said()
    b = said(
        probability=0.95 + by, p_crystal=a.p_crystal + by, drop=msgspec.structs.replace(a.drop, confidence=0.97 + by)
    )
    assert not differ(a, b)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (said(Outcome.CLEAR), "clear"),
        (said(probability=0.90), "0.9"),
        (said(p_crystal=0.9), "p_crystal"),
        (said(drop=wire.Drop(box=(0, 0, 80, 107), confidence=0.97)), "different places"),
        (said(drop=wire.Drop(box=None, confidence=0.97)), "different places"),
        (said(height=480), "pixels"),
        (said(probabilities=(0.95, *[0.2] * 12)), "0.2"),
        (said(Outcome.NULL_EXPERIMENT), "null experiment"),
        (wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail=""), "failed"),
    ],
)
def test_a_lie_is(changed, why):
    assert why in differ(said(), changed)


def test_failures_agree_by_their_reason():
    one = wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail="at byte 7")
    assert not differ(one, msgspec.structs.replace(one, detail="at byte 9"))
    assert "timed out" in differ(one, msgspec.structs.replace(one, reason=FailureReason.TIMED_OUT))


def test_on_the_edge_of_the_threshold_either_side_is_taken():
    numbers = [0.0] * 13
    numbers[0] = 0.85
    above = said(probability=0.851, probabilities=tuple(numbers))
    below = said(
        Outcome.UNDECIDED, probability=0.849, score=None, probabilities=tuple(numbers), p_crystal=above.p_crystal
    )
    below = msgspec.structs.replace(below, probability=0.849)
    assert not differ(above, below)
    clearly = msgspec.structs.replace(above, probability=0.95)
    assert differ(clearly, below)


def test_two_classes_of_one_group_as_probable_as_each_other_are_one_decision():
    crystals = [outcome for outcome in CLASSES if outcome.group is CLASSES[0].group]
    numbers = [0.0] * 13
    numbers[0], numbers[1] = 0.48, 0.475
    a = said(crystals[0], probability=0.95, probabilities=tuple(numbers))
    b = said(crystals[1], probability=0.95, score=crystals[1].style.score, probabilities=(0.475, 0.48, *numbers[2:]))
    assert not differ(a, b)
    numbers[0] = 0.9
    assert differ(msgspec.structs.replace(a, probabilities=tuple(numbers)), b)


def test_where_two_groups_of_a_pooled_drop_are_as_probable_either_is_taken():
    pooled = msgspec.structs.replace(OPTIONS, rule="pooled", crystal_from=0.25)
    numbers = (0.6, *[0.2] * 12)

    def pooled_says(outcome, probability, p_crystal):
        return said(outcome, probability, score=outcome.style.score, p_crystal=p_crystal, probabilities=numbers)

    crystal, clear = pooled_says(Outcome.HARVESTABLE, 0.255, 0.255), pooled_says(Outcome.CLEAR, 0.6, 0.245)
    assert not differ(crystal, clear, pooled)
    assert differ(pooled_says(Outcome.HARVESTABLE, 0.3, 0.3), clear, pooled)
    precipitate = pooled_says(Outcome.PRECIPITATE, 0.4, 0.1)
    assert not differ(precipitate, pooled_says(Outcome.CLEAR, 0.41, 0.1), pooled)
    assert differ(precipitate, pooled_says(Outcome.CLEAR, 0.7, 0.1), pooled)
    sure = pooled_says(Outcome.PRECIPITATE, 0.86, 0.1)
    assert differ(sure, pooled_says(Outcome.CLEAR, 0.86, 0.1), pooled), "both cannot be that probable"


def test_an_older_computer_agrees_that_a_well_is_undecided_and_near_its_limit_either_is_taken():
    options = msgspec.structs.replace(OPTIONS, rule="pooled", undecided=(0.0, 0.6, 0.6, 0.6))

    def says(outcome, p, crystal=0.1):
        groups = (crystal, 0.9 - crystal - p, 0.1, p)
        honest = said(outcome, p, p_crystal=crystal, groups=groups, probabilities=(0.2,) * 13)
        return msgspec.structs.replace(honest, probability=p)

    assert not differ(says(Outcome.CLEAR, 0.5), says(Outcome.UNDECIDED, 0.5), options)
    assert not differ(says(Outcome.CLEAR, 0.605), says(Outcome.UNDECIDED, 0.595), options)
    assert differ(says(Outcome.CLEAR, 0.7), says(Outcome.UNDECIDED, 0.5), options)
    hardly = msgspec.structs.replace(
        says(Outcome.HARVESTABLE, 0.55, 0.205), probability=0.205, groups=(0.205, 0.145, 0.1, 0.55)
    )
    assert not differ(hardly, says(Outcome.UNDECIDED, 0.55, 0.195), options), "at crystal_from"
