"""Training runs in small: they learn, leave a whole record, and go on after an interruption as if there had been none."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_core.errors import Busy, ConfigError  # noqa: E402
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, PRIORITY, Group, Outcome  # noqa: E402
from xtalgrid_nets.cli import main  # noqa: E402
from xtalgrid_nets.fit import losses, train  # noqa: E402
from xtalgrid_nets.fit.balance import GROUP_SHARES, class_shares, draw_weights, patch_draw  # noqa: E402
from xtalgrid_nets.fit.batches import ChopBatches, stream  # noqa: E402
from xtalgrid_nets.fit.recipe import Recipe, mix, packaged, read_recipe  # noqa: E402
from xtalgrid_nets.networks import NETWORKS  # noqa: E402
from xtalgrid_nets.networks.squeezenet import SqueezeNet  # noqa: E402
from xtalgrid_nets.sets.format import held_out  # noqa: E402
from xtalgrid_nets.sets.reading import ChopSet  # noqa: E402
from xtalgrid_nets.sets.writing import ChopSetWriter  # noqa: E402
from xtalgrid_nets.states import SEGMENTERS, load_trained, save_trained  # noqa: E402

X, CLEAR = PRIORITY[Outcome.HARVESTABLE], PRIORITY[Outcome.CLEAR]

SMALL = Recipe(
    network="squeezenet1.1", batch=4, context=0.8, steps=4, rate=2e-3, warmup=0.2, clip=5.0, frozen=8, ema=0.9, turns="quarter",
    colours="lab", coarser=1.0, checkpoint_every=100, validate_every=2, validate_on=8,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bright_crystals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set in which crystals are bright and clear drops dark: 12 wells to train on and 4 held out."""
    rng = np.random.default_rng(0)
    plates = [f"plate {i}" for i in range(200)]
    chosen = [p for p in plates if not held_out(p)][:12] + [p for p in plates if held_out(p)][:4]
    folder = tmp_path_factory.mktemp("sets") / "set"
    with ChopSetWriter(folder, "test", {}) as writer:
        for i, plate in enumerate(chosen):
            label = (X, CLEAR)[i % 2]
            level = 220 if label == X else 40
            windows = np.full((1, 5, 5), CLEAR, np.uint8)
            patch = rng.integers(30, 50, (1, 448, 448, 3), dtype=np.uint8)
            if label == X:
                windows[0, :, :2], windows[0, :, 2:4] = X, 255
                patch[:, :, :250] = 220
            writer.add(
                plate=plate, source="test", image=f"{i}.png", outcome=CLASSES[label],
                chops=(rng.integers(level - 10, level + 10, (3, 256, 256, 3), dtype=np.uint8), np.full(3, label, np.uint8)),
                patches=(patch, windows),
            )  # fmt: skip
    return folder


def curves(run: Path) -> list[dict[str, str]]:
    with (run / "curves.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_command_trains_and_leaves_a_whole_record(bright_crystals: Path, tmp_path: Path) -> None:
    settings = [
        "batch=4",
        "steps=6",
        "rate=3e-3",
        "validate_every=3",
        "validate_on=8",
        "coarser=1.0",
        "ema=0.5",
        "frozen=0",
    ]
    result = CliRunner().invoke(
        main,
        ["--threads", "1", "fit", "classifier", "--data", str(bright_crystals), "--out", str(tmp_path / "run"), "--loaders", "0"]
        + [part for setting in settings for part in ("--set", setting)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    run = tmp_path / "run"
    record = json.loads((run / "record.json").read_text(encoding="utf-8"))
    dataset = json.loads((bright_crystals / "dataset.json").read_text(encoding="utf-8"))
    assert record["data"][str(bright_crystals)]["chops.npy"] == dataset["arrays"]["chops.npy"]["sha256"]
    assert (record["finished"], record["step"]) == (True, 6)
    assert record["held_out"].keys() >= {"accuracy", "groups", "crystals", "auc", "window_groups", "window_auc"}
    assert read_recipe(str(run / "recipe.toml")).steps == 6
    first, last = (float(row["loss"]) for row in curves(run))
    assert last < first
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert load_trained(run / "state.pt")[1]["step"] == 6


def test_a_resumed_run_ends_as_the_uninterrupted_one(bright_crystals: Path, tmp_path: Path) -> None:
    train.fit(SMALL, [bright_crystals], tmp_path / "whole", loaders=0)
    stop_at_step(3, SMALL, bright_crystals, tmp_path / "parts")
    assert train.fit(SMALL, [bright_crystals], tmp_path / "parts", resume=True, loaders=0)
    for name, value in load_trained(tmp_path / "whole" / "state.pt")[0].state_dict().items():
        assert torch.equal(value, load_trained(tmp_path / "parts" / "state.pt")[0].state_dict()[name]), name
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in curves(tmp_path / "whole")]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in curves(tmp_path / "parts")] == strip


def stop_at_step(step: int, recipe: Recipe, data: Path, out: Path) -> None:
    """Run as the command does, and get SIGTERM in the middle."""
    update, calls = train._Trainer.update, [0]

    def and_stop(self: train._Trainer, *arguments: object) -> object:
        calls[0] += 1
        if calls[0] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train._Trainer, "update", and_stop)
        assert not train.fit(recipe, [data], out, loaders=0)


def test_a_run_out_of_time_has_annealed_its_rate(
    bright_crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(train.time, "monotonic", lambda: 2.0 * next(ticks))  # a slow computer: two looks a step
    recipe = msgspec.structs.replace(SMALL, steps=100_000, context=0.0, batch=1)
    assert train.fit(recipe, [bright_crystals], tmp_path / "run", minutes=1, loaders=0)
    last = curves(tmp_path / "run")[-1]
    assert 10 < int(last["step"]) < 16
    assert float(last["rate"]) < 0.05 * recipe.rate


def test_minutes_of_cpu_time_pass_only_while_the_process_works(
    bright_crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(train.time, "monotonic", lambda: 1e6 * next(ticks))  # a machine that is busy with other things
    monkeypatch.setattr(train.time, "process_time", lambda: 2.0 * next(ticks))
    recipe = msgspec.structs.replace(SMALL, steps=100_000, context=0.0, batch=1)
    assert train.fit(recipe, [bright_crystals], tmp_path / "run", minutes=1, cpu_time=True, loaders=0)
    assert 10 < int(curves(tmp_path / "run")[-1]["step"]) < 16
    assert json.loads((tmp_path / "run" / "record.json").read_text(encoding="utf-8"))["clock"] == "cpu"


def test_batches_show_the_train_plates_and_do_not_depend_on_who_makes_them(bright_crystals: Path) -> None:
    sets = ChopSet([bright_crystals])
    batches = ChopBatches(SMALL, sets)
    assert batches.rows == 36  # 12 of the 16 plates
    once, again, other = batches[5], ChopBatches(SMALL, sets)[5], batches[6]
    assert all(torch.equal(once[key], again[key]) for key in once)
    assert not torch.equal(once["chops"], other["chops"])
    assert once["patches"].shape == (1, 3, 448, 448)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_loader_makes_the_same_batches_ahead(bright_crystals: Path) -> None:
    batches = ChopBatches(SMALL, ChopSet([bright_crystals]))
    torch.manual_seed(0)
    for ahead, now in zip(stream(batches, 3, 6, 1, False), stream(batches, 3, 6, 0, False), strict=True):
        assert all(torch.equal(ahead[key], now[key]) for key in now)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))  # the training's own random numbers are not touched


def test_a_turned_patch_keeps_its_labels_where_they_were(bright_crystals: Path) -> None:
    recipe = msgspec.structs.replace(SMALL, colours="none")
    batches = ChopBatches(recipe, ChopSet([bright_crystals]))
    seen = set()
    for step in range(40):
        batch = batches[step]
        for patch, windows in zip(batch["patches"].float().mean(dim=1), batch["windows"], strict=True):
            if (windows == X).any():
                inside = patch.unfold(0, 256, 48).unfold(1, 256, 48).mean(dim=(2, 3))
                assert inside[windows == X].min() > inside[windows == CLEAR].max()
                assert (windows == -1).sum() == 10
                seen.add(tuple(windows.flatten().tolist()))
    assert len(seen) == 4  # the crystal on each of the four sides


def test_a_window_of_a_patch_is_seen_as_dense_scoring_sees_it() -> None:
    """Means of 15×15 cells every 3 cells; unlabelled windows don't count, and weights do."""
    class_map = torch.randn(2, 13, 27, 27, generator=torch.Generator().manual_seed(0))
    logits = losses.window_logits(class_map)
    assert torch.allclose(logits[1, :, 2, 4], class_map[1, :, 6:21, 12:27].mean(dim=(1, 2)), atol=1e-6)
    labels = torch.full((2, 5, 5), -1)
    labels[1, 2, 4] = X
    weights = torch.ones(13)
    weights[X] = 3
    alone = losses.chop_loss(logits[1, :, 2, 4][None], torch.tensor([X]))
    assert losses.window_loss(class_map, labels, weights) == pytest.approx(3 * float(alone), rel=1e-5)
    assert losses.window_loss(class_map, torch.full((2, 5, 5), -1), weights) == 0


@pytest.mark.parametrize("kind", ["groups", "cross-entropy"])
def test_where_only_the_group_is_known_the_class_costs_nothing(kind: str) -> None:
    logits = torch.zeros(1, len(CLASSES))
    logits[0, PRIORITY[Outcome.BAD_FORM]] = 12
    right, group = torch.tensor([X]), torch.tensor([False])
    assert losses.chop_loss(logits, right, kind, group) < 1e-3 < losses.chop_loss(logits, right, kind, ~group)
    assert losses.chop_loss(logits, torch.tensor([CLEAR]), kind, group) > 5
    maps = logits[:, :, None, None].expand(1, 13, 27, 27)
    windows = torch.full((1, 5, 5), X)
    assert losses.window_loss(maps, windows, torch.ones(13), kind, group) < 1e-3


def test_groups_are_what_the_loss_is_about() -> None:
    """Probability on another class of the same group costs less than on another group; plain cross-entropy knows no groups."""
    right = torch.tensor([X])
    kin, stranger = torch.zeros(1, len(CLASSES)), torch.zeros(1, len(CLASSES))
    kin[0, PRIORITY[Outcome.BAD_FORM]] = 8
    stranger[0, CLEAR] = 8
    assert losses.chop_loss(kin, right) < 0.6 * losses.chop_loss(stranger, right)
    assert losses.chop_loss(kin, right, "cross-entropy") == losses.chop_loss(stranger, right, "cross-entropy")


def test_the_papers_five_classes() -> None:
    of = losses.class_of_label(5)
    assert [losses.FIVE[of[PRIORITY[o]]] for o in (Outcome.OVERNUCLEATED, Outcome.PRECIPITATE_GOOD, Outcome.NULL_EXPERIMENT)] == [
        "crystal", "precipitate", "other",
    ]  # fmt: skip
    assert losses.FIVE[of[PRIORITY[Outcome.RIM]]] == "rim"
    assert losses.group_of_class(5).tolist() == [0, 1, 2, 3, 3]
    assert losses.group_of_class(13)[list(GROUP_CLASSES[Group.OTHER])].tolist() == [2, 2, 2, 2]


def test_five_classes_train_and_say_so(bright_crystals: Path, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(SMALL, classes=5, steps=1, context=0.0, loss="cross-entropy", balance="merck")
    assert train.fit(recipe, [bright_crystals], tmp_path / "run", loaders=0)
    assert torch.load(tmp_path / "run" / "state.pt")["classes"] == list(losses.FIVE)
    net, _ = load_trained(tmp_path / "run" / "state.pt")
    assert net(torch.zeros(1, 3, 256, 256)).shape == (1, 5)


@pytest.mark.parametrize("balance", ["groups", "merck", "none"])
def test_a_batch_shows_the_classes_in_their_shares(balance: str) -> None:
    labels = np.repeat([0, 1, 3, 6, 10, 12], [4, 36, 60, 100, 700, 100])
    drawn = np.bincount(labels, weights=draw_weights(labels, 13, balance), minlength=13)
    assert drawn.sum() == pytest.approx(1)
    if balance == "groups":
        assert drawn[:3].sum() == pytest.approx(GROUP_SHARES[Group.CRYSTAL])
        assert drawn[1] == pytest.approx(3 * drawn[0])  # nine times as many
    elif balance == "merck":
        assert drawn[[0, 1, 3, 6, 10, 12]] == pytest.approx(np.full(6, 1 / 6))
    else:
        assert drawn[10] == pytest.approx(0.7)


def test_windows_without_a_crystal_do_not_drown_those_with_one() -> None:
    windows = np.full((100, 5, 5), CLEAR)
    windows[:20, 0, 0] = X
    windows[99] = -1
    draw, weights = patch_draw(windows, 13, "groups")
    seen = draw @ np.stack([(windows == c).sum(axis=(1, 2)) for c in range(13)], axis=1)
    seen /= seen.sum()
    assert draw[99] == 0
    assert draw[:20].sum() == pytest.approx(class_shares(np.bincount([X, CLEAR], minlength=13), "groups")[X])
    assert seen @ weights == pytest.approx(1)
    assert weights[X] > 3 * weights[CLEAR]


def test_mean_weights_lag_behind_and_come_in_and_out() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    ema = train.Ema(net, 0.99)
    for _ in range(40):
        torch.nn.init.ones_(net.weight)
        ema.update(net)
    with ema.in_place(net):
        assert 0.95 < net.weight.item() < 1  # the first, random weights are forgotten: 1 − 0.99⁴⁰ would be 0.33
    assert net.weight.item() == 1


@pytest.mark.parametrize("name", packaged())
def test_packaged_recipes_are_sound_and_say_where_they_are_from(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.network in {*NETWORKS, *SEGMENTERS}
    rates = [recipe.rate * recipe.rate_at(p) for p in np.linspace(0, 0.9999, 200)]
    assert min(rates) > 0
    assert rates[-1] == min(rates)
    parts = mix(recipe)
    assert parts.chops + 3.0625 * parts.patches == pytest.approx(recipe.batch, abs=1.6)
    text = (Path(train.__file__).parent / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    assert text.startswith("# ")


def test_the_published_schedules() -> None:
    published, merck = read_recipe("published"), read_recipe("merck")
    assert [f"{published.rate * published.rate_at(p):.0e}" for p in (0, 0.26, 0.51, 0.76)] == [
        "1e-02",
        "1e-03",
        "1e-04",
        "1e-05",
    ]
    assert [merck.rate_at(epoch / 70) for epoch in (19, 20, 40, 60)] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert read_recipe("marco").rate_at(100.5 / 260) == pytest.approx(0.94**50)
    assert published.length(rows=1280) == 2000


def refused(tmp_path: Path, data: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        main, ["--threads", "1", "fit", *arguments, "--data", str(data), "--out", str(tmp_path / "out"), "--loaders", "0"]
    )  # fmt: skip
    assert result.exit_code == 1, result.output
    assert result.output.count("\n") == 1  # one line, no traceback
    return result.output


def test_what_does_not_fit_is_refused_in_one_line(bright_crystals: Path, tmp_path: Path) -> None:
    assert "unknown field `rat`" in refused(tmp_path, bright_crystals, "classifier", "--set", "rat=1")
    for change in ("rate=inf", "epochs=inf", "seed=-1"):
        assert change.split("=")[0] in refused(tmp_path, bright_crystals, "classifier", "--set", change)
    assert "choose from: classifier" in refused(tmp_path, bright_crystals, "clasifier")
    assert "set context = 0" in refused(
        tmp_path, bright_crystals, "published", "--set", "network=alexnet", "--set", "context=0.5"
    )
    assert "no views to train on" in refused(tmp_path, bright_crystals, "segmenter")
    assert "there is no checkpoint.pt to resume from" in refused(tmp_path, bright_crystals, "classifier", "--resume")
    assert "no training set here" in refused(tmp_path, tmp_path, "classifier")
    save_trained(tmp_path / "other.pt", SqueezeNet(version="1.0"), "squeezenet1.0", {})
    assert "a trained squeezenet1.0" in refused(
        tmp_path, bright_crystals, "classifier", "--start", str(tmp_path / "other.pt")
    )
    assert not (tmp_path / "out").exists()


def test_a_run_goes_on_only_as_it_was_begun(bright_crystals: Path, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(SMALL, steps=1, context=0.0, batch=1)
    train.fit(recipe, [bright_crystals], tmp_path / "run", loaders=0)
    with pytest.raises(ConfigError, match="already holds a run"):
        train.fit(recipe, [bright_crystals], tmp_path / "run", loaders=0)
    with pytest.raises(ConfigError, match=r"another recipe \(rate: 0\.002, not 0\.5\)"):
        train.fit(
            msgspec.structs.replace(recipe, rate=0.5), [bright_crystals], tmp_path / "run", resume=True, loaders=0
        )


def test_a_run_starts_from_the_shipped_weights(bright_crystals: Path) -> None:
    recipe = msgspec.structs.replace(SMALL, network="squeezenet1.1")
    net = SqueezeNet()
    shipped = Path(train.__file__).parents[2] / "xtalgrid_core" / "weights" / "classifier.onnx"
    train.load_start(net, recipe, shipped)
    sets = ChopSet([bright_crystals])
    x = torch.from_numpy(sets.take([0]).transpose(0, 3, 1, 2)).float() - 120
    assert net.eval()(x).std() > 0.5  # a fresh head's logits are near zero


def test_a_run_that_diverged_late_is_not_saved(
    bright_crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of three makes weights of no number; rows of the curves would come every 50 steps."""
    recipe = msgspec.structs.replace(SMALL, steps=3, context=0.0, batch=1)
    update = train._Trainer.update

    def diverging(self: train._Trainer, *arguments: object) -> None:
        update(self, *arguments)  # type: ignore[arg-type]
        if self.step == 3:
            next(self.net.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(train._Trainer, "update", diverging)
    with pytest.raises(train.TrainingDiverged, match="a weight is not finite at step 3"):
        train.fit(recipe, [bright_crystals], tmp_path / "run", loaders=0)
    assert not (tmp_path / "run" / "state.pt").exists()


def test_what_agrees_with_given_weights_goes_on_with_the_same(bright_crystals: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_trained(tmp_path / f"{seed}.pt", SqueezeNet(), "squeezenet1.1", {})
    recipe = msgspec.structs.replace(SMALL, steps=1, context=0.0, batch=1, loss="start")
    train.fit(recipe, [bright_crystals], tmp_path / "run", start=tmp_path / "1.pt", loaders=0)
    with pytest.raises(ConfigError, match=r"was begun to agree with other weights, .*1\.pt"):
        train.fit(recipe, [bright_crystals], tmp_path / "run", start=tmp_path / "2.pt", resume=True, loaders=0)


def test_a_damaged_checkpoint_is_said_in_a_line(bright_crystals: Path, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(SMALL, steps=1, context=0.0, batch=1)
    run = tmp_path / "run"
    train.fit(recipe, [bright_crystals], run, loaders=0)
    whole = (run / "checkpoint.pt").read_bytes()
    (run / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: not a whole checkpoint"):
        train.fit(recipe, [bright_crystals], run, resume=True, loaders=0)
    (run / "record.json").write_text("{")
    with pytest.raises(ConfigError, match=r"record\.json: not the record of a run"):
        train.fit(recipe, [bright_crystals], run, resume=True, loaders=0)


def test_two_processes_never_write_one_run(bright_crystals: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    code = "import sys; from pathlib import Path; from xtalgrid_nets.claim import Claim\n"
    code += "claim = Claim(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    recipe = msgspec.structs.replace(SMALL, steps=1, context=0.0, batch=1)
    with pytest.raises(Busy, match="another process is at work in this folder"):
        train.fit(recipe, [bright_crystals], run, loaders=0)
    with pytest.raises(Busy):
        ChopSetWriter(run, "test", {})
    other.communicate()
    assert train.fit(recipe, [bright_crystals], run, loaders=0)


def test_a_run_is_not_resumed_as_if_it_had_begun_elsewhere(bright_crystals: Path, tmp_path: Path) -> None:
    """The start would be left out without a word."""
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_trained(tmp_path / f"{seed}.pt", SqueezeNet(), "squeezenet1.1", {})
    recipe = msgspec.structs.replace(SMALL, network="squeezenet1.1", steps=1, context=0.0, batch=1)
    run, first = tmp_path / "run", tmp_path / "1.pt"
    train.fit(recipe, [bright_crystals], run, start=first, loaders=0)
    with pytest.raises(ConfigError, match=r"was begun from .*1\.pt, not from .*2\.pt as it is now"):
        train.fit(recipe, [bright_crystals], run, start=tmp_path / "2.pt", resume=True, loaders=0)
    with pytest.raises(ConfigError, match="was begun after no other run; resume without --after"):
        train.fit(recipe, [bright_crystals], run, after=tmp_path, resume=True, loaders=0)
    for start in (first, None):
        assert train.fit(recipe, [bright_crystals], run, start=start, resume=True, loaders=0)
