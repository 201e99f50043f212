"""`work.undecided`: what is not sure enough is said to be undecided, from the unit to the score table and the viewer."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest
from starlette.testclient import TestClient

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.possible import PossibleGroups
from xtalgrid_server.config import UndecidedBelow, from_string
from xtalgrid_server.ledger.images import Range
from xtalgrid_server.ledger.store import Ledger
from xtalgrid_server.ledger.units import options_hash
from xtalgrid_server.reports.decision_path import decision_path, why_undecided
from xtalgrid_server.reports.status import status
from xtalgrid_server.steps.assimilate.doubt import judged, unsure
from xtalgrid_server.steps.run import run_folder
from xtalgrid_server.steps.score_rules import best_of_inspection, rank
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_synth import render_plate

from .conftest import Scorer, answer

OPTIONS = Options(segmenter="a" * 64, classifier="b" * 64)
BELOW = msgspec.structs.replace(OPTIONS, undecided=(0.3, 0.6, 0.6, 0.6))


def said(outcome: Outcome, groups: wire.GroupProbabilities, probability: float) -> wire.Scored:
    honest = answer(0, outcome, p_crystal=groups[0])
    return msgspec.structs.replace(honest, groups=groups, probability=probability)


@pytest.mark.parametrize(
    ("written", "limits"),
    [("0.6", 0.6), ("{ crystal = 0.3, clear = 0.7 }", UndecidedBelow(crystal=0.3, clear=0.7)), ("0", 0.0)],
)
def test_it_is_one_number_or_one_for_each_group(written: str, limits: object) -> None:
    assert from_string(f"[work]\nundecided = {written}").work.undecided == limits


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('undecided = 0.6\nrule = "group"', "wells below work.threshold are undecided: remove one of the two"),
        ("undecided = 6", "work.undecided: Expected `float` <= 1.0"),
        ("undecided = { cristal = 0.6 }", "unknown field `cristal`"),
    ],
)
def test_a_mistake_is_named(written: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        from_string(f"[work]\n{written}")


def test_an_undecided_well_keeps_its_numbers_and_stays_out_of_the_score_table(tmp_path: Path) -> None:
    (drawn,) = render_plate(
        tmp_path / "new", barcode="CI1", seed=1, wells=[Outcome.CLEAR], width=640, height=480, pixel_size_um=4.52
    )
    config = from_string(
        "[imager]\npixel_size_um = 4.52\n[grid]\nworkers = 1\n[work]\nundecided = 1", home=tmp_path / "home"
    )
    with System(config) as system:
        account = run_folder(system, drawn.parent, frames="crystals")
        (shown,) = account.scored
        (score,) = system.ledger.scores.by_id([shown.score_id])
        (origin,) = system.ledger.scores.origins(score.image_id).values()
        written = dict(system.ledger.counts()["actions"])
    assert isinstance(score.answer, wire.Scored)
    assert origin.options.undecided == (1, 1, 1, 1)
    assert (score.outcome, score.answer.score) == (Outcome.UNDECIDED, None)
    assert score.answer.groups is not None
    assert score.answer.probability == max(score.answer.groups) > 0.25
    assert written == {"none": 1}
    assert list((config.frames_dir / "CI1").rglob("*_ART.jpg")), "a person should look"
    why = why_undecided(score.answer, origin.options)
    assert why.endswith("is less than work.undecided 1, so it is undecided")
    with TestClient(create_app(config), base_url="http://127.0.0.1") as client:
        page = client.get(f"/well/CI1/{score.inspection}/{score.well}").text
    assert f"{why[0].upper()}{why[1:]}; a person should decide." in page
    assert "undecided below 1.0, 1.0, 1.0, 1.0 of crystal, precipitate, other, clear" in page


def test_an_artscore_of_before_that_stays_in_the_score_table_is_reported(system: System, score: Scorer) -> None:
    """A well that was published as clear and is undecided when it is scored again still is clear in XtalTrak."""
    (image,) = score({(1, 1): Outcome.CLEAR})
    system.finalize()
    system.publish()
    score({(1, 1): Outcome.UNDECIDED}, p_crystal=0.3, threshold=0.9)
    done = system.finalize()
    assert (done.actions, done.outdated) == ({"none": 1}, 1)
    assert done.csv is not None
    assert status(system.config, system.ledger, system.imager).outdated == 1
    (row,) = csv.DictReader(done.csv.read_text().splitlines())
    assert row["why"] == (
        f"undecided: a person should look; the score table still has 01 by ARTscore {image.inspected:%Y-%m-%d}"
    )
    score({(1, 1): Outcome.HARVESTABLE}, image="HG")  # another image of the inspection decides
    system.finalize(), system.publish()
    assert status(system.config, system.ledger, system.imager).outdated == 0
    score({(2, 1): Outcome.CLEAR})
    system.finalize(), system.publish()
    (other,) = score({(2, 1): Outcome.UNDECIDED}, p_crystal=0.3, threshold=0.9)
    assert status(system.config, system.ledger, system.imager).outdated == 1
    (shown,) = system.ledger.images.of_inspections([other.inspect_id])
    assert system.ledger.corrections.add(shown.image_id, Outcome.CLEAR, "jdoe")  # which is what XtalTrak shows, too
    assert status(system.config, system.ledger, system.imager).outdated == 0


def test_what_an_older_worker_decided_is_undecided_too() -> None:
    light = from_string("").light
    clear = said(Outcome.CLEAR, (0.1, 0.2, 0.2, 0.5), 0.5)
    (now,) = judged([clear], ["A1.jpg"], light, BELOW)
    assert now == msgspec.structs.replace(clear, outcome=Outcome.UNDECIDED, score=None)
    assert judged([clear], ["A1.jpg"], light, OPTIONS) == (clear,)
    assert unsure(answer(0, Outcome.CLEAR, 0.5), BELOW).outcome is Outcome.CLEAR, "its numbers say nothing of groups"


@pytest.mark.parametrize(
    ("groups", "probability", "why"),
    [
        ((0.1, 0.5, 0.2, 0.2), 0.5, "precipitate 0.500 is less than work.undecided 0.6"),
        ((0.25, 0.7, 0.0, 0.05), 0.25, "crystal 0.250 is less than work.undecided 0.3"),
    ],
)
def test_the_reason_names_the_group_it_would_be_called(
    groups: wire.GroupProbabilities, probability: float, why: str
) -> None:
    undecided = said(Outcome.UNDECIDED, groups, probability)
    assert f"{why}, so it is undecided; a person should look" in list(decision_path(undecided, BELOW))
    dark = msgspec.structs.replace(undecided, looks_like_uv=True, groups=None)
    assert why_undecided(dark, BELOW) == "the image is dark, as in UV light, so it is undecided"


@pytest.mark.parametrize(
    ("p_crystal", "other", "best"),
    [
        (0.3, Outcome.CLEAR, Outcome.UNDECIDED),
        (0.3, Outcome.OVERNUCLEATED, Outcome.OVERNUCLEATED),
        (0.1, Outcome.CLEAR, Outcome.CLEAR),
        (0.0, Outcome.CLEAR, Outcome.CLEAR),  # as of a dark image
    ],
)
def test_no_other_image_of_the_inspection_says_that_there_are_no_crystals(
    system: System, score: Scorer, p_crystal: float, other: Outcome, best: Outcome
) -> None:
    score({(1, 1): Outcome.UNDECIDED}, p_crystal=p_crystal)
    score({(1, 1): other}, image="HG")
    images = system.ledger.images.of_plates(["CI022987"], Range({"CI022987"}))
    assert len(images) == 2
    assert min(images, key=rank).outcome is best


@pytest.mark.parametrize(
    ("crystal_from", "best"), [(0.1, Outcome.UNDECIDED), (0.2, Outcome.CLEAR), (0.6, Outcome.CLEAR)]
)
def test_what_may_show_crystals_is_what_the_lab_calls_so(
    system: System, score: Scorer, crystal_from: float, best: Outcome
) -> None:
    p_crystal = 0.15 if crystal_from < 0.5 else 0.4
    score({(1, 1): Outcome.UNDECIDED}, p_crystal=p_crystal)
    score({(1, 1): Outcome.CLEAR}, image="HG")
    work = msgspec.structs.replace(system.config.work, crystal_from=crystal_from)
    ledger = Ledger(msgspec.structs.replace(system.config, work=work))
    images = ledger.images.of_plates(["CI022987"], Range({"CI022987"}))
    scored = ledger.scores.newest([images[0].inspect_id])
    ledger.close()
    assert min(images, key=rank).outcome is best_of_inspection(scored).outcome is best


def test_scores_from_before_keep_their_hash_and_what_only_explains_does_not_count() -> None:
    before = "c7c8860fe53c"
    possible = PossibleGroups(0.95, (0.5,) * 4)
    once = msgspec.structs.replace(OPTIONS, zoom=None)
    assert options_hash(once, None).startswith(before)
    assert options_hash(msgspec.structs.replace(once, possible=possible), None).startswith(before)
    assert not options_hash(OPTIONS, None).startswith(before)
    assert not options_hash(BELOW, None).startswith(before)
