"""Small rendered plates, scored by the real worker, judged and reported; killed and gone on with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("sklearn", reason="judging needs the extra [train]")
pytest.importorskip("matplotlib", reason="judging needs the extra [train]")

from tests.conftest import BLUE, RED, encoded, well

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_nets.cli import judge as commands
from xtalgrid_nets.judge import judged, report, scoring, tables, truth
from xtalgrid_scoring.pool import Pool
from xtalgrid_synth import render_plate

WELLS = (Outcome.HARVESTABLE, Outcome.PRECIPITATE, Outcome.NULL_EXPERIMENT, Outcome.CLEAR)


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two plates of four wells."""
    folder = tmp_path_factory.mktemp("made") / "plates"
    for number in (1, 2):
        render_plate(
            folder, barcode=f"TT00000{number}", seed=number, wells=WELLS, width=420, height=350, pixel_size_um=6.9
        )
    return folder


@pytest.fixture(scope="module")
def reported(plates: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's folder."""
    out = tmp_path_factory.mktemp("report")
    arguments = [str(out), "--plates", str(plates), "--weights", str(tiny_weights), "--jobs", "1"]
    by = ["--rule", "group", "--threshold", "0.85", "--threshold", "0.8"]
    done = CliRunner().invoke(commands.evaluate, [*arguments, *by])
    assert done.exit_code == 0, done.output
    return out


def test_every_number_is_in_the_json(reported: Path) -> None:
    made = json.loads((reported / "report.json").read_bytes())
    assert made["worker"].startswith("xtalgrid 0")
    (source,) = made["sources"]
    assert (source["source"], source["kind"], source["images"], source["sure"]) == (
        "rendered: plates",
        "rendered",
        8,
        8,
    )
    assert list(source["table3"]) == ["0.85", "0.8"]
    for row in source["table3"].values():
        assert row["weighted_mean"]["of"] == 8
        assert [row["groups"][group]["of"] for group in ("crystal", "precipitate", "other", "clear")] == [2, 2, 2, 2]
    assert sum(map(sum, source["groups"]["counts"])) == sum(map(sum, source["classes"]["counts"])) == 8
    assert [plate["name"] for plate in source["plates"]] == ["TT000001", "TT000002"]
    assert source["roc"]["crystals"] == 2
    assert sum(each["crystals"]["of"] for each in source["reliability"]["bins"]) == 8
    assert source["seconds_median"] > 0


def test_the_markdown_shows_every_figure_there_is(reported: Path) -> None:
    text = (reported / "report.md").read_text(encoding="utf-8")
    drawn = sorted(path.name for path in (reported / "figures").iterdir())
    assert drawn == [
        f"rendered-plates-{what}.png" for what in ("classes", "confusion", "coverage", "opened", "reliability", "roc")
    ]
    assert all(f"(figures/{name})" in text for name in drawn)
    with Image.open(reported / "figures" / drawn[0]) as picture:
        assert min(picture.size) > 300


def test_what_was_scored_is_not_scored_again(reported: Path, plates: Path, tiny_weights: Path) -> None:
    paths = [well.path for well in truth.rendered_plates(plates)]
    kept = {path: path.stat().st_mtime_ns for path in (reported / "scores").glob("*.json")}
    assert len(kept) == 2
    scoring.score(paths, scoring.Settings(threshold=0.8, rule="group", weights=tiny_weights), reported / "scores")
    assert {path: path.stat().st_mtime_ns for path in (reported / "scores").glob("*.json")} == kept


def test_a_broken_image_is_counted_and_harms_no_other(plates: Path, tiny_weights: Path, tmp_path: Path) -> None:
    good = truth.rendered_plates(plates)[0]
    (tmp_path / "broken.jpg").write_bytes(good.path.read_bytes()[:2000])
    wells = [
        good,
        truth.Truth(tmp_path / "broken.jpg", good.source, good.kind, "P", Group.CRYSTAL, Outcome.HARVESTABLE),
    ]
    answers = scoring.score([well.path for well in wells], scoring.Settings(weights=tiny_weights), tmp_path / "scores")
    found = judged.judge(wells, {"0.85": answers})
    assert found.failed == {"truncated image": 1}
    assert found.groups.counts[0][judged.GROUP_CALLS.index("failed")] == 1
    assert (found.crystals_found.of, found.crystals_found.hits >= 1) == (2, True)  # what failed has to be looked at
    assert found.roc is None
    assert "1 × truncated image" in report.markdown(
        report.Report(schema=1, worker="w", options="", weights={}, sources=[found]), {}, "evaluate"
    )


def test_a_real_well_that_trains_is_not_judged(tiny_weights: Path, tmp_path: Path) -> None:
    for name, colour in (("a.png", RED), ("b.png", BLUE)):
        (tmp_path / name).write_bytes(encoded(well(colour)))
    (tmp_path / "wells.csv").write_text("plate,image,label\nA,a.png,crystal\nA,b.png,clear\n")
    sha256 = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    (tmp_path / "trained.csv").write_text(f"sha256,use\n{sha256},train\n")
    (tmp_path / "out" / "figures").mkdir(parents=True)
    for name in ("of-another-run-roc.png", "notes.png"):
        (tmp_path / "out" / "figures" / name).touch()
    arguments = [str(tmp_path / "out"), "--wells", str(tmp_path / "wells.csv"), "--weights", str(tiny_weights)]
    done = CliRunner().invoke(
        commands.evaluate, [*arguments, "--trained", str(tmp_path / "trained.csv"), "--jobs", "1"]
    )
    assert done.exit_code == 0, done.output
    assert f"1 of 2 real wells train, by {tmp_path / 'trained.csv'}, and are left out\n" in done.output
    (source,) = json.loads((tmp_path / "out" / "report.json").read_bytes())["sources"]
    assert [group for group, row in source["table3"]["p_crystal 0.2"]["groups"].items() if row["of"]] == ["clear"]
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert "notes.png" in figures
    assert "of-another-run-roc.png" not in figures, "it would be taken for one of this report"


def test_an_outline_is_compared_with_its_mask(tmp_path: Path) -> None:
    mask = Image.new("L", (64, 48), 0)
    mask.paste(255, (8, 8, 40, 40))  # left, top, right, bottom
    mask.save(tmp_path / "mask.png")
    half = ((160, 160), (160, 460), (780, 460), (780, 160))  # rows 8 to 39 and columns 8 to 23, at 20 times the size
    found = wire.Scored(
        number=0, outcome=Outcome.CLEAR, score=1, probability=0.9, p_crystal=0.1, probabilities=(), height=960, width=1280,
        pixel_size_um=1.13, pixel_size_origin="", drop=wire.Drop(box=None, outline=half, confidence=0.9),
        boxes=(), seconds=0.1,
    )  # fmt: skip
    assert judged.outline_iou(found, tmp_path / "mask.png") == 0.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there are no wells to judge"),
        (["--plates", "nowhere"], "no rendered plates"),
        (["--real", "nowhere"], "labels.csv: No such file"),
    ],
)
def test_what_cannot_be_judged_is_said_in_a_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(commands.evaluate, [str(tmp_path), *arguments])
    assert done.exit_code != 0
    assert said in done.output
    assert "Traceback" not in done.output


def test_weights_that_are_not_there_are_named(plates: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        commands.evaluate, [str(tmp_path), "--plates", str(plates), "--weights", str(tmp_path / "none")]
    )
    assert done.exit_code == 1
    assert "manifest.json" in done.output


def test_a_well_is_scored_with_the_pixel_size_of_its_table(tiny_weights: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(well(RED if name == "a.png" else BLUE)))
    text = "plate,image,label,pixel_size_um\nA,a.png,crystal,{}\nA,b.png,clear,\n"
    settings = scoring.Settings(weights=tiny_weights)
    for size in (2.5, 3.5):  # and answers for one size are not taken for another
        (tmp_path / "wells.csv").write_text(text.format(size))
        truths = truth.lab_wells(tmp_path / "wells.csv")
        answers = scoring.score_wells(truths, settings, tmp_path / "scores")
        first, second = (answers[each.path] for each in truths)
        assert (first.pixel_size_um, first.pixel_size_origin) == (size, "configured")
        assert second.pixel_size_origin == "guessed"


def test_a_failure_that_may_pass_is_not_kept(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(well(RED)))
    settings = scoring.Settings(weights=tiny_weights)
    slow = wire.Failed(number=0, reason=FailureReason.TIMED_OUT, detail="more than 600 seconds")
    with monkeypatch.context() as busy:
        busy.setattr(Pool, "score", lambda *_, **__: slow)
        assert list(scoring.score([tmp_path / "a.png"], settings, tmp_path / "scores").values()) == [slow]
    (answer,) = scoring.score([tmp_path / "a.png"], settings, tmp_path / "scores").values()
    assert answer.outcome is Outcome.HARVESTABLE


def test_two_folders_of_plates_of_one_name_are_not_one_source(plates: Path, tmp_path: Path) -> None:
    other = ["--plates", str(tmp_path / plates.name)]
    done = CliRunner().invoke(commands.evaluate, [str(tmp_path), "--plates", str(plates), *other])
    assert done.exit_code == 1
    assert f"two folders are called {plates.name}" in done.output


def test_no_two_figures_have_one_name() -> None:
    names = tables.slugs(["more: a-b", "more: a b", "蛋白", "結晶", "wells: single ones"])
    assert names["wells: single ones"] == "wells-single-ones"
    assert len(set(names.values())) == 5
    assert all(name.isascii() and name for name in names.values())


@pytest.mark.parametrize("words", [["calibrate", "--weights", "W"], ["second-opinion", "MARCO", "--plates"]])
def test_nothing_is_fitted_to_the_plates_that_judge(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "TE000016").mkdir()
    (tmp_path / "TE000016" / "truth.csv").write_text("image,inspection,drop,outcome\na.jpg,1,A1a,clear\n")
    done = CliRunner().invoke(commands.judge, [*words, str(tmp_path), "--work", str(tmp_path / "work")])
    assert done.exit_code == 1
    assert "TE000016 is a plate that networks are judged on" in done.output


def test_wells_that_could_not_be_ranked_are_counted_beside_the_ranking(tiny_weights: Path, tmp_path: Path) -> None:
    colours = {"a": RED, "b": BLUE, "c": None}
    truths = []
    for name, colour in colours.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(encoded(well(colour)) if colour else b"no picture")
        truths.append(truth.Truth(path, "lab", "real", "P", Group.CLEAR if name == "b" else Group.CRYSTAL))
    answers = scoring.score_wells(truths, scoring.Settings(weights=tiny_weights), tmp_path / "scores")
    made = report.Report(
        schema=1, worker="w", options="", weights={}, sources=[judged.judge(truths, {"0.85": answers})]
    )
    said = "(1 crystal wells, 1 others; 1 that failed have none, and are left out)."
    assert said in report.markdown(made, {}, "evaluate")
