"""Everything about a score, and the score made again by a real worker."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from PIL import Image

from tests.conftest import well
from tests.server.conftest import (
    COMBINED,
    INSPECTED,
    SECOND,
    answer,
    draw_well,
    result_of,
    rigaku_name,
    with_second_opinion,
)
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import load
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger import tables as t
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.reports.decision_path import decision_path
from xtalgrid_server.steps.run import run_folder
from xtalgrid_server.steps.system import System

NAME = rigaku_name(1)


@dataclass
class Lab:
    """A lab whose well A1a, with crystals as the small networks see them, went through every stage."""

    file: Path
    image: Path

    def __call__(self, *words: object) -> Result:
        return CliRunner().invoke(main, ["--config", str(self.file), *map(str, words)])

    def rewrite(self, change) -> str:
        """Change the worker's words in the ledger behind everyone's back; returns what they were."""
        with System(load(self.file)) as system, system.ledger._db.writing() as connection:
            said = connection.scalar(sa.select(t.scores.c.answer))
            connection.execute(t.scores.update().values(answer=change(said)))
        return said


@pytest.fixture(scope="module")
def lab(tiny_weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(tiny_weights, folder / "home" / "weights")
    segmenter, classifier = default_models(tiny_weights)
    (folder / "xtalgrid.toml").write_text(
        f'home = "{folder / "home"}"\n[grid]\nworkers = 1\n[imager]\npixel_size_um = 1.13\n'
        f'[work]\nsegmenter = "{segmenter}"\nclassifier = "{classifier}"\n'
    )
    (folder / "new").mkdir()
    Image.fromarray(well()).save(folder / "new" / NAME)
    with System(load(folder / "xtalgrid.toml")) as system:
        run_folder(system, folder / "new", frames="none")
        system.publish()
        contents = Contents("CI022987", Well(1, 1, 0), "kinases", "ABL1", "20 % PEG 3350", "screen.csv")
        system.ledger.contents.record([contents])
        (image,) = system.ledger.images.of_plate("CI022987")
        with system.imager.writing() as writer:
            writer.insert(image.inspect_id, "13", INSPECTED + timedelta(days=1), "jdoe", "")
        system.ledger.corrections.add(image.image_id, Outcome.BAD_FORM, "ann", note="looks like salt")
    return Lab(folder / "xtalgrid.toml", folder / "home" / "images" / "CI022987" / "3" / NAME)


def test_everything_about_a_score(lab):
    result = lab("explain", "CI022987", "A1a")
    assert result.exit_code == 0, result.output
    text = result.output
    for line in (
        "CI022987 A1a, inspection 3",
        "condition  20 % PEG 3350",
        f"image {NAME}",
        "the file that was scored",
        "crystals harvestable (23), made",
        "model      segmenter",
        "(tiny fp32)",
        "options    rule pooled, crystal_from 0.2, mode dense, step 48, 5 boxes",
        "decision   a drop was found",
        "is at least work.crystal_from 0.2: crystals",
        "crystals harvestable (crystal)",
        "box 1      crystals harvestable",
        ": publish",
        ": insert 23; done",
        "13 precipitate, by jdoe",
        "by ARTscore",
        "in the viewer, ann: crystals bad form: looks like salt",
    ):
        assert line in text, f"{line!r} is not in\n{text}"
    assert sum(line.startswith(("      0.", "      1.")) for line in text.splitlines()) == 13
    story = json.loads(lab("explain", "CI022987", "A1", "--inspection", 3, "--json").stdout)
    (image,) = story["images"]
    assert image["scores"][0]["answer"]["outcome"] == "crystals harvestable"
    assert image["scores"][0]["trail"]["written"][0]["action"] == "insert"


def test_made_again_every_number_is_the_same(lab):
    result = lab("explain", "CI022987", "A1a", "--recompute")
    assert result.exit_code == 0, result.output
    assert "again      SAME: every number is the same" in result.output


def test_made_again_it_may_differ_as_computers_do_and_no_more(lab):
    def p_crystal(by):
        def change(said):
            words = json.loads(said)
            return json.dumps({**words, "p_crystal": words["p_crystal"] - by})

        return change

    said = lab.rewrite(p_crystal(1e-5))
    try:
        close = lab("explain", "CI022987", "A1a", "--recompute")
        lab.rewrite(p_crystal(0.1))
        far = lab("explain", "CI022987", "A1a", "--recompute")
    finally:
        lab.rewrite(lambda _: said)
    assert close.exit_code == 0
    assert "AGREES: the outcome is the same; no probability differs by more than 1e-05" in close.output
    assert far.exit_code == 1
    assert "DIFFERS: p_crystal " in far.output


def test_another_file_or_none_cannot_be_compared(lab):
    data = lab.image.read_bytes()
    try:
        lab.image.unlink()
        gone = lab("explain", "CI022987", "A1a", "--recompute")
        Image.fromarray(well((40, 40, 150))).save(lab.image)
        other = lab("explain", "CI022987", "A1a", "--recompute")
    finally:
        lab.image.write_bytes(data)
    assert gone.exit_code == other.exit_code == 1
    assert "IMPOSSIBLE: missing file" in gone.output
    assert "IMPOSSIBLE: the file has changed since it was scored" in other.output
    assert "the file has changed since it was last scored" in other.output


def test_what_is_not_there_is_said(lab):
    for words, why in (
        (("CI9", "A1"), "no images of plate 'CI9' yet"),
        (("CI022987", "B1"), "has no image of B1"),
        (("CI022987", "A1b"), "has no image of A1b"),
        (("CI022987", "well 1"), "is not a well"),
        (("CI022987", "A1", "--inspection", 7), "has no inspection 7; it has 3"),
    ):
        result = lab("explain", *words)
        assert result.exit_code == 2, result.output
        assert why in result.output


def test_an_image_that_waits_or_failed_says_why_it_has_no_score(system, xtalgrid, tmp_path):
    draw_well(tmp_path / "new" / NAME)
    system.import_folder(tmp_path / "new")
    system.create_work()
    assert "no score   it is waiting, or its work unit is in progress" in xtalgrid("explain", "CI022987", "A1a").output
    (unit,) = system.ledger.units.in_states("sent")
    system.ledger.units.fail(unit, "three workers ended without an answer")
    for words in (("explain",), ("explain", "--recompute")):
        result = xtalgrid(words[0], "CI022987", "A1a", *words[1:])
        assert "no score   work unit failed: three workers ended" in result.output
    assert result.exit_code == 1
    assert "no scores" in xtalgrid("history", "CI022987", "A1a").output


def test_a_drop_s_history(lab):
    result = lab("history", "CI022987", "A1a")
    assert result.exit_code == 0, result.output
    for line in (
        "sample     ABL1",
        "inspection 3, 2012-11-21",
        "score table ARTscore: 23",
        "score table jdoe: 13",
        "viewer ann: 22",
    ):
        assert line in result.output, result.output
    assert "ARTscore 23 crystals harvestable, p_crystal" in result.output
    told = json.loads(lab("history", "CI022987", "A1a", "--json").stdout)
    assert [step["what"] for step in told["chapters"][0]["steps"]] == [
        "score table",
        "score table",
        "ARTscore",
        "viewer",
    ]


@pytest.mark.parametrize(
    ("rule", "outcome", "says"),
    [
        ("pooled", Outcome.CLEAR, "no crystals; of the other groups clear is the most probable"),
        ("pooled", Outcome.BAD_FORM, "is at least work.crystal_from 0.2"),
        ("group", Outcome.UNDECIDED, "no chop counts: the largest is 0.500, so it is undecided"),
        ("group", Outcome.PRECIPITATE, "must show in several chops"),
        ("published", Outcome.PRECIPITATE, "the probability of its best class is at least 0.85"),
        ("pooled", Outcome.NULL_EXPERIMENT, "no drop was found (confidence 0.970): so it is a null experiment"),
    ],
)
def test_the_steps_of_each_rule_in_words(rule, outcome, says):
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64, rule=rule)
    assert says in "\n".join(decision_path(answer(0, outcome), options))


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (
            Outcome.HARVESTABLE,
            "our chops say crystal 0.410, MARCO's network says 0.930, together 0.830\n"
            "p_crystal 0.830 of both together is at least work.crystal_from 0.2: crystals",
        ),
        (Outcome.NULL_EXPERIMENT, "null experiment\nMARCO's network says crystal 0.930, which counts only with a drop"),
    ],
)
def test_both_opinions_in_words(outcome, says):
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64, **COMBINED)
    path = "\n".join(decision_path(with_second_opinion(answer(0, outcome)), options))
    assert says in path
    assert "all chops together" not in path


def test_what_failed_or_is_in_other_light_is_no_part_of_a_drops_course(system, score, xtalgrid):
    """A failure is no 0 %, and an UV image that an earlier version scored has no say."""
    score({(1, 1): Outcome.CLEAR}, p_crystal=0.02)
    score({(1, 1): Outcome.HARVESTABLE}, p_crystal=0.99, image="UV")
    later, name = INSPECTED + timedelta(days=1), rigaku_name(1, inspection=4)
    rows = system.imager.register([ImageRow(0, "CI022987", 4, later, Well(1, 1, 1), name)])
    entry = wire.ImageEntry(number=0, file="000.jpg", inspect_id=rows[0].inspect_id, sha256="d" * 64)
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
    unit = wire.Manifest(schema=1, unit="xg_4", min_worker="0.1.0", options=options, images=(entry,))
    system.ledger.units.add(unit, [PlannedImage(rows[0], "d" * 64)])
    failed = wire.Failed(number=0, reason=FailureReason.CRASHED_WORKER, detail="")
    system.ledger.scores.accept_result(system.ledger.units.named("xg_4"), "e" * 64, result_of(unit, [failed]), unit)
    told = xtalgrid("history", "CI022987", "A1a").output
    assert "  p_crystal  2 %\n" in told
    (line,) = [line for line in told.splitlines() if " failed" in line]
    assert "p_crystal" not in line
    page = json.loads(xtalgrid("history", "CI022987", "A1a", "--json").stdout)
    assert [chapter["p_crystal"] for chapter in page["chapters"]] == [0.02, None]


def test_explain_and_history_show_both_opinions_where_there_is_a_second(score, xtalgrid):
    score({(1, 1): Outcome.HARVESTABLE}, inspection=3)
    alone = json.loads(xtalgrid("history", "CI022987", "A1a", "--json").stdout)["chapters"][0]["steps"][0]
    assert "own_groups" not in alone and "second_opinion" not in alone
    score({(1, 1): Outcome.HARVESTABLE}, inspection=4, inspected=INSPECTED + timedelta(days=7), combined=True)
    told = xtalgrid("history", "CI022987", "A1a").output
    assert "p_crystal 50 %  (score 1," in told
    assert "p_crystal 83 % (ours 41 %, MARCO's 93 %)  (score 2," in told
    step = json.loads(xtalgrid("history", "CI022987", "A1a", "--json").stdout)["chapters"][1]["steps"][0]
    assert step["own_groups"] == [0.41, 0.32, 0.19, 0.08]
    assert step["second_opinion"] == {"model": SECOND, "groups": [0.93, 0.04, 0.02, 0.01]}
    models = [line for line in xtalgrid("explain", "CI022987", "A1a").output.splitlines() if " model " in line]
    assert models[2] == "    model      second_opinion eeeeeeeeeeee… (not available here)"
    assert "second_opinion" not in xtalgrid("explain", "CI022987", "A1a", "--inspection", 3).output
