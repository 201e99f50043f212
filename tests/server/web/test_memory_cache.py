"""The memory cache never returns a value that the ledger no longer has."""

import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.web.cache.memory import MemoryCache


@pytest.fixture
def made():
    return []


@pytest.fixture
def get(system, made):
    cache = MemoryCache(system.ledger.plates)

    def get(key="crystals"):
        return cache.get(key, lambda: made.append(key) or system.ledger.counts()["scores"])

    return get


def test_a_value_is_made_once_while_the_ledger_does_not_change(get, made, score):
    score({(1, 1): Outcome.CLEAR})
    assert get() == get() == {"clear": 1}
    assert get("other") == {"clear": 1}
    assert made == ["crystals", "other"]


def test_it_is_made_again_after_the_ledger_changed(get, made, score):
    score({(1, 1): Outcome.CLEAR})
    get()
    score({(2, 1): Outcome.CLEAR}, inspection=2)
    assert get() == {"clear": 2}
    assert made == ["crystals", "crystals"]


def test_it_is_made_again_after_an_error(system):
    cache = MemoryCache(system.ledger.plates)
    with pytest.raises(ZeroDivisionError):
        cache.get("one", lambda: 1 / 0)
    assert cache.get("one", lambda: 2) == 2
