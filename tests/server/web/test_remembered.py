"""What the viewer remembers of the ledger is what stands there."""

import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.web.cache.memory import Remembered


@pytest.fixture
def made():
    return []


@pytest.fixture
def get(system, made):
    remembered = Remembered(system.ledger.plates)

    def get(key="crystals"):
        return remembered.get(key, lambda: made.append(key) or system.ledger.views.counts()["scores"])

    return get


def test_a_value_is_made_once_while_nothing_comes_in(get, made, score):
    score({(1, 1): Outcome.CLEAR})
    assert get() == get() == {"clear": 1}
    assert get("other") == {"clear": 1}
    assert made == ["crystals", "other"]


def test_it_is_made_again_when_something_came_in(get, made, score):
    score({(1, 1): Outcome.CLEAR})
    get()
    score({(2, 1): Outcome.CLEAR}, inspection=2)
    assert get() == {"clear": 2}
    assert made == ["crystals", "crystals"]


def test_it_is_made_again_after_an_error(system):
    remembered = Remembered(system.ledger.plates)
    with pytest.raises(ZeroDivisionError):
        remembered.get("one", lambda: 1 / 0)
    assert remembered.get("one", lambda: 2) == 2
