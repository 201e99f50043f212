"""Explanations: the decision that is published, maps that say what the network said, and pictures of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from click.testing import CliRunner, Result  # noqa: E402
from PIL import Image  # noqa: E402
from tests.conftest import FEW_CHOPS, encoded, entry  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from xtalgrid_core.chops import CELLS, STRIDE, Box, dense_window  # noqa: E402
from xtalgrid_core.decision import Calibration, Decision  # noqa: E402
from xtalgrid_core.dense import class_map  # noqa: E402
from xtalgrid_core.drops import DropDetection  # noqa: E402
from xtalgrid_core.errors import ConfigError  # noqa: E402
from xtalgrid_core.images import WellImage, network_input  # noqa: E402
from xtalgrid_core.options import Options  # noqa: E402
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, PRIORITY, SCORED_GROUPS, Group, Outcome, published  # noqa: E402
from xtalgrid_core.pooling import Pooling  # noqa: E402
from xtalgrid_core.scale import PixelSize  # noqa: E402
from xtalgrid_core.weights import find_model  # noqa: E402
from xtalgrid_core.wire import Scored  # noqa: E402
from xtalgrid_nets.explain import words  # noqa: E402
from xtalgrid_nets.explain.maps import _spread, explain  # noqa: E402
from xtalgrid_nets.explain.saliency import answer_of, pooled_log_p, smooth_grad  # noqa: E402
from xtalgrid_nets.explain.well import load  # noqa: E402
from xtalgrid_nets.judge.scoring import Settings  # noqa: E402
from xtalgrid_nets.networks import build  # noqa: E402
from xtalgrid_nets.states import save_trained  # noqa: E402
from xtalgrid_scoring.drop import WellDrop, cut_out  # noqa: E402
from xtalgrid_scoring.networks import Networks  # noqa: E402
from xtalgrid_scoring.score import decision_of, score_image  # noqa: E402
from xtalgrid_scoring.windows import Windows  # noqa: E402
from xtalgrid_synth import render_well  # noqa: E402

OPTIONS = Settings().options
GROUP = msgspec.structs.replace(OPTIONS, rule="group")
CRYSTAL = SCORED_GROUPS.index(Group.CRYSTAL)


class SeesRed(nn.Module):
    """A crystal is what is red: the red channel's mean over each cell is the evidence."""

    def class_map(self, x: torch.Tensor) -> torch.Tensor:
        red = F.avg_pool2d(x[:, :1], 32, 16) / 8
        rest = torch.zeros(len(x), len(CLASSES) - 1, *red.shape[2:])
        rest[:, PRIORITY[Outcome.CLEAR] - 1] = 8.0
        return torch.cat([red, rest], dim=1)


def sees_red() -> Networks:
    def run(pictures: np.ndarray) -> np.ndarray:
        return SeesRed().class_map(torch.from_numpy(network_input(pictures))).numpy()

    return Networks(run, run, Calibration(), FEW_CHOPS, is_dense=True)


def half_red() -> WellDrop:
    view = np.full((512, 768, 3), 90, np.uint8)
    view[:, :256, 0] = 250
    whole = Box(0, 0, 512, 768)
    return WellDrop(512, 768, PixelSize(1.13, "configured"), DropDetection(whole, (), 1.0), whole, view)


@pytest.fixture(scope="module")
def loaded() -> tuple[Networks, nn.Module]:
    """The packaged weights, of which the fp32 variant has gradients."""
    return load(Settings(variant="fp32"))


@pytest.fixture(scope="module")
def rendered() -> dict[str, bytes]:
    """Files of small wells of each kind."""
    kinds = {
        "crystal": Outcome.HARVESTABLE,
        "precipitate": Outcome.PRECIPITATE,
        "other": Outcome.PHASE_SEPARATION,
        "clear": Outcome.CLEAR,
        "empty": Outcome.NULL_EXPERIMENT,
    }
    return {
        name: encoded(render_well(outcome, seed=5, width=420, height=350, pixel_size_um=2.6).image)
        for name, outcome in kinds.items()
    }


def explained_as_scored(
    data: bytes, options: Options, loaded: tuple[Networks, nn.Module], um: float | None, samples: int
) -> Scored:
    """The score of an image, once its explanation was found to say the same to the last digit; no drop, nothing to explain."""
    networks, net = loaded
    score = score_image(data, entry(0, data, um), options, networks)
    well = cut_out(WellImage(data), networks.mask, um)
    if not isinstance(well, WellDrop):
        assert score.outcome is Outcome.NULL_EXPERIMENT
        return score
    found = explain(well, networks, net, options, samples)
    told = found.decision
    assert (published(told.outcome), told.probability, told.groups) == (score.outcome, score.probability, score.groups)
    assert told.p_crystal == score.p_crystal
    boxes = [
        (well.in_image(found.chops[index]), outcome, probability)
        for index, (outcome, probability) in zip(told.best, told.chop_outcomes, strict=True)
    ]
    assert boxes == [(chop.box, chop.outcome, chop.probability) for chop in score.boxes]
    assert (found.saliency.max() > 0) == (samples > 0)
    return score


@pytest.mark.parametrize(
    "by",
    [
        {"rule": "pooled"},
        {"rule": "pooled", "crystal_from": 0.9, "n_boxes": 0},
        {"rule": "group", "threshold": 0.6},
        {"rule": "published"},
        {"rule": "published", "threshold": 1.0},
    ],
    ids=str,
)
def test_what_is_explained_is_what_is_published(
    rendered: dict[str, bytes], loaded: tuple[Networks, nn.Module], by: dict[str, Any]
) -> None:
    options = msgspec.structs.replace(OPTIONS, **by)
    scores = [explained_as_scored(data, options, loaded, 2.6, samples=1) for data in rendered.values()]
    assert scores[-1].outcome is Outcome.NULL_EXPERIMENT
    assert options.threshold < 1 or {score.outcome for score in scores[:-1]} == {Outcome.UNDECIDED}


def test_of_chops_classified_one_by_one_too(rendered: dict[str, bytes], loaded: tuple[Networks, nn.Module]) -> None:
    exact = msgspec.structs.replace(OPTIONS, mode="exact", step=90)
    score = explained_as_scored(rendered["crystal"], exact, loaded, 2.6, samples=1)
    assert score.p_crystal != explained_as_scored(rendered["crystal"], OPTIONS, loaded, 2.6, samples=1).p_crystal


@pytest.mark.slow
def test_what_is_explained_of_real_wells_is_what_is_published(shared: Path, loaded: tuple[Networks, nn.Module]) -> None:
    for path in sorted((shared / "real" / "wells").iterdir())[::4]:
        explained_as_scored(path.read_bytes(), OPTIONS, loaded, None, samples=0)


def test_the_maps_are_means_over_squares_of_cells(
    rendered: dict[str, bytes], loaded: tuple[Networks, nn.Module]
) -> None:
    """By torch's own pooling and interpolation."""
    networks, net = loaded
    well = cut_out(WellImage(rendered["crystal"]), networks.mask, 2.6)
    assert isinstance(well, WellDrop)
    height, width = well.view.shape[:2]
    found = explain(well, networks, net, OPTIONS, samples=0)
    cells = torch.from_numpy(class_map(well.view, networks.class_map, lambda: None))[None]

    def groups(side: int) -> torch.Tensor:
        p = F.softmax(F.avg_pool2d(cells, side, 1), dim=1)
        return torch.stack([p[:, list(GROUP_CLASSES[group])].sum(dim=1) for group in SCORED_GROUPS], dim=1)

    def spread(values: torch.Tensor, side: int) -> np.ndarray:
        size = [(n - 1) * STRIDE + 1 for n in values.shape[2:]]
        inner = F.interpolate(values, size=size, mode="bilinear", align_corners=True)
        whole = F.pad(inner, (STRIDE * (side + 1) // 2,) * 4, mode="replicate")
        return whole[0, :, :height, :width].numpy()

    agreed = F.max_pool2d(F.pad(groups(CELLS), (CELLS - 1,) * 4), CELLS, 1)
    assert np.allclose(found.groups, spread(groups(CELLS), CELLS), atol=1e-4)
    assert np.allclose(found.near, spread(groups(5) * agreed[:, :, 2:-2, 2:-2], 5), atol=1e-4)
    assert found.groups.std() > 0.01, "there is something to see"


def test_a_group_is_shown_where_it_was_seen() -> None:
    found = explain(half_red(), sees_red(), SeesRed(), OPTIONS, samples=2)
    crystal, clear = (found.groups[SCORED_GROUPS.index(g)] for g in (Group.CRYSTAL, Group.CLEAR))
    assert found.groups.shape == (4, 512, 768)
    assert np.allclose(found.groups.sum(axis=0), 1, atol=1e-4)
    assert crystal[:, :130].min() > 0.95
    assert clear[:, 640:].min() > 0.95
    assert found.decision.outcome is Outcome.HARVESTABLE
    best = found.chops[found.decision.best[0]]
    assert best.col <= 64


def test_squares_of_the_class_map_lie_around_their_middles() -> None:
    values = np.arange(6, dtype=np.float32)[None, :, None] + np.zeros((1, 6, 9), np.float32)
    spread = _spread(values, CELLS, 400, 500)
    assert (spread.shape, spread.dtype) == ((1, 400, 500), np.float32)
    assert np.ptp(spread, axis=2).max() < 1e-5
    # 15 cells of 16 pixels, each seeing half a cell further: the middle of the first square is pixel 128, of the next 144.
    assert spread[0, [0, 128, 136, 144, 208, 399], 250] == pytest.approx([0, 0, 0.5, 1, 5, 5], abs=1e-5)


@pytest.mark.parametrize("seeing", [1.0, 7.3, 40.0])
@pytest.mark.parametrize("n", [1, 6, 90])
def test_the_pooling_for_gradients_is_the_one_that_decides(n: int, seeing: float) -> None:
    pooling = find_model(OPTIONS.classifier, "classifier")[0].pooling
    assert pooling is not None
    logits = torch.from_numpy(np.random.default_rng(n).normal(0, 4, (n, 13)))
    decided = pooling(F.softmax(logits, dim=1).numpy(), seeing)
    assert pooled_log_p(pooling, logits, seeing).exp().numpy() == pytest.approx(decided, abs=1e-5)


@pytest.mark.parametrize(
    ("by", "hangs_on"),
    [
        ({"rule": "pooled"}, '"{outcome.group}" in the well'),
        ({"rule": "group", "threshold": 0.3}, '"{outcome.group}" in the best chops'),
        ({"rule": "published", "threshold": 0.3}, '"{outcome}" in the best chops'),
        ({"rule": "pooled", "undecided": (1.0,) * 4}, "in the well"),
        ({"rule": "group", "threshold": 1.0}, "in the chop that shows it most"),
        ({"rule": "published", "threshold": 1.0}, "in the chop that shows it most"),
    ],
    ids=str,
)
def test_smooth_grad_asks_about_the_probability_that_is_published(by: dict[str, Any], hangs_on: str) -> None:
    rng = np.random.default_rng(5)
    chops = tuple(dense_window(500, 600, 48))
    probabilities = rng.dirichlet(np.full(13, 0.3), len(chops)).astype(np.float32)
    windows = Windows(chops, probabilities)
    options = msgspec.structs.replace(OPTIONS, n_boxes=1, support=0.1, **by)
    pooling = Pooling(tuple(map(tuple, rng.normal(0, 0.3, (4, 21)).tolist())), (0.1, 0.0, -0.2, 0.0))
    decision = decision_of(windows, options, Calibration(), pooling)
    assert (decision.outcome is Outcome.UNDECIDED) == (options.threshold == 1 or options.undecided is not None)
    answer = answer_of(decision, windows, options, pooling)
    assert answer.of.endswith(hangs_on.format(outcome=decision.outcome))
    p = float(answer.log_p(torch.from_numpy(probabilities).log()).exp())
    if decision.outcome is Outcome.UNDECIDED and options.rule == "group":
        more = "of a group that several chops must agree on, the first may say more"
        assert decision.probability <= p + 1e-5, more
    else:
        assert p == pytest.approx(decision.probability, abs=1e-5)


def test_smooth_grad_shows_what_the_answer_hangs_on_and_nothing_else() -> None:
    def crystal(logits: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(logits, dim=1)[0, CRYSTAL]

    image = torch.zeros(1, 3, 512, 768)
    found = smooth_grad(SeesRed(), image, [Box(0, 0, 256, 256)], crystal, samples=3)
    assert found.shape == (512, 768)
    assert found[:240, :240].min() > 0.2
    assert found[:, 300:].max() == 0, "no gradient flows from outside of the chop"
    assert found[300:].max() == 0
    on_no_cell = smooth_grad(SeesRed(), image, [Box(150, 50, 256, 256)], crystal, samples=1)
    rows, cols = (np.flatnonzero(on_no_cell.any(axis=axis)) for axis in (1, 0))
    assert (rows[0], cols[0]) == (144, 48), "the nearest cells"


def test_smooth_grad_looks_at_chops_of_twice_the_size() -> None:
    def crystal(logits: torch.Tensor) -> torch.Tensor:
        assert logits.shape == (2, 13)
        return F.log_softmax(logits, dim=1)[1, CRYSTAL]

    found = smooth_grad(
        SeesRed(), torch.zeros(1, 3, 768, 1024), [Box(0, 0, 256, 256), Box(0, 32, 512, 512)], crystal, samples=3
    )
    assert found.shape == (768, 1024)
    assert found[:480, 64:512].min() > 0.05
    assert found[:, 580:].max() == 0
    assert found[550:].max() == 0


def test_by_the_rule_pooled_the_answer_hangs_on_the_whole_well() -> None:
    pooling = find_model(OPTIONS.classifier, "classifier")[0].pooling
    networks = sees_red()
    networks.pooling = pooling
    whole = explain(half_red(), networks, SeesRed(), OPTIONS, samples=1)
    best = explain(half_red(), networks, SeesRed(), msgspec.structs.replace(GROUP, n_boxes=1), samples=1)
    assert (whole.saliency > 0).mean() > 0.9 > 0.5 > (best.saliency > 0).mean()


def test_words_say_what_is_published_and_by_which_number() -> None:
    groups = (0.1999, 0.05, 0.0001, 0.75)
    decision = Decision(Outcome.RIM, 0.99999, groups, groups, (), (), ())
    assert words.outcome(decision) == "clear 0.99"
    assert words.groups(decision) == "p_crystal 0.19, precipitate 0.05, other 0.00, clear 0.75"
    assert words.rule(OPTIONS) == "rule pooled: crystals if p_crystal is at least 0.2"
    assert words.rule(GROUP) == "rule group: a chop counts if its probability is at least 0.85"
    assert [words.number(p) for p in (0.29, 0.57, 1.0, 1 - 1e-7)] == ["0.29", "0.57", "1.00", "0.99"]


def test_a_trained_state_is_pooled_as_the_weights_own_classifier(
    loaded: tuple[Networks, nn.Module], tmp_path: Path
) -> None:
    networks, net = loaded
    save_trained(tmp_path / "state.pt", net, "squeezenet1.1", {})
    started, _ = load(Settings(variant="fp32"), tmp_path / "state.pt")
    assert started.pooling is not None
    assert started.pooling == networks.pooling
    assert started.calibration == networks.calibration
    image = np.random.default_rng(1).integers(0, 255, (1, 288, 256, 3), np.uint8)
    assert np.allclose(started.class_map(image), networks.class_map(image), atol=1e-2)


@pytest.mark.parametrize(("name", "classes"), [("resnet32-merck", 13), ("squeezenet1.1", 5)])
def test_a_network_without_a_map_of_the_outcomes_is_refused(name: str, classes: int, tmp_path: Path) -> None:
    named = [*map(str, CLASSES)] if classes == len(CLASSES) else [str(n) for n in range(classes)]
    save_trained(tmp_path / "state.pt", build(name, classes), name, {}, named)
    with pytest.raises(ConfigError, match=f"{name} has no class map .* give a dense classifier"):
        load(Settings(), tmp_path / "state.pt")


def command(*words: object) -> Result:
    from xtalgrid_nets.cli import main

    return CliRunner().invoke(main, ["explain", *map(str, words), "--samples", "1"])


def test_the_command_draws_two_pictures_of_a_well(
    rendered: dict[str, bytes], loaded: tuple[Networks, nn.Module], tmp_path: Path
) -> None:
    (tmp_path / "w$1$.png").write_bytes(rendered["crystal"])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(rendered["empty"])
    images = [tmp_path / name for name in ("w$1$.png", "text.png", "empty.png")]
    done = command(*images, "--out", tmp_path / "out", "--pixel-size", 2.6, "--rule", "group", "--threshold", 0.7)
    assert done.exit_code == 1
    assert "text.png: not an image" in done.output
    assert "rule group: a chop counts if its probability is at least 0.7" in done.output
    empty = score_image(rendered["empty"], entry(0, rendered["empty"], 2.6), GROUP, loaded[0])
    said = f"null experiment {words.number(empty.probability)}; p_crystal {words.number(empty.p_crystal)}"
    assert f"empty.png: {said}" in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["w$1$-groups.png", "w$1$-smoothgrad.png"]
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as picture:
            assert picture.width > 1000
            assert np.asarray(picture.convert("RGB")).std() > 20, "not an empty page"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (["--step", 50], "dense scoring takes multiples of 16"),
        (["--threshold", math.nan], "not a finite number"),
        (["--pixel-size", 900], "'--pixel-size': 900.0 is not in the range"),
        (["--weights", "nowhere"], "nowhere/manifest.json: cannot read the list of weights"),
        (["--start", "nothing.pt"], "nothing.pt: no such file; give --start"),
        (["--pixel-size", 40], "failed  {image}: image too large"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(rendered: dict[str, bytes], tmp_path: Path, bad: list[object], said: str) -> None:
    image = tmp_path / "w.png"
    image.write_bytes(rendered["clear"])
    done = command(image, "--out", tmp_path / "out", *bad)
    assert done.exit_code in (1, 2)
    assert said.format(image=image) in done.output.splitlines()[-1]
