import numpy as np
import pytest

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.growth import probability
from xtalgrid_nets.judge.growth import Compared, Shown, compare, examples, fit, markdown
from xtalgrid_nets.judge.scoring import Settings


def test_a_rendered_course_is_compared_by_the_scores_own_boxes() -> None:
    (example,) = examples(1, 970_000_000, Settings())
    compared = compare(example)
    assert (compared.shown, compared.new) == (Shown.APPEARED, True)
    assert compared.p_new is not None and compared.p_new > 0.5
    assert markdown([compared]).splitlines()[2] == "| crystals that appeared | 1 | 0 | 0 | 0 |"


def test_the_fit_finds_what_the_parts_were_drawn_with() -> None:
    """Parts from 0 to 1, new as often as intercept 4 and slope 2 say."""
    rng = np.random.default_rng(1)
    parts = rng.random(4000) ** 3
    new = rng.random(4000) < 1 / (1 + np.exp(-4 - 2 * np.log(parts + 0.01)))
    drawn = [
        Compared(Shown.APPEARED, bool(is_new), None, ((float(part), bool(is_new)),))
        for part, is_new in zip(parts, new, strict=True)
    ]
    assert fit(drawn) == pytest.approx((4, 2), abs=0.3)
    with pytest.raises(ConfigError, match="render more courses"):
        fit([one for one in drawn if one.new])


def test_what_cannot_be_said_has_its_column_and_spoils_no_figure() -> None:
    said = [Compared(Shown.GREW, True, 0.9), Compared(Shown.DIRT, False, 0.05), Compared(Shown.DIRT, False, 0.3)]
    text = markdown([*said, Compared(Shown.NOTHING, False, None)])
    assert "| dirt that stood | 0 | 1 | 1 | 0 |" in text
    assert "| nothing | 0 | 0 | 0 | 1 |" in text
    assert text.endswith("3 courses: AUC 1.000, ECE 0.150")


def test_more_that_is_new_is_likelier_new() -> None:
    assert 0 < probability(0.0) < 0.05 < 0.95 < probability(0.6) < probability(1.0) < 1
