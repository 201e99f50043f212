"""Recipes: everything that determines the result of a training run, in one flat TOML file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from math import ceil, cos, floor, isfinite, pi
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically

from ..states import SEGMENTERS
from .balance import Balance

Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Count = Annotated[int, Meta(ge=1)]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a training run; the comments in the packaged recipes explain rates and schedules.

    Parameters
    ----------
    network
        A name of `networks.NETWORKS` or of `SEGMENTERS`.
    classes
        13 (Table 1 of the 2023 paper) or 5 (crystal, precipitate, other, clear, rim; section 2.1).
    loss
        ``groups``: mainly the four groups, the classes with less weight; ``cross-entropy``: only the classes;
        ``start``: to answer as the weights do that the run starts from, whatever the labels (for `int8`).
    balance
        See `balance.class_shares`.
    batch
        Cost of a step, in chops; a 448² patch counts as three.
    real
        Share of the chops, patches and views that is drawn from real wells alone, those whose source is not
        ``rendered``.
    hard
        Share of the patches that is drawn from those without a crystal, each the more often the further the weights
        given to `sets teach` are wrong about it.
    hint
        Weight of the teacher's features (`sets teach`), which a linear layer on the mean of a patch's features
        learns to give; 0 for none.
    context
        Fraction of a batch's area that is 448² patches with 5×5 labelled windows, for networks that score densely.
        The rest is chops padded with zeros, as a network sees them one by one.
    patch_weight
        Weight of a patch in the loss, in chops.
    steps, epochs
        Length of the run; give one of them. An epoch is as many draws as there are chops (or views) to train on.
    optimiser, rate, momentum, decay, epsilon, weight_decay
        ``adamw``; ``sgd`` with `momentum`; ``rmsprop`` with `momentum`, `decay` (of the mean square) and `epsilon`.
    encoder_rate
        Rate of the features as a fraction of `rate`.
    schedule
        ``cosine``: rises over the first `warmup` of the run, then falls to zero; ``stairs``: multiplied by
        `stair_factor` at the end of each of `stairs` equal parts of the run (with 3.5 parts, the last is half as
        long); ``steady``: rises over the first `warmup` of the steps, stays, and falls to zero over the last
        `cooldown` of them, whatever the time, for a run in legs.
    clip
        Largest norm of the gradient; 0 for no limit.
    frozen
        Number of layers, from the first layer of the (encoder's) features, that are not trained.
    ema
        Decay of the running mean of the weights; this mean is validated and saved. 0 for none.
    keep
        Which weights to keep: the ``last``, or the ``best`` on the held-out plates.
    int8
        Whether weights and activations are rounded as in int8 (`int8`), so that quantised weights lose less; the
        state then also holds the steps of the activations for `xtalgrid-train export --int8-classifier`.
    turns
        ``quarter`` (the eight orientations of a square), ``flips`` (four of them), ``any`` (any angle up to `degrees`
        either way, mirrored half of the time, with `shift` and `zoom` as fractions of the side) or ``none``. Patches
        are only ever turned by quarters, because their windows must stay square.
    colours
        ``lab`` (exposure, gamma and colour casts of different imagers), ``marco`` (brightness, saturation, hue,
        contrast) or ``none``.
    coarser
        Strongest loss of resolution; 6 times corresponds to screenshots. 1 for none, and no blur or noise either.
    checkpoint_every, validate_every
        Intervals, in steps.
    validate_on
        Number of held-out chops (or views).
    """

    network: str
    classes: Literal[13, 5] = 13
    loss: Literal["groups", "cross-entropy", "start"] = "groups"
    balance: Balance = "groups"
    batch: Count = 24
    real: Share = 0.0
    hard: Share = 0.0
    hint: Annotated[float, Meta(ge=0)] = 0.0
    context: Share = 0.0
    patch_weight: Positive = 3.0
    steps: Count | None = None
    epochs: Positive | None = None
    optimiser: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    rate: Positive = 7e-4
    momentum: Share = 0.0
    decay: Share = 0.9
    epsilon: Positive = 1e-8
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    encoder_rate: Positive = 1.0
    schedule: Literal["cosine", "stairs", "steady"] = "cosine"
    warmup: Share = 0.1
    cooldown: Share = 0.0
    stairs: Positive = 1.0
    stair_factor: Positive = 0.1
    clip: Annotated[float, Meta(ge=0)] = 0.0
    frozen: Annotated[int, Meta(ge=0)] = 0
    ema: Share = 0.0
    keep: Literal["last", "best"] = "last"
    int8: bool = False
    turns: Literal["quarter", "flips", "any", "none"] = "quarter"
    degrees: Annotated[float, Meta(gt=0, le=180)] = 180.0
    shift: Share = 0.0
    zoom: Share = 0.0
    colours: Literal["lab", "marco", "none"] = "lab"
    coarser: Annotated[float, Meta(ge=1)] = 6.0
    seed: Annotated[int, Meta(ge=0)] = 0
    checkpoint_every: Count = 500
    validate_every: Count = 500
    validate_on: Count = 400

    def __post_init__(self) -> None:
        for name, value in msgspec.structs.asdict(self).items():
            if isinstance(value, float) and not isfinite(value):
                raise ValueError(f"{name} is no finite number")
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.network in SEGMENTERS and (self.context or self.turns == "any"):
            raise ValueError(
                f"{self.network} trains on whole views: set context = 0 and a value other than any for turns"
            )
        if self.int8 and not self.network.startswith("squeezenet"):
            raise ValueError("int8 needs a network without batch normalisation, such as squeezenet1.1")
        if self.network in SEGMENTERS and self.loss == "start":
            raise ValueError('loss = "start" is for classifiers')
        if (self.hard or self.hint) and not self.context:
            raise ValueError("hard and hint apply to patches; set context above 0")

    def length(self, rows: int) -> int:
        """Return the number of steps of the run, with `rows` chops (or views) to train on."""
        return self.steps or max(1, ceil(float(self.epochs or 0) * rows / self.batch))

    def rate_at(self, progress: float) -> float:
        """Return the factor on the learning rate at a fraction, 0..1, of the run."""
        if self.schedule == "stairs":
            return float(self.stair_factor ** floor(progress * self.stairs + 1e-9))
        if progress < self.warmup:
            return 0.04 + 0.96 * (1 - cos(pi * progress / self.warmup)) / 2
        if self.schedule == "steady":
            return min(1.0, (1 - progress) / self.cooldown) if self.cooldown else 1.0
        return (1 + cos(pi * (progress - self.warmup) / (1 - self.warmup))) / 2


@dataclass(frozen=True, slots=True)
class Mix:
    """Number of chops and patches in a batch."""

    chops: int
    patches: int


def mix(recipe: Recipe) -> Mix:
    """Choose the numbers of chops and patches that together cost as much as `recipe.batch` chops."""
    area = (448 / 256) ** 2
    patches = round(recipe.batch * recipe.context / area)
    if recipe.context:
        patches = max(patches, 1)
    return Mix(max(round(recipe.batch - patches * area), 1), patches)


def packaged() -> list[str]:
    """List the names of the recipes that come with the package."""
    return sorted(
        file.name.removesuffix(".toml") for file in resources.files(__package__).joinpath("recipes").iterdir()
    )


def read_recipe(source: str, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a file, or from the package by its name.

    Parameters
    ----------
    source
        Path of a TOML file, or a name of `packaged`.
    changes
        Items ``KEY=VALUE`` in TOML syntax (a bare word is a string).

    Raises
    ------
    ConfigError
        Names the file, the key, and the values allowed.
    """
    path = Path(source)
    if not path.is_file():
        name = source.removesuffix(".toml")
        if name not in packaged():
            raise ConfigError(f"{source}: neither a file nor a packaged recipe; choose from: {', '.join(packaged())}")
        path = Path(str(resources.files(__package__).joinpath("recipes", f"{name}.toml")))
    try:
        values: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
        for change in changes:
            values = _changed(values, change)
        return msgspec.convert(values, Recipe)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        what, _, key = str(error).partition(" - at `$.")
        raise ConfigError(f"{source}: {key.rstrip('`') + ': ' if key else ''}{what}") from error


def _changed(values: dict[str, Any], change: str) -> dict[str, Any]:
    key, equals, value = change.partition("=")
    key, value = key.strip(), value.strip()
    if not equals:
        raise ConfigError(f"--set {change}: give KEY=VALUE")
    try:
        values = values | msgspec.toml.decode(f"{key} = {value}", type=dict)
    except msgspec.DecodeError:
        values = values | {key: value}
    other = {"steps": "epochs", "epochs": "steps"}.get(key)
    return {k: v for k, v in values.items() if k != other}


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write all settings, including those at their defaults."""
    values = {key: value for key, value in msgspec.structs.asdict(recipe).items() if value is not None}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    write_atomically(path, text.encode())


def differences(a: Recipe, b: Recipe) -> list[str]:
    """List the settings in which two recipes differ, for a message."""
    first, second = msgspec.structs.asdict(a), msgspec.structs.asdict(b)
    return [f"{key}: {second[key]!r}, not {first[key]!r}" for key in first if first[key] != second[key]]
