"""The folder of a training run.

===================  ==================================================================================================
``recipe.toml``      every setting, as the run used them
``record.json``      data with hashes, code, versions, device, time per epoch, last figures
``curves.csv``       step, seconds, rate, mean losses since the previous row, held-out figures if taken
``curves.png``       the same as a figure
``checkpoint.pt``    for ``--resume``
``state.pt``         the trained network (`states`)
===================  ==================================================================================================
"""

from __future__ import annotations

import csv
import io
import json
import pickle
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import replacing, write_atomically

from ..claim import Claim
from ..sets.arrays import sha256_of
from ..sets.reading import ChopSet
from ..states import SEGMENTERS, save_trained
from .losses import class_names
from .recipe import Recipe, differences, read_recipe, write_recipe

COLUMNS = ("step", "seconds", "rate", "loss", "chops", "windows", "hints")
HELD_OUT = ("loss", "accuracy", "groups", "crystals", "auc", "window_groups", "window_auc", "iou", "empty")


class Run:
    """Write a run's folder.

    Raises
    ------
    ConfigError
        From `begin` if the folder already holds a run; from `resume` if it holds none, or a different one, or one
        whose files are damaged; from `follow` if there is no such run, or its checkpoint can't serve this one.
    Busy
        From `begin` and `resume` if another process is at work in the folder.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, sets: ChopSet, *, start: Path | None, device: str, precision: str
    ) -> None:
        self.folder, self.recipe = folder, recipe
        self._cpu_before = 0
        self._claim: Claim | None = None
        self.record: dict[str, Any] = {
            "network": recipe.network,
            "classes": list(class_names(recipe.classes)) if recipe.network not in SEGMENTERS else [],
            "data": sets.hashes(),
            "made_by": {
                str(folder): {key: record[key] for key in ("builder", "arguments", "taught_by") if key in record}
                for folder, record in zip(sets.folders, sets.records, strict=True)
            },
            "start": None if start is None else str(start),
            "start_sha256": None if start is None or not start.is_file() else sha256_of(start),
            "code": _code_state(),
            "versions": {name: metadata.version(name) for name in ("xtalgrid", "torch", "numpy")}
            | {"python": platform.python_version()},
            "device": device,
            "precision": precision,
            "began": _now(),
        }

    def begin(self) -> None:
        """Create the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim = Claim(self.folder)
        if (self.folder / "checkpoint.pt").exists() or (self.folder / "state.pt").exists():
            raise ConfigError(f"{self.folder}: already holds a run; continue it with --resume, or give another folder")
        write_recipe(self.recipe, self.folder / "recipe.toml")
        self._rows([])
        self._write_record()

    def resume(self, device: torch.device, after: Path | None = None) -> dict[str, Any]:
        """Return the last checkpoint, and remove the rows of the curves beyond it."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            raise ConfigError(f"{self.folder}: there is no checkpoint.pt to resume from; start without --resume")
        self._claim = Claim(self.folder)
        differ = differences(self.recipe, read_recipe(str(self.folder / "recipe.toml")))
        if differ:
            raise ConfigError(
                f"{self.folder}: was begun with another recipe ({'; '.join(differ)}); to resume, give its recipe.toml"
            )
        before = _read_record(self.folder / "record.json")
        if list(before["data"].values()) != list(self.record["data"].values()):
            raise ConfigError(
                f"{self.folder}: was begun with other data, or in another order; to resume, give "
                f"--data {' --data '.join(before['data'])}"
            )
        if self.recipe.loss == "start" and before.get("start_sha256") not in (None, self.record["start_sha256"]):
            raise ConfigError(
                f"{self.folder}: was begun to agree with other weights, {before['start']}; give them by --start"
            )
        started = self.record["start_sha256"]
        if started is not None and before.get("start_sha256", started) != started:
            raise ConfigError(
                f"{self.folder}: was begun from {before.get('start') or 'random weights'}, not from "
                f"{self.record['start']} as it is now; resume without --start, or begin a run in another folder"
            )
        if after is not None and Path(before.get("after", "")).resolve() != after.resolve():
            raise ConfigError(
                f"{self.folder}: was begun after {before.get('after') or 'no other run'}; resume without --after"
            )
        state = _checkpoint(path, device)
        kept = ("start", "start_sha256", "began", "after", "first_step")
        self.record |= {key: before[key] for key in kept if key in before}
        self._cpu_before = before.get("cpu_seconds", 0)
        self.record["resumed"] = [*before.get("resumed", []), {"at": _now(), "step": state["step"]}]
        with (self.folder / "curves.csv").open(encoding="utf-8", newline="") as stream:
            self._rows([row for row in csv.DictReader(stream) if int(row["step"]) <= state["step"]])
        self._write_record()
        return state

    def follow(self, before: Path, device: torch.device) -> dict[str, Any]:
        """Return the checkpoint of the run of which this one is the next leg, and record which that is."""
        path = before / "checkpoint.pt"
        if not path.is_file():
            raise ConfigError(f"{before}: no run to follow, there is no checkpoint.pt; give its weights by --start")
        earlier = read_recipe(str(before / "recipe.toml"))
        shapes = ("network", "classes", "optimiser", "frozen")
        if any(getattr(earlier, key) != getattr(self.recipe, key) for key in shapes) or (
            bool(earlier.hint) != bool(self.recipe.hint)
        ):
            differ = "; ".join(differences(self.recipe, earlier))
            raise ConfigError(f"{before}: this recipe can't go on from it ({differ}); give its state.pt by --start")
        state = _checkpoint(path, device)
        self.record |= {"after": str(before), "first_step": state["step"]}
        return state

    def note(
        self, step: int, seconds: float, rate: float, losses: dict[str, float], held_out: dict[str, float]
    ) -> None:
        """Add a row to the curves."""
        row: dict[str, Any] = {"step": step, "seconds": f"{seconds:.1f}", "rate": f"{rate:.4g}"}
        row |= {key: f"{value:.5f}" for key, value in losses.items()}
        row |= {f"val_{key}": f"{value:.5f}" for key, value in held_out.items()}
        with (self.folder / "curves.csv").open("a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, self._columns, lineterminator="\n").writerow(row)
        if held_out:
            self.record["held_out"] = {"step": step} | {key: round(value, 5) for key, value in held_out.items()}

    def save(self, checkpoint: dict[str, Any], net: nn.Module, activation_steps: list[float]) -> None:
        """Write the checkpoint and the trained state, each whole or not at all; `activation_steps` are none in fp32."""
        with replacing(self.folder / "checkpoint.pt") as stream:
            torch.save(checkpoint, stream)
        self._save_state(net, checkpoint["step"], activation_steps)

    def close(
        self,
        net: nn.Module,
        activation_steps: list[float],
        *,
        finished: bool,
        step: int,
        seconds: float,
        batches: Any,
    ) -> None:
        """Write the last figures to the record, and plot the curves."""
        epochs = (step - self.record.get("first_step", 0)) * self.recipe.batch / batches.rows
        self.record |= {
            "finished": finished,
            "step": step,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(self._cpu_before + time.process_time()),
            "epochs": round(epochs, 3),
            "seconds_an_epoch": round(seconds / epochs, 1) if epochs else None,
        }
        self._write_record()
        self._save_state(net, step, activation_steps)
        plot(self.folder / "curves.csv", self.folder / "curves.png")

    def give_up(self) -> None:
        """Let other processes go on with the run; twice does no harm."""
        if self._claim is not None:
            self._claim.give_up()

    def _save_state(self, net: nn.Module, step: int, activation_steps: list[float]) -> None:
        classes = class_names(self.recipe.classes)
        record = self.record | {"step": step}
        if activation_steps:
            record["activation_steps"] = activation_steps
        save_trained(self.folder / "state.pt", net, self.recipe.network, record, classes)

    def _write_record(self) -> None:
        write_atomically(self.folder / "record.json", (json.dumps(self.record, indent=1) + "\n").encode())

    @property
    def _columns(self) -> list[str]:
        return [*COLUMNS, *(f"val_{key}" for key in HELD_OUT)]

    def _rows(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.folder / "curves.csv", text.getvalue().encode())


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record["data"].values()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path}: not the record of a run ({error!r}); begin a run in another folder") from error
    return record


def _checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        state["step"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [repr(error)])[0][:120]
        raise ConfigError(f"{path}: not a whole checkpoint ({reason}); give the run's state.pt by --start") from error
    return state


def _code_state() -> dict[str, Any]:
    """Return the commit of the code, and whether files of ``models/`` differ from it.

    Empty if the package is installed and not a checkout.
    """
    models = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=models, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # the environment may lie inside a checkout of another project
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.CalledProcessError):
        return {}


def plot(curves: Path, picture: Path) -> None:
    """Draw `curves`: losses, rate, and the figures on the held-out plates."""
    from matplotlib.figure import Figure

    with curves.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names in (
        (left, ("loss", "chops", "windows", "val_loss")),
        (right, [f"val_{k}" for k in HELD_OUT if k != "loss"]),
    ):
        for name in names:
            points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
            if points:
                axes.plot(*zip(*points, strict=True), label=name.removeprefix("val_") if axes is right else name)
        axes.set_xlabel("step")
        if axes.lines:
            axes.legend(fontsize="small")
    left.set_title("loss (mean since the point before)")
    right.set_title("held-out plates")
    rate = left.twinx()
    rate.plot([int(row["step"]) for row in rows], [float(row["rate"]) for row in rows], color="0.8", zorder=0)
    rate.set_ylabel("learning rate", color="0.6")
    figure.savefig(picture, dpi=110)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
