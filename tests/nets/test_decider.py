"""What decides is moved by a lab's wells: by how much, and never against what must be kept. No torch is needed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from xtalgrid_core.combination import Combination
from xtalgrid_core.pooling import FEATURES, Pooling
from xtalgrid_nets.adapt.choose import NONE, STEPS, choose, fold_numbers, may_be_chance
from xtalgrid_nets.adapt.decider import Decider, Wells, called, fit_near, repooled, shifted

CRYSTAL, PRECIPITATE, OTHER, CLEAR = range(4)


def pooling(scale: float = 1.0) -> Pooling:
    """Each group's probability grows with the log-odds that enough chops show it, the first four features."""
    weights = np.zeros((4, FEATURES))
    weights[:, :4] = scale * np.eye(4)
    return Pooling(tuple(map(tuple, weights.tolist())), (0.0,) * 4)


def drawn(number: int, seed: int = 0, second: bool = False, spread: float = 1.5) -> Wells:
    """Wells whose groups are drawn from `pooling`, on plates of ten; the larger `spread`, the clearer they are."""
    rng = np.random.default_rng(seed)
    drops = rng.normal(0, spread, (number, FEATURES))
    odds = np.exp(drops[:, :4])
    groups = np.array([rng.choice(4, p=p) for p in odds / odds.sum(axis=1, keepdims=True)])
    said = np.full((number, 4), np.nan)
    if second:
        said[:] = 0.1
        said[np.arange(number), groups] = 0.7
    plates = np.array([f"P{well // 10}" for well in range(number)])
    return Wells(drops, said, groups, np.ones(number), plates, np.arange(number))


def right(decider: object, wells: Wells) -> int:
    return int((called(decider.probabilities(wells)) == wells.groups).sum())  # type: ignore[attr-defined]


def test_frequencies_alone_are_the_shifts() -> None:
    """With nothing else to go by and hardly any prior, the maximum of the likelihood is the share of each group."""
    groups = np.array([0] * 10 + [1] * 20 + [2] * 30 + [3] * 40)
    found = fit_near(np.zeros((100, 4)), np.tile(np.eye(4), (100, 1, 1)), groups, np.ones(100), np.full(4, 1e-6))
    assert np.exp(found) / np.exp(found).sum() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-4)


def test_the_fit_is_that_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="judging needs the extra [train]")
    wells = drawn(200)
    nothing = Decider(Pooling(((0.0,) * FEATURES,) * 4, (0.0,) * 4))
    scaled = (wells.drops - wells.drops.mean(axis=0)) / (wells.drops.std(axis=0) + 1e-3)
    theirs = linear.LogisticRegression(C=1 / 8, max_iter=5000, tol=1e-8).fit(scaled, wells.groups)
    ours = repooled(nothing, wells, strength=8.0).probabilities(wells)
    assert np.abs(ours - theirs.predict_proba(scaled)).max() < 0.02, "they differ in the prior of the intercepts alone"


@pytest.mark.parametrize("second", [False, True])
def test_crystals_can_be_made_less_likely_after_the_fit(second: bool) -> None:
    wells = drawn(100, second=second)
    start = Decider(pooling(), Combination(2.0, 0.5, (0.0,) * 4) if second else None)
    odds = [
        p[:, CRYSTAL] / (1 - p[:, CRYSTAL])
        for p in (repooled(start, wells, 8.0, fewer_crystals=by).probabilities(wells) for by in (0.0, 1.0))
    ]
    assert np.log(odds[0] / odds[1]) == pytest.approx(1.0, abs=1e-3)


def test_a_second_opinion_that_is_right_is_trusted_more() -> None:
    wells = drawn(300, second=True)
    start = Decider(pooling(), Combination(1.0, 0.2, (0.0,) * 4))
    moved = shifted(start, wells)
    assert isinstance(moved, Decider)
    assert moved.combination is not None
    assert moved.combination.second > 0.6
    assert moved.pooling == start.pooling, "only how both are combined"


def test_a_well_without_a_drop_stays_one() -> None:
    wells = drawn(60)
    wells.drops[5] = np.nan
    for _, fit in STEPS:
        assert fit(Decider(pooling()), wells).probabilities(wells)[5].tolist() == [0, 0, 1, 0]


def test_plates_are_never_divided() -> None:
    wells = drawn(200)
    numbers = fold_numbers(wells, 5)
    assert sorted(set(numbers.tolist())) == [0, 1, 2, 3, 4]
    assert all(len(set(numbers[wells.folds == plate].tolist())) == 1 for plate in set(wells.folds.tolist()))
    assert np.bincount(numbers).tolist() == [40] * 5


def test_nothing_changes_where_nothing_is_to_be_learnt() -> None:
    kept = drawn(400, seed=9)
    assert [choose(Decider(pooling()), drawn(50, seed), kept).name for seed in range(4)] == [NONE] * 4


def sharp(wells: Wells) -> Wells:
    """Wells whose crystals are beyond doubt."""
    wells.drops[:, CRYSTAL] = np.where(wells.groups == CRYSTAL, 60, -60)
    return wells


def habit(wells: Wells) -> Wells:
    """A lab that calls light precipitate clear: what shows not much more of it than of a clear drop."""
    sharp(wells)
    little = wells.drops[:, PRECIPITATE] - wells.drops[:, CLEAR] < 9
    wells.groups[(wells.groups == PRECIPITATE) & little] = CLEAR
    return wells


def test_a_habit_is_learnt_from_150_wells_and_shows_on_other_plates() -> None:
    start, others = Decider(pooling()), habit(drawn(600, seed=1, spread=6))
    chosen = choose(start, habit(drawn(150, spread=6)), sharp(drawn(300, seed=2, spread=6)))
    assert chosen.name != NONE
    assert right(chosen.decider, others) > right(start, others) + 20


def test_a_step_is_judged_by_the_lab_s_own_line_for_crystals() -> None:
    """With a line at 0.9 half of the sure wells are crystals by their group and not by the line."""
    p = np.array([[0.85, 0.05, 0.05, 0.05], [0.95, 0.03, 0.01, 0.01], [0.3, 0.5, 0.1, 0.1]])
    assert called(p, 0.9).tolist() == [PRECIPITATE, CRYSTAL, PRECIPITATE]
    assert called(p, 0.25).tolist() == [CRYSTAL] * 3
    wells, kept = drawn(120, spread=6), drawn(300, seed=2, spread=6)
    start = Decider(pooling())
    right = [int((called(start.probabilities(wells), line) == wells.groups).sum()) for line in (0.2, 0.999)]
    trials = [choose(start, wells, kept, STEPS[:1], line).trials[0].right for line in (0.2, 0.999)]
    assert trials == right
    assert right[0] != right[1]


@pytest.mark.parametrize(
    ("gained", "lost", "why"),
    [
        ((2, 2, 2), (0, 0, 0), ""),
        ((2, 2, 2), (1, 1, 0), "6 wells gained and 2 lost may be chance"),
        ((1, 1, 1), (0, 0, 0), "3 wells gained and 0 lost may be chance"),
        ((6, 0, 0), (0, 0, 0), "all that is gained, 6 wells, is gained in one fold"),
        ((12, 1, 0), (0, 0, 2), "all that is gained, 11 wells, is gained in one fold"),
        ((8, 1, 1), (0, 0, 1), ""),
    ],
)
def test_a_gain_must_be_beyond_chance_and_not_of_one_plate(
    gained: tuple[int, ...], lost: tuple[int, ...], why: str
) -> None:
    """Three plates of 20 wells, of which some are right only after a step, and some only before it."""
    before, after = np.zeros((2, 3, 20), bool)
    for plate in range(3):
        after[plate, : gained[plate]] = True
        before[plate, 20 - lost[plate] :] = True
    plates = np.repeat(["P1", "P2", "P3"], 20)
    assert may_be_chance(before.ravel(), after.ravel(), plates) == why


def test_what_loses_crystals_elsewhere_is_not_chosen() -> None:
    """People call most crystals precipitate here, which would hide those of the wells to remember."""
    wells, kept = drawn(200, spread=6), drawn(300, seed=2, spread=6)
    wells.groups[(wells.groups == CRYSTAL) & (wells.drops[:, -1] > -6)] = PRECIPITATE
    start = Decider(pooling())
    chosen = choose(start, wells, kept)
    out = {trial.name for trial in chosen.trials if "wells to remember" in trial.against}
    assert out, "a step that follows them"
    assert chosen.name not in out
    crystal = kept.groups == CRYSTAL
    found = [int((called(one.probabilities(kept)) == CRYSTAL)[crystal].sum()) for one in (start, chosen.decider)]
    assert found[0] - found[1] <= round(0.02 * crystal.sum()) + 1


def test_a_server_without_the_training_part_can_adapt() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'scipy', 'sklearn', 'cv2', 'onnx', 'skimage'])); "
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}from xtalgrid_nets.cli import main; main(['adapt', '--help'])"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    imported = f"{blocked}import xtalgrid_nets.adapt.run"
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
