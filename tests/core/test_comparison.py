"""When a candidate model is better than the current one."""

from __future__ import annotations

from pathlib import Path

import pytest

from xtalgrid_core.comparison import Comparison, Figures, Source, judge, read_comparison, write_comparison
from xtalgrid_core.errors import BrokenModel
from xtalgrid_core.outcomes import Group


def source(
    kind: str, crystals: tuple[int, int, int], clear: tuple[int, int, int], false: tuple[int, int] = (0, 0)
) -> Source:
    """Each of (wells, right before, right after); false crystals (before, after)."""

    def figures(which: int) -> Figures:
        right = {Group.CRYSTAL: crystals[which], Group.CLEAR: clear[which]}
        return Figures(right=right, false_crystals=false[which - 1], undecided=0)

    wells = {Group.CRYSTAL: crystals[0], Group.CLEAR: clear[0]}
    return Source(name=kind, kind=kind, wells=wells, current=figures(1), candidate=figures(2))  # type: ignore[arg-type]


FROZEN = source("frozen", (50, 48, 48), (50, 45, 45))
LAB = source("lab", (6, 6, 6), (54, 39, 48))


def test_better_is_more_of_the_lab_right_and_no_crystal_lost() -> None:
    verdict, reasons = judge([LAB, FROZEN])
    assert verdict == "better"
    assert "the lab's held-out wells: 54 of 60 right, 45 before" in reasons


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        ([LAB, source("frozen", (50, 48, 46), (50, 45, 50))], "frozen: 46 of 50 crystals found, 48 before"),
        ([LAB, source("frozen", (50, 48, 50), (50, 45, 45), (0, 3))], "3 of 50 other wells called crystals, 0 before"),
        ([source("lab", (0, 0, 0), (60, 45, 45)), FROZEN], "45 of 60 right, 45 before"),
        ([source("lab", (9, 9, 5), (60, 45, 60)), FROZEN], "lab: 5 of 9 crystals found, 9 before"),
        ([LAB, *[source("frozen", (9, 9, 8), (9, 9, 9))] * 2], "all sources: 22 of 24 crystals found, 24 before"),
        ([LAB], "no frozen source has crystal wells"),
        ([source("lab", (0, 0, 0), (60, 45, 60)), FROZEN], "the lab's held-out wells are all clear"),
        ([FROZEN], "the lab has no held-out wells"),
    ],
)
def test_a_worse_candidate_comes_with_reasons(sources: list[Source], why: str) -> None:
    verdict, reasons = judge(sources)
    assert verdict == "not better"
    assert any(why in reason for reason in reasons), reasons


def test_one_well_may_change_by_chance() -> None:
    assert judge([LAB, source("frozen", (50, 48, 47), (50, 45, 45), (0, 1))])[0] == "better"


def test_a_comparison_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_comparison(tmp_path) is None
    verdict, reasons = judge([LAB, FROZEN])
    made = Comparison(
        candidate=("a", "b"),
        current=("c", "d"),
        sources=(LAB, FROZEN),
        verdict=verdict,
        reasons=reasons,
        made_at="2026-01-01T00:00:00Z",
    )
    write_comparison(tmp_path, made)
    assert read_comparison(tmp_path) == made
    (tmp_path / "comparison.json").write_text('{"verdict": "splendid"}')
    with pytest.raises(BrokenModel, match=r"comparison\.json"):
        read_comparison(tmp_path)
