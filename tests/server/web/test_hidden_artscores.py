"""People who score before they see the ARTscore: nothing on the pages tells it, and their scores are counted apart."""

from __future__ import annotations

import re

import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.reports.agreement import agreement_with_people
from xtalgrid_server.reports.entries import Filter

from .conftest import PLATE, token_of

WELL = "/well/CI022987/3/A1a"
DROPS = {(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.PRECIPITATE}


@pytest.fixture
def hiding(client, score):
    """A browser whose person hides ARTscores, of a plate that has some at two inspections."""
    score(DROPS, p_crystal=0.83)
    score(DROPS, p_crystal=0.83, inspection=4)
    client.get(f"{PLATE}?art=hide")
    return client


def main_of(page):
    """A page without its help and its buttons, which name every outcome, and its tokens, which have any digits."""
    main = page.partition('<main id="main">')[2].partition("</main>")[0]
    for buttons in ('<div class="scores">', '<div id="selected"'):
        before, _, rest = main.partition(buttons)
        main = before + rest.partition("</div>")[2]
    return re.sub(r"<select.*?</select>", "", main, flags=re.DOTALL).replace(token_of(main), "")


def test_nothing_tells_an_artscore_before_the_person_has_scored(hiding):
    for address in (
        PLATE,
        f"{PLATE}?order=best",
        f"{PLATE}?show=heat",
        f"{PLATE}?show=ever",
        f"{PLATE}?show=art",
        WELL,
    ):
        page = main_of(hiding.get(address).text)
        assert "A2a" in page
        for telling in (
            "harvestable",
            "o-precipitate",
            "83",
            "95 %",
            "crystal 8",
            "/framed/",
            "/map/",
            "ARTscore bbbb",
        ):
            assert telling not in page, (address, telling)
    assert "You see it once you have scored this drop." in hiding.get(WELL).text
    order = hiding.get(f"{PLATE}?order=best").text
    assert order.index("A1a") < order.index("A2a")  # by the plate, not by likelihood


def test_a_drop_that_the_person_scored_shows_its_artscore_and_others_stay_hidden(hiding, system):
    system.ledger.corrections.add(2, Outcome.CLEAR, "ben")
    hiding.fill("/corrections", WELL, image=1, outcome="clear")
    assert "crystals harvestable" in main_of(hiding.get(WELL).text)
    page = main_of(hiding.get(PLATE).text)
    assert "harvestable" in page and "o-precipitate" not in page
    assert 'name="score"' not in hiding.get("/well/CI022987/3/A2a").text  # what the person did not see
    hiding.get(f"{PLATE}?art=show")
    assert "o-precipitate" in main_of(hiding.get(PLATE).text)


def test_guests_see_artscores(visit, score):
    score(DROPS)
    guest = visit(address="10.0.0.9")
    assert "o-precipitate" in main_of(guest.get(f"{PLATE}?art=hide").text)


def test_agreement_counts_scores_given_without_the_artscore_apart(hiding, system):
    hiding.fill("/corrections", WELL, image=1, outcome="harvestable")
    hiding.fill("/corrections", WELL, image=2, score=2, outcome="precipitate")  # seen
    hiding.fill("/corrections", WELL, image=3, outcome="clear")
    found = agreement_with_people(system.config, system.ledger, Filter())
    assert (found.agree.hits, found.agree.number) == (2, 3)
    assert (found.unseen.hits, found.unseen.number) == (1, 2)
