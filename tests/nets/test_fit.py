"""Training runs in small: they learn, leave a whole record, and go on after an interruption as if there had been none."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_core.outcomes import CLASSES, PRIORITY, Outcome  # noqa: E402
from xtalgrid_nets import train  # noqa: E402
from xtalgrid_nets.cli import main  # noqa: E402
from xtalgrid_nets.recipe import Recipe, read_recipe  # noqa: E402
from xtalgrid_nets.sets.format import ChopSetWriter, held_out  # noqa: E402
from xtalgrid_nets.states import load_trained  # noqa: E402

X, CLEAR = PRIORITY[Outcome.HARVESTABLE], PRIORITY[Outcome.CLEAR]

SMALL = Recipe(
    network="squeezenet1.1", batch=4, context=0.8, steps=6, rate=2e-3, warmup=0.2, clip=5.0, frozen=8, ema=0.9, turns="quarter",
    colours="lab", coarser=1.0, checkpoint_every=100, validate_every=3, validate_on=12,
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
        "steps=8",
        "rate=3e-3",
        "validate_every=4",
        "validate_on=12",
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
    assert (record["finished"], record["step"]) == (True, 8)
    assert record["held_out"].keys() >= {"accuracy", "groups", "crystals", "auc", "window_groups", "window_auc"}
    assert read_recipe(str(run / "recipe.toml")).steps == 8
    first, last = (float(row["loss"]) for row in curves(run))
    assert last < first
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert load_trained(run / "state.pt")[1]["step"] == 8


def test_a_resumed_run_ends_as_the_uninterrupted_one(bright_crystals: Path, tmp_path: Path) -> None:
    train.fit(SMALL, [bright_crystals], tmp_path / "whole", loaders=0)
    stop_at_step(4, SMALL, bright_crystals, tmp_path / "parts")
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
