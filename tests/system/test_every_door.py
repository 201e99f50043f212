"""Whoever scores an image, by whichever door, gets the same answer to the last digit.

The front door's answer is what the others are held to: the worker's two commands, the local grid and its ledger, ``explain --recompute``,
the judge behind ``xtalgrid-train evaluate``, and the viewer. Production's options are asked of the weights that come with xtalgrid, all
others of the small test networks, which take a tenth of the time.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import io
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw
from starlette.testclient import TestClient

import xtalgrid
from xtalgrid_core import wire
from xtalgrid_core.frames import percent
from xtalgrid_core.outcomes import CLASSES, Group, Outcome
from xtalgrid_nets.judge import scoring as judge
from xtalgrid_scoring.pool import Pool
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.reports.explain import explain
from xtalgrid_server.steps.run import FolderRun, run_folder
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app
from xtalgrid_synth import render_well
from xtalgrid_worker.cli import main as worker

PLATE = "PLATE7"

WELLS = {
    "01.jpg": (Outcome.HARVESTABLE, 52),
    "02.png": (Outcome.BAD_FORM, 52),
    "03.tif": (Outcome.OVERNUCLEATED, 20),
    "04.jpg": (Outcome.PRECIPITATE, 20),
    "05.png": (Outcome.PRECIPITATE_GOOD, 20),
    "06.jpg": (Outcome.NULL_EXPERIMENT, 1),
    "07.tif": (Outcome.OTHER, 20),
    "08.png": (Outcome.SPHERULITES, 20),
    "09.jpg": (Outcome.PHASE_SEPARATION, 20),
    "10.png": (Outcome.CLEAR, 20),
    "11.jpg": (Outcome.CLEAR_WITH_FEATURES, 20),
}
"""Files of the wells. TIFF files are grey of 16 bits.

The seeds make small drops, which are scored sooner. Dyed, 01.jpg and 09.jpg lie between thresholds of `OPTIONS`
and the defaults.
"""

BROKEN = "12.png"

DYES = {
    Group.CRYSTAL: (120, 106, 95),
    Group.PRECIPITATE: (112, 112, 95),
    Group.OTHER: (115, 110, 97),
    Group.CLEAR: (112, 106, 99),
}
"""Red, green and blue of a drop: dark enough for the small segmenter, and so near to grey that the small classifier, which goes by colour,
is never sure."""

OPTIONS: dict[str, dict[str, Any]] = {
    "pooled": {},
    "pooled, exact": {"mode": "exact", "step": 50, "crystal_from": 0.04, "undecided": 0.3, "zoom": 1.0},
    "group": {"rule": "group", "threshold": 0.6, "support": 0.1},
    "group, exact": {"rule": "group", "mode": "exact", "step": 100, "n_boxes": 1},
    "published": {"rule": "published", "step": 80, "n_boxes": 2, "threshold": 0.5},
    "published, exact": {"rule": "published", "mode": "exact", "step": 50, "threshold": 0.3},
}
"""All options, each but once off its default at least."""

PACKAGED = "production"
COMBINED = "combined with a second opinion"
CASES = (PACKAGED, *OPTIONS, COMBINED)

Answer = dict[str, Any]
Answers = dict[str, Answer]
"""Of each file everything that a door says, but for how long it took."""


@dataclass(frozen=True)
class Case:
    """Options and weights, and what the front door says of each file with them."""

    given: dict[str, Any]
    weights: Path | None
    options: xtalgrid.Options
    folder: Path
    scores: dict[str, xtalgrid.Score]
    expected: Answers
    second_opinion: Path | None = None

    @property
    def weights_words(self) -> list[str]:
        return ["--weights", str(self.weights)] if self.weights else []


@dataclass(frozen=True)
class Lab:
    """A lab whose images went through every stage of production."""

    case: Case
    config: Config
    system: System
    account: FolderRun


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """``images(is_dyed)``: a folder of the wells as they are, or as the small networks can tell them apart."""

    @cache
    def rendered(is_dyed: bool) -> Path:
        folder = tmp_path_factory.mktemp("wells") / PLATE
        folder.mkdir()
        for name, (outcome, seed) in WELLS.items():
            well = render_well(outcome, seed=seed, width=640, height=480, pixel_size_um=4.5)
            pixels = well.image
            if is_dyed:
                drop = DYES[outcome.group] + (pixels - np.median(pixels)) / 4
                pixels = np.where(well.drop_mask[:, :, None], drop, np.maximum(pixels, 200)).astype(np.uint8)
            if name.endswith(".tif"):
                pixels = np.asarray(Image.fromarray(pixels).convert("L")).astype(np.uint16) * 257
            Image.fromarray(pixels).save(folder / name)
        head, data, rest = (folder / "02.png").read_bytes().partition(b"IDAT")
        (folder / BROKEN).write_bytes(head + data + b"no zlib stream" + rest[14:])  # only who decodes it finds out
        return folder

    return rendered


@pytest.fixture(scope="module")
def weights_and_second_opinion(
    tiny_weights: Path, tiny_second_opinion: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The small networks with the small second opinion, which takes part only where the options name it."""
    folder = shutil.copytree(tiny_weights, tmp_path_factory.mktemp("both") / "weights")
    shutil.copytree(tiny_second_opinion, folder / "second-opinion")
    return folder


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, images: Callable[[bool], Path]) -> Case:
    weights = None if request.param == PACKAGED else request.getfixturevalue("weights_and_second_opinion")
    folder = images(weights is not None)
    given = OPTIONS.get(request.param, {})
    second = weights / "second-opinion" if weights and request.param == COMBINED else None
    scorer = xtalgrid.Scorer(weights, second_opinion=second, **given)
    scores, expected = {}, {}
    for path in sorted(folder.iterdir()):
        try:
            scores[path.name] = score = scorer.score(path)
        except xtalgrid.ImageError as error:
            expected[path.name] = {"failed": error.reason}
        else:
            expected[path.name] = of_front_door(score)
    return Case(given, weights, scorer.options, folder, scores, expected, second)


@pytest.fixture(scope="module")
def lab(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab")
    if case.weights:
        shutil.copytree(case.weights, home / "weights")
    work = {"segmenter": case.options.segmenter, "classifier": case.options.classifier, **case.given}
    if case.options.second_opinion:
        work["second_opinion"] = case.options.second_opinion
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in work.items()]
    config = from_string("\n".join(["[grid]", "workers = 1", "[work]", *lines]), home=home)
    with System(config) as system:
        yield Lab(case, config, system, run_folder(system, case.folder, names="any", frames="none"))


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1) as warm:
        yield warm


@pytest.fixture
def share(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``share(module)``: it takes the pool that is warm already, since to start one takes longer than the wells do."""
    return lambda module: monkeypatch.setattr(f"{module}.Pool", lambda *how, **limits: contextlib.nullcontext(pool))


def of_front_door(score: xtalgrid.Score) -> Answer:
    """A score as the front door shows it, in the wire format's words."""
    second, model = score.second_opinion, score._scorer.options.second_opinion or ""
    return answer_of(
        wire.Scored(
            number=0,
            outcome=score.outcome,
            score=score.number,
            probability=score.probability,
            p_crystal=score.p_crystal,
            groups=tuple(score.probabilities.values()),
            own_groups=tuple(score.own_probabilities.values()) if second else None,
            second_opinion=wire.SecondOpinion(model=model, groups=tuple(second.values())) if second else None,
            probabilities=tuple(score.class_maxima.values()),
            height=score.shape[0],
            width=score.shape[1],
            pixel_size_um=score.pixel_size_um,
            pixel_size_origin=score.pixel_size_origin,
            drop=wire.Drop(box=score.drop.box, outline=score.drop.outline, confidence=score.drop.confidence),
            boxes=tuple(wire.BestChop(box=c.box, outcome=c.outcome, probability=c.probability) for c in score.boxes),
            seconds=0,
        )
    )


def answer_of(answer: wire.Answer) -> Answer:
    if isinstance(answer, wire.Failed):
        return {"failed": answer.reason}
    return msgspec.to_builtins(msgspec.structs.replace(answer, number=0, seconds=0.0))


def answers_of(case: Case, result: Path) -> Answers:
    """What a worker's result says of the files, which it numbers by their names."""
    told = wire.decode_result(result.read_bytes()).images
    return dict(zip(case.expected, map(answer_of, told), strict=True))


def run(*words: object) -> None:
    done = CliRunner().invoke(worker, list(map(str, words)))
    assert done.exit_code == 0, done.output


def test_the_images_are_of_all_kinds(case: Case) -> None:
    told = [answer.get("outcome") for answer in case.expected.values()]
    assert case.expected[BROKEN] == {"failed": "truncated image"}
    assert len(told) == 12 and told.count(None) == 1
    assert "null experiment" in told
    assert len(set(told)) >= (8 if case.weights is None else 4), told


def test_the_second_opinion_counts(case: Case) -> None:
    for name, score in case.scores.items():
        alone = xtalgrid.Scorer(case.weights, **case.given).score(case.folder / name)
        assert (score.second_opinion is None) == (case.second_opinion is None)
        assert score.own_probabilities == alone.probabilities
        is_empty = score.outcome == "null experiment"
        assert (score.probabilities == alone.probabilities) == (case.second_opinion is None or is_empty)


def test_every_option_of_a_case_counts(case: Case) -> None:
    for name in case.given:
        rest = {
            key: value for key, value in case.given.items() if key not in (name, "step" if name == "mode" else name)
        }
        scorer = xtalgrid.Scorer(case.weights, **rest)
        assert any(of_front_door(scorer.score(case.folder / file)) != case.expected[file] for file in case.scores), name


def test_by_the_workers_score(case: Case, tmp_path: Path) -> None:
    words = {"n_boxes": "boxes", "crystal_from": "crystal-from"}
    given = [f"--{words.get(key, key)}={value}" for key, value in case.given.items() if key != "mode"]
    exact = ["--exact"] if case.options.mode == "exact" else []
    second = ["--second-opinion", case.second_opinion] if case.second_opinion else []
    run("score", case.folder, "--out", tmp_path, *given, *exact, *second, *case.weights_words)
    assert answers_of(case, tmp_path / "result.json") == case.expected


def test_by_the_workers_run(case: Case, tmp_path: Path) -> None:
    files = {f"{number:03d}.img": case.folder / name for number, name in enumerate(case.expected)}
    entries = tuple(
        wire.ImageEntry(number=n, file=file, inspect_id=n, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for n, (file, path) in enumerate(files.items())
    )
    manifest = wire.Manifest(schema=1, unit="doors", min_worker="0.1.0", options=case.options, images=entries)
    with zipfile.ZipFile(tmp_path / "unit.zip", "w") as unit:
        unit.writestr(wire.MANIFEST_NAME, wire.encode(manifest))
        for file, path in files.items():
            unit.write(path, file)
    run("run", tmp_path / "unit.zip", tmp_path / "result.json", "--keep-priority", *case.weights_words)
    assert answers_of(case, tmp_path / "result.json") == case.expected


def test_by_the_local_grid(lab: Lab) -> None:
    scores = lab.system.ledger.scores.by_id([image.score_id for image in lab.account.scored])
    told = {score.image_name: answer_of(score.answer) for score in scores}
    (waiting,) = lab.account.account.waiting_files  # its file may still be completed
    assert Path(waiting.file).name == BROKEN
    assert told | {BROKEN: {"failed": "truncated image"}} == lab.case.expected


def test_by_explain_recompute(lab: Lab, share: Callable[[str], None]) -> None:
    share("xtalgrid_server.reports.recompute")
    told = {}
    for score in lab.account.scored:
        story = explain(lab.config, lab.system.imager, lab.system.ledger, score.barcode, str(score.well), again=True)
        made_again = story.images[0].scores[0].recomputed
        assert made_again is not None and made_again.answer is not None and made_again.verdict == "same"
        told[score.image_name] = answer_of(made_again.answer)
    assert told | {BROKEN: {"failed": "truncated image"}} == lab.case.expected


def test_by_evaluate(case: Case, share: Callable[[str], None], tmp_path: Path) -> None:
    share("xtalgrid_nets.judge.scoring")
    given = {name: value for name, value in case.given.items() if name != "mode"}
    settings = judge.Settings(
        weights=case.weights, exact=case.options.mode == "exact", second_opinion=case.second_opinion, **given
    )
    assert settings.options == case.options
    told = judge.score([case.folder / name for name in case.expected], settings, tmp_path, show=False)
    assert {path.name: answer_of(answer) for path, answer in told.items()} == case.expected


def test_by_the_viewer(lab: Lab) -> None:
    expected = lab.case.expected
    with TestClient(create_app(lab.config), client=("127.0.0.1", 50000), base_url="http://localhost") as client:
        drops = {drop["well"]: drop for drop in client.get(f"/api/plates/{PLATE}/1").json()["drops"]}
        wells = dict(zip(sorted(drops, key=lambda name: int(name[1:-1])), expected, strict=True))
        for well, name in wells.items():
            drop, answer, page = drops[well], expected[name], client.get(f"/well/{PLATE}/1/{well}").text
            if "failed" in answer:  # its file may still be completed
                assert drop["outcome"] is None and "verdict o-waiting" in page
                continue
            for key in ("outcome", "probability", "p_crystal"):
                assert drop[key] == answer[key]
            assert (drop["score"] or "") == (f"{answer['score']:02d}" if answer["score"] is not None else "")
            assert shown(page) == seen(answer)


PERCENT = r"((?:&[lg]t; )?\d+ %)"


def shown(page: str) -> dict[str, object]:
    """The numbers of a well's page."""
    text = " ".join(re.sub(r"<[^>]*>", " ", page.partition("<details")[0] + page.partition("<details")[2]).split())
    outline = re.search(r'class="over" points="([^"]*)"', page)
    return {
        "box": re.findall(r'<rect class="line" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"/>', page),
        "chops": re.findall(rf'aria-label="Chop \d+: (.+?) {PERCENT}"', page),
        "outline": outline.group(1).split() if outline else [],
        "figures": re.search(rf"(?:probability|best guess) {PERCENT} p crystal {PERCENT} score", text).groups(),
        "maxima": re.findall(rf'<td class="number">{PERCENT}</td></tr>', page.partition('id="maxima"')[2])[
            : len(CLASSES)
        ],
        "size": re.search(r"Size (\d+ × \d+), (\S+) µm per pixel \((.+?)\)", text).groups(),
        "drop": re.search(rf"Drop found (yes|no), confidence {PERCENT}", text).groups(),
    }


def is_mostly_inside(box: Sequence[int], outline: Sequence[Sequence[int]]) -> bool:
    """Whether the viewer shows a chop: half of it, or of a smaller drop, lies in the outline, by Pillow's polygon."""
    if len(outline) < 3:
        return True
    inside = Image.new("1", (4000, 4000))
    ImageDraw.Draw(inside).polygon([(col, row) for row, col in outline], fill=1)
    drop, (row, col, height, width) = np.asarray(inside), box
    return bool(drop[row : row + height, col : col + width].sum() >= 0.5 * min(height * width, drop.sum()))


def seen(answer: Answer) -> dict[str, object]:
    """The same numbers as the front door has them."""

    def said(probability: float) -> str:
        return html.escape(percent(probability))

    drop = answer["drop"]
    boxes = [chop for chop in answer["boxes"] if is_mostly_inside(chop["box"], drop["outline"])]
    return {
        "box": [(f"{c}", f"{r}", f"{w}", f"{h}") for r, c, h, w in (chop["box"] for chop in reversed(boxes))],
        "chops": [(chop["outcome"], said(chop["probability"])) for chop in boxes],
        "outline": [f"{col},{row}" for row, col in drop["outline"]],
        "figures": (said(answer["probability"]), said(answer["p_crystal"])),
        "maxima": [said(p) for p in answer["probabilities"]],
        "size": (
            f"{answer['width']} × {answer['height']}",
            f"{answer['pixel_size_um']:.3g}",
            answer["pixel_size_origin"],
        ),
        "drop": ("yes" if drop["box"] else "no", said(drop["confidence"])),
    }


@pytest.mark.parametrize("case", [PACKAGED, "pooled", COMBINED], indirect=True)
def test_class_maps_of_front_door_worker_and_viewer(case: Case, lab: Lab, tmp_path: Path) -> None:
    name = "01.jpg"
    run("classmap", case.folder / name, "--out", tmp_path, *case.weights_words)
    number = next(score.score_id for score in lab.account.scored if score.image_name == name)
    with TestClient(create_app(lab.config), client=("127.0.0.1", 50000), base_url="http://localhost") as client:
        for group in ("crystal", "precipitate", "other", "clear"):
            served = client.get(f"/map/{group}/{number}.png").content
            assert served == (tmp_path / f"{group}.png").read_bytes()
            opacity = np.asarray(Image.open(io.BytesIO(served)).getchannel("A"))
            certain = 0.45 * 255
            assert np.abs(case.scores[name].class_map(group) * certain - opacity).max() <= 1
