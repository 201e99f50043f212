"""The training loop, without a framework; see `runs` for the files of a run, and `batches` for the data."""

from __future__ import annotations

import copy
import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from xtalgrid_core.errors import BrokenModel, ConfigError, XtalgridError
from xtalgrid_core.images import MEAN_RGB

from ..networks import NETWORKS, class_map_of
from ..networks.squeezenet import FEATURES, SqueezeNet
from ..sets.reading import ChopSet
from ..states import SEGMENTERS, from_onnx, load_trained, network
from .batches import Batch, ChopBatches, ViewBatches, batches_of, stream
from .heldout import HeldOut, Metrics
from .int8 import RATE, as_int8, steps_of
from .losses import agreement_loss, chop_loss, hint_loss, mask_loss, window_logits, window_loss
from .recipe import Recipe
from .runs import Run

CURVE_EVERY = 50
"""Steps between two rows of the curves."""


class TrainingDiverged(XtalgridError):
    """A loss or a weight is no longer a finite number."""


def fit(
    recipe: Recipe,
    data: Sequence[Path],
    out: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
    after: Path | None = None,
    minutes: float | None = None,
    cpu_time: bool = False,
    device: str = "auto",
    precision: str = "auto",
    loaders: int = 1,
) -> bool:
    """Train a network by a recipe; `out` is the run's folder (see `runs.Run`).

    Parameters
    ----------
    data
        Folders of training sets, read as one set.
    start
        Initial weights: ImageNet's (``.npz``), a trained state (``.pt``) or the worker's (``.onnx``).
    resume
        Continue the run in `out` from its last checkpoint.
    after
        Folder of a run that this one follows as its next leg: it takes over the checkpoint and goes on counting the
        steps, perhaps on other sets. Legs on the same sets end as one run would.
    minutes
        Longest total time of the run, over all interruptions. The schedule follows the steps or the time, whichever
        is further on, so a run limited by time still ends with the recipe's final rate; a ``steady`` one follows the
        steps alone.
    cpu_time
        Whether time is CPU time of this process, so that a busy machine takes nothing from the run. Take no loaders
        then, since theirs is not counted.
    device, precision
        See `_choose_device` and `_choose_precision`.
    loaders
        Number of processes that make batches ahead; 0 to make them in the calling process.

    Returns
    -------
    bool
        Whether the run is finished; False if it was stopped and can be resumed.

    Raises
    ------
    XtalgridError
        If data, recipe, start or folder don't fit, or training diverged; the message says what to do.
    """
    if start is not None and after is not None:
        raise ConfigError("--start and --after: a run goes on from one of them alone")
    sets = ChopSet(data)
    batches, held_out = batches_of(recipe, sets), HeldOut(recipe, sets)
    where = _choose_device(device)
    torch.manual_seed(recipe.seed)
    trainer = _Trainer(recipe, batches, where, _choose_precision(precision, where))
    if start is not None and not resume:
        load_start(trainer.net, recipe, start)
    if recipe.loss == "start":
        trainer.follow_start(start)
    trainer.ema = Ema(trainer.net, recipe.ema)
    run = Run(out, recipe, sets, start=start, device=describe(where), precision=str(trainer.precision).split(".")[-1])
    try:
        if resume:
            trainer.load_state_dict(run.resume(where, after))
        elif after is not None:
            trainer.load_state_dict(run.follow(after, where))
            trainer.seconds = 0.0
            run.begin()
        else:
            run.begin()
        trainer.clock = time.process_time if cpu_time else time.monotonic
        run.record["clock"] = "cpu" if cpu_time else "elapsed"
        with _stop_on_signal() as stopped:
            finished = _train(trainer, batches, held_out, run, minutes, loaders, stopped)
        run.close(
            trainer.kept(),
            trainer.activation_steps(),
            finished=finished,
            step=trainer.step,
            seconds=trainer.seconds,
            batches=batches,
        )
    finally:
        run.give_up()
    return finished


def _train(
    trainer: _Trainer,
    batches: ChopBatches | ViewBatches,
    held_out: HeldOut,
    run: Run,
    minutes: float | None,
    loaders: int,
    stopped: threading.Event,
) -> bool:
    recipe = trainer.recipe
    steps = recipe.length(batches.rows)
    limit = (minutes or float("inf")) * 60
    epochs = steps * recipe.batch / batches.rows
    tqdm.write(
        f"{batches.rows:,} items to train on, {steps:,} steps ({epochs:.1f} epochs) on {describe(trainer.device)}"
    )
    source = stream(batches, trainer.step, steps, loaders, pinned=trainer.device.type == "cuda")
    began = trainer.clock() - trainer.seconds
    with tqdm(
        total=steps, initial=trainer.step, desc=recipe.network, unit="step", mininterval=2, dynamic_ncols=True
    ) as bar:
        for batch in source:
            trainer.seconds = trainer.clock() - began
            progress = max(trainer.step / steps, trainer.seconds / limit)
            if progress >= 1 or stopped.is_set():
                break
            trainer.update(batch, trainer.step / steps if recipe.schedule == "steady" else progress)
            bar.update()
            trainer.seconds = trainer.clock() - began
            is_due = trainer.step % recipe.validate_every == 0 and len(held_out) > 0
            if is_due or trainer.step % CURVE_EVERY == 0:
                losses = trainer.mean.taken(trainer.step, recipe)
                metrics = trainer.validate(held_out) if is_due else {}
                run.note(trainer.step, trainer.seconds, trainer.rate, losses, metrics)
                bar.set_postfix_str(f"{100 * progress:.0f} % of the run, loss {losses['loss']:.3f}", refresh=False)
                if is_due:
                    bar.write(
                        f"step {trainer.step}: " + ", ".join(f"{key} {value:.3f}" for key, value in metrics.items())
                    )
            if trainer.step % recipe.checkpoint_every == 0:
                trainer.check()
                run.save(trainer.state_dict(), trainer.kept(), trainer.activation_steps())
    finished = not stopped.is_set()
    if finished and trainer.step % recipe.validate_every and len(held_out):
        metrics = trainer.validate(held_out)
        run.note(trainer.step, trainer.seconds, trainer.rate, trainer.mean.taken(trainer.step, recipe), metrics)
    trainer.seconds = trainer.clock() - began
    trainer.check()
    run.save(trainer.state_dict(), trainer.kept(), trainer.activation_steps())
    return finished


class _Trainer:
    """The network, its optimiser and the mean of its weights: all that a step changes and a checkpoint holds."""

    ema: Ema
    clock: Callable[[], float]

    def __init__(
        self, recipe: Recipe, batches: ChopBatches | ViewBatches, device: torch.device, precision: torch.dtype
    ) -> None:
        self.recipe, self.device, self.precision = recipe, device, precision
        if recipe.context and not (recipe.network in NETWORKS and NETWORKS[recipe.network].dense):
            raise ConfigError(
                f"{recipe.network} takes chops of one size only and can't use context; set context = 0 in the recipe"
            )
        net = network(recipe.network, recipe.classes)
        if recipe.frozen:
            features = getattr(getattr(net, "encoder", net), "features", None)
            if features is None:
                raise ConfigError(f"{recipe.network} has no features to freeze; set frozen = 0 in the recipe")
            features[: recipe.frozen].requires_grad_(False)
        net.train().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its types
        self.net = net
        self._rounding = as_int8(net) if recipe.int8 else []
        self._steps = torch.optim.Adam(steps_of(self._rounding), lr=RATE) if self._rounding else None
        self._example: nn.Module | None = None
        hints = batches.hints if isinstance(batches, ChopBatches) else 0
        if hints and not isinstance(net, SqueezeNet):
            raise ConfigError(f"{recipe.network} can't learn from hints: set hint = 0 in the recipe")
        self._guess = nn.Linear(FEATURES, hints, device=device) if hints else None
        self.optimiser = _optimiser(recipe, self.net, self._guess)
        self._weights = torch.ones(recipe.classes, device=device)
        if isinstance(batches, ChopBatches):
            self._weights = torch.from_numpy(batches.window_weights).to(device)
        self._mean = torch.tensor(MEAN_RGB, device=device).view(1, 3, 1, 1)
        self.mean = Mean()
        self.step, self.seconds, self.rate = 0, 0.0, 0.0
        self._best: tuple[float, dict[str, Tensor]] | None = None

    def follow_start(self, start: Path | None) -> None:
        """Learn to answer as the weights in `start` do.

        Raises
        ------
        ConfigError
            If there are none, or they don't fit; see `load_start`.
        """
        if start is None:
            raise ConfigError('loss = "start": give the weights to agree with by --start, with --resume too')
        self._example = network(self.recipe.network, self.recipe.classes)
        load_start(self._example, self.recipe, start)
        self._example.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for layer in self.net.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0

    def forward(self, kind: str, images: Tensor) -> Tensor:
        """Return logits of images ``(N, 3, H, W)`` uint8 of a batch; for patches, class maps."""
        with self._autocast():
            return self._answer(self.net, kind, images)

    def _answer(self, net: nn.Module, kind: str, images: Tensor) -> Tensor:
        class_map = class_map_of(net) if kind == "patches" else None
        answer: Tensor = (class_map or net)(self._input(images))
        return answer

    def _disagreement(self, kind: str, images: Tensor) -> Tensor:
        """Return how far the answers to images of a batch are from the example's, ``()``."""
        assert self._example is not None
        with self._autocast():
            with torch.no_grad():
                wanted = self._answer(self._example, kind, images).float()
            given = self._answer(self.net, kind, images).float()
        if kind == "patches":
            given, wanted = (window_logits(one).permute(0, 2, 3, 1).flatten(0, 2) for one in (given, wanted))
        return agreement_loss(given, wanted)

    def _input(self, images: Tensor) -> Tensor:
        x = images.to(self.device, non_blocking=True).float() - self._mean
        return x.to(memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        reduced = self.precision is torch.bfloat16
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=reduced, cache_enabled=False)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of a batch, and of its parts."""
        tensors = {key: value.to(self.device, non_blocking=True) for key, value in batch.items()}
        if "views" in tensors:
            return {"loss": mask_loss(self.forward("views", tensors["views"]).float(), tensors["masks"].float() / 255)}
        kind = self.recipe.loss
        if kind == "start":
            parts = {"chops": self._disagreement("chops", tensors["chops"])}
            if "patches" in tensors:
                parts["windows"] = self._disagreement("patches", tensors["patches"])
            return {"loss": torch.stack(list(parts.values())).mean(), **parts}
        chops = chop_loss(self.forward("chops", tensors["chops"]).float(), tensors["labels"], kind, tensors["exact"])
        if "patches" not in tensors:
            return {"loss": chops}
        hints: dict[str, Tensor] = {}
        if self._guess is None:
            maps = self.forward("patches", tensors["patches"])
        else:
            with self._autocast():
                features, maps = self.net.features_and_map(self._input(tensors["patches"]))  # type: ignore[operator]
            hints["hints"] = hint_loss(features.float(), self._guess, tensors["hints"])
        windows = window_loss(maps.float(), tensors["windows"], self._weights, kind, tensors["exact_windows"])
        chop_weight, patch_weight = len(tensors["chops"]), len(tensors["patches"]) * self.recipe.patch_weight
        loss = (chop_weight * chops + patch_weight * windows) / (chop_weight + patch_weight)
        if "hints" in hints:
            loss = loss + self.recipe.hint * hints["hints"]
        return {"loss": loss, "chops": chops, "windows": windows, **hints}

    def update(self, batch: Batch, progress: float) -> None:
        """Take one step."""
        factor = self.recipe.rate_at(progress)
        self.rate = self.recipe.rate * factor
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_rate"] * factor
        losses = self.losses(batch)
        self.optimiser.zero_grad()
        losses["loss"].backward()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        self.optimiser.step()
        if self._steps is not None:
            self._steps.param_groups[0]["lr"] = RATE * factor
            self._steps.step()
            self._steps.zero_grad()
        self.ema.update(self.net)
        self.mean.add(losses)
        self.step += 1

    def validate(self, held_out: HeldOut) -> Metrics:
        """Compute the figures of the mean weights on the held-out sample, and keep the weights if they are the best."""
        self.check()
        with self.ema.in_place(self.net):
            metrics = held_out(self.net, self.forward)
            score = metrics.get("groups", metrics.get("iou", 0.0))
            if self.recipe.keep == "best" and (self._best is None or score > self._best[0]):
                self._best = score, {k: v.detach().cpu().clone() for k, v in self.net.state_dict().items()}
        return metrics

    def check(self) -> None:
        """Check that what would be saved now can be gone on with.

        Raises
        ------
        TrainingDiverged
            If a loss since the last row of the curves, or a weight, is not a finite number.
        """
        self.mean.check(self.step, self.recipe)
        if not all(bool(torch.isfinite(weights).all()) for weights in self.net.parameters()):
            raise _diverged("a weight", self.step, self.recipe)

    def kept(self) -> nn.Module:
        """Return a copy of the network with the weights that would be saved now."""
        with self.ema.in_place(self.net):
            net = copy.deepcopy(self.net).cpu().eval()
        if self._best is not None:
            net.load_state_dict(self._best[1])
        return net

    def activation_steps(self) -> list[float]:
        """Return the steps of int8 activations, one for each convolution but the first and last; none in fp32."""
        return [float(layer.log_step.detach().exp()) for layer in self._rounding]

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "net": self.net.state_dict(),
            "guess": self._guess and self._guess.state_dict(),
            "log_steps": [step.detach() for step in steps_of(self._rounding)],
            "steps_optimiser": self._steps and self._steps.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.state_dict(),
            "mean": self.mean.state_dict(),
            "best": self._best,
            "step": self.step,
            "seconds": self.seconds,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.net.load_state_dict(state["net"])
        if self._steps is not None and state.get("steps_optimiser"):  # else a leg without int8: begin anew
            with torch.no_grad():
                for step, saved in zip(steps_of(self._rounding), state["log_steps"], strict=True):
                    step.copy_(saved)
            self._steps.load_state_dict(state["steps_optimiser"])
        if self._guess is not None:
            self._guess.load_state_dict(state["guess"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.load_state_dict(state["ema"])
        self.mean.load_state_dict(state["mean"])
        self._best, self.step, self.seconds = state["best"], state["step"], state["seconds"]
        torch.set_rng_state(state["rng"].cpu())
        if self.device.type == "cuda" and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu())


class Ema:
    """The running mean of a network's weights, MARCO's "running average of the training model".

    Other state, such as batch statistics, is the latest.

    The decay grows from 0.1 to the given value, so that the initial random weights hardly count in a short run.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self._decay, self._updates = decay, 0
        self._mean = {name: p.detach().clone() for name, p in net.named_parameters() if p.requires_grad and decay}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Add the network's weights after a step."""
        if not self._mean:
            return
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        now = dict(net.named_parameters())
        torch._foreach_lerp_(list(self._mean.values()), [now[name] for name in self._mean], 1 - decay)

    @contextmanager
    def in_place(self, net: nn.Module) -> Iterator[None]:
        """Give `net` the mean weights inside the context."""
        self._swap(net)
        try:
            yield
        finally:
            self._swap(net)

    @torch.no_grad()
    def _swap(self, net: nn.Module) -> None:
        current = dict(net.named_parameters())
        for name, mean in self._mean.items():
            mean_copy = mean.clone()
            mean.copy_(current[name])
            current[name].copy_(mean_copy)

    def state_dict(self) -> dict[str, Any]:
        """Return the mean for the checkpoint."""
        return {"mean": self._mean, "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the mean from the checkpoint."""
        for name, value in state["mean"].items():
            self._mean[name].copy_(value)
        self._updates = state["updates"]


class Mean:
    """Mean losses since the last call of `taken`, summed on the device: reading each one would make training wait."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._n = 0

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add the losses of a step."""
        self._sums = {key: self._sums.get(key, 0.0) + value.detach() for key, value in losses.items()}
        self._n += 1

    def taken(self, step: int, recipe: Recipe) -> dict[str, float]:
        """Return the means, and start again.

        Raises
        ------
        TrainingDiverged
            If a loss is not a finite number.
        """
        means = self.check(step, recipe)
        self._sums, self._n = {}, 0
        return means

    def check(self, step: int, recipe: Recipe) -> dict[str, float]:
        """Return what `taken` would, and go on summing."""
        means = {key: float(value) / self._n for key, value in self._sums.items()}
        if not all(abs(value) < float("inf") for value in means.values()):
            raise _diverged("the loss", step, recipe)
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the sums for the checkpoint."""
        return {"sums": self._sums, "n": self._n}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums from the checkpoint."""
        self._sums, self._n = state["sums"], state["n"]


def _diverged(what: str, step: int, recipe: Recipe) -> TrainingDiverged:
    return TrainingDiverged(
        f"{what} is not finite at step {step}; start again with a rate below {recipe.rate:g}, or set clip"
    )


def _optimiser(recipe: Recipe, net: nn.Module, guess: nn.Module | None) -> torch.optim.Optimizer:
    learning = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = []
    for inside, full in ((True, recipe.rate * recipe.encoder_rate), (False, recipe.rate)):
        members = [p for name, p in learning if ("features" in name) is inside]
        if members:
            groups.append({"params": members, "lr": full, "full_rate": full})
    if guess is not None:
        groups.append({"params": list(guess.parameters()), "lr": recipe.rate, "full_rate": recipe.rate})
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, eps=recipe.epsilon)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return torch.optim.RMSprop(
        groups, alpha=recipe.decay, eps=recipe.epsilon, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def load_start(net: nn.Module, recipe: Recipe, path: Path) -> None:
    """Load weights into a new network: ImageNet's features (``.npz``), a trained state, or a worker's ONNX file.

    A segmenter takes only the encoder of another one.

    Raises
    ------
    ConfigError
        If they belong to another network, or have other classes.
    XtalgridError
        If the file is not of the kind that its name says.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give --start an existing one")
    if path.suffix == ".npz":
        from ..networks.squeezenet import load_imagenet

        try:
            load_imagenet(net.encoder if recipe.network in SEGMENTERS else net, path)  # type: ignore[arg-type]
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return
    if path.suffix == ".onnx":
        trained, name = _from_onnx(path, recipe.network)
    else:
        trained, record = load_trained(path)
        name = record.get("network", recipe.network)
    if name != recipe.network and {name, recipe.network} <= set(SEGMENTERS):
        net.encoder.load_state_dict(trained.encoder.state_dict())  # type: ignore[union-attr]
        return
    if name != recipe.network:
        raise ConfigError(f"{path}: this is a trained {name}, but the recipe's network is {recipe.network}")
    try:
        net.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: does not fit {recipe.network} with {recipe.classes} classes; give a state with as many classes"
        ) from error


def _from_onnx(path: Path, name: str) -> tuple[nn.Module, str]:
    """Read a network of this name; for a segmenter, also another one, whose name is returned."""
    names = [name, *(other for other in SEGMENTERS if other != name)] if name in SEGMENTERS else [name]
    for one in names[:-1]:
        with suppress(BrokenModel):
            return from_onnx(path, one), one
    return from_onnx(path, names[-1]), names[-1]


def _choose_device(name: str) -> torch.device:
    """Choose the device: ``auto`` (CUDA if there is one), ``cpu`` or ``cuda``.

    Raises
    ------
    ConfigError
        If CUDA is requested but not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda: torch finds no CUDA device; use --device cpu, or install a CUDA build of torch"
        )
    return torch.device(name)


def _choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Choose ``bfloat16``, ``float32``, or ``auto``.

    ``auto`` takes bfloat16 only if the processor computes in it; otherwise bfloat16 is eight times slower.
    """
    if name == "auto":
        quick = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if quick else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def describe(device: torch.device) -> str:
    """Describe the device, for the record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads, {torch.backends.cpu.get_cpu_capability()}"


def keep_memory() -> None:
    """Let this process keep the memory it frees.

    A step frees and takes back gigabytes, which costs a third of its time on Linux. For a process that only trains;
    without glibc nothing happens.
    """
    trim_threshold, mmap_max = -1, -4  # constants of glibc's malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
    except (OSError, AttributeError):
        return


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Set an event on SIGTERM and Ctrl-C; the loop then finishes the current step and writes a checkpoint."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
