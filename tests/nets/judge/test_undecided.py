"""How many wells are undecided, how many of the rest are right, and how often the possible groups hold the truth."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.server.conftest import answer

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_core.possible import PossibleGroups
from xtalgrid_nets.judge.truth import Kind, Truth
from xtalgrid_nets.judge.undecided import calls, in_total, risk_table, source_table

SHOWS = {
    Group.CRYSTAL: Outcome.HARVESTABLE,
    Group.PRECIPITATE: Outcome.PRECIPITATE,
    Group.OTHER: Outcome.OTHER,
    Group.CLEAR: Outcome.CLEAR,
}
POSSIBLE = PossibleGroups(0.95, (0.3, 0.5, 0.1, 0.5))


def truth(group: Group, source: str = "lab", kind: Kind = "real", sure: bool = True) -> Truth:
    return Truth(Path("x.jpg"), source, kind, "P", group, None, sure)


def said(*groups: float) -> wire.Scored:
    called = Group.CRYSTAL if groups[0] >= 0.2 else list(SHOWS)[groups.index(max(groups[1:]), 1)]
    honest = answer(0, SHOWS[called], p_crystal=groups[0])
    p = groups[list(SHOWS).index(called)]
    return msgspec.structs.replace(honest, groups=groups, own_groups=groups, probability=p)


ANSWERS: list[tuple[Truth, wire.Answer]] = [
    (truth(Group.CRYSTAL), said(0.9, 0.1, 0.0, 0.0)),
    (truth(Group.CRYSTAL), said(0.25, 0.6, 0.1, 0.05)),
    (truth(Group.CRYSTAL), said(0.1, 0.8, 0.1, 0.0)),
    (truth(Group.CLEAR), said(0.0, 0.0, 0.45, 0.55)),
    (truth(Group.CLEAR, sure=False), said(0.9, 0.1, 0.0, 0.0)),
    (truth(Group.CLEAR), wire.Failed(number=0, reason=FailureReason.TRUNCATED, detail="")),
    (truth(Group.CLEAR, "wells: MARCO/GSK"), said(0.0, 0.0, 0.0, 1.0)),
    (truth(Group.CLEAR, "rendered: P", "rendered"), said(0.0, 0.0, 0.0, 1.0)),
]


def test_the_risk_falls_as_more_wells_are_undecided() -> None:
    wells = [call for call in calls(ANSWERS, POSSIBLE) if call.truth.source == "lab"]
    _, _, never, at_half, at_most = risk_table(wells, (0.0, 0.5, 0.9))
    cells = [
        [cell.strip().split(" (")[1].split(";")[0] for cell in row.split("|")[2:-1]]
        for row in (never, at_half, at_most)
    ]
    assert cells == [
        ["0 of 5", "3 of 5", "0 of 3", "1 of 3"],
        ["2 of 5", "2 of 3", "1 of 3", "1 of 2"],
        ["4 of 5", "1 of 1", "2 of 3", "0 of 1"],
    ]


def test_each_source_says_how_often_its_own_group_was_possible() -> None:
    lab, marco, rendered, total = source_table(calls(ANSWERS, POSSIBLE), 0.5, with_second=True)[2:]
    assert lab == "| lab | 5 | 3 of 5 | 2 of 5 | 2 of 3 | 2 of 4 | 1.75 |"
    assert "MARCO's own images" in marco and rendered.startswith("| rendered: P | 1 |")
    assert total.startswith("| all real sources | 5 |")
    assert len(in_total(calls(ANSWERS, POSSIBLE))) == 6, "MARCO's images did not train ours"


def test_the_second_opinion_is_left_out_of_ours_alone() -> None:
    both = msgspec.structs.replace(said(0.9, 0.1, 0.0, 0.0), own_groups=(0.1, 0.2, 0.1, 0.6))
    (alone,) = calls([(truth(Group.CLEAR), both)], POSSIBLE, alone=True)
    assert (alone.group, alone.probability, alone.possible) == (Group.CLEAR, 0.6, (Group.OTHER, Group.CLEAR))


@pytest.mark.parametrize("alone", [False, True])
def test_a_well_without_a_drop_is_other(alone: bool) -> None:
    empty = answer(0, Outcome.NULL_EXPERIMENT, 0.97)
    groups = (0.01, 0.01, 0.97, 0.01)
    (call,) = calls(
        [(truth(Group.OTHER), msgspec.structs.replace(empty, groups=groups, own_groups=groups))], None, alone
    )
    assert (call.is_right(), call.probability, call.possible) == (True, 0.97, None)
