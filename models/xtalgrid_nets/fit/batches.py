"""Make the batches of a training run: drawn from sets on disk, augmented, as bytes.

Batch number k depends only on the recipe's seed and on k, so it is the same whichever process makes it, in any order,
and a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from xtalgrid_core.errors import ConfigError

from ..sets.format import NO_LABEL, RENDERED
from ..sets.reading import ChopSet
from ..states import SEGMENTERS
from .augment import FLIPS, degraded, distorted, exposed, rotated, turned
from .balance import draw_weights, emphasised, patch_draw
from .losses import class_of_label, group_of_class
from .recipe import Recipe, mix

Batch = dict[str, Tensor]


def _generators(seed: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """Return the random generators of one batch: one for drawing, one for augmenting."""
    rng = np.random.default_rng([seed, step])
    return rng, torch.Generator().manual_seed(int(rng.integers(2**62)))


def images_first(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Convert ``(N, H, W, 3)`` to ``(N, 3, H, W)``, uint8."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def augmented(
    images: Tensor, grids: Tensor | None, recipe: Recipe, random: torch.Generator, *, any_angle: bool
) -> tuple[Tensor, Tensor | None]:
    """Augment images ``(N, 3, S, S)`` uint8 by the recipe; `grids` ``(N, 1, s, s)`` are turned in the same way."""
    free = recipe.turns == "any" and any_angle
    if recipe.turns == "flips":
        images, grids = turned(images, grids, random, FLIPS)
    elif recipe.turns == "quarter" or (recipe.turns == "any" and not any_angle):
        images, grids = turned(images, grids, random)
    if recipe.colours == "lab":
        images = exposed(images.contiguous(), random)
    pixels = images.float()
    if free:
        pixels = rotated(pixels, random, degrees=recipe.degrees, shift=recipe.shift, zoom=recipe.zoom)
    if recipe.colours == "marco":
        pixels = distorted(pixels, random)
    if recipe.coarser > 1:
        pixels = degraded(pixels, random, strongest=recipe.coarser)
    return pixels.round().clamp(0, 255).to(torch.uint8), grids


class ChopBatches(Dataset[Batch]):
    """Batches for the classifier.

    Item k has ``chops`` ``(n, 3, 256, 256)`` uint8 with ``labels`` ``(n,)``, and if the recipe wants context
    ``patches`` ``(m, 3, 448, 448)`` with ``windows`` ``(m, 5, 5)``, −1 if a window has no label. ``exact`` ``(n,)``
    marks the labels of which the class is known and not only the group, ``exact_windows`` ``(m,)`` the same for all
    windows of a patch. If the recipe wants hints, ``hints`` ``(m, features)`` are the teacher's features of the
    patches, with mean 0 and variance 1 over the sets.

    Attributes
    ----------
    rows
        Number of chops to train on.
    window_weights
        ``(classes,)``; see `balance.patch_draw`.
    hints
        Number of the teacher's features; 0 if the recipe wants none.

    Raises
    ------
    ConfigError
        If the sets have nothing to train on.
    """

    def __init__(self, recipe: Recipe, sets: ChopSet) -> None:
        self._recipe, self._sets, self._mix = recipe, sets, mix(recipe)
        of = class_of_label(recipe.classes)
        self._train, _ = sets.split()
        self.rows, self.hints = len(self._train), 0
        if not self.rows:
            raise ConfigError(f"{_named(sets)}: no chops to train on, or all are of held-out plates; give a larger set")
        self._labels = of[sets.labels].astype(np.int64)
        real = _is_real(sets)
        self._draw = draw_weights(self._labels[self._train], recipe.classes, recipe.balance)
        self._draw = emphasised(self._draw, real[sets.wells[self._train]], recipe.real)
        self.window_weights = np.ones(recipe.classes, np.float32)
        if self._mix.patches:
            patches, _ = sets.split(sets.patch_wells)
            self._windows = known_windows(sets.patch_labels, recipe.classes)
            self._patches = patches[(self._windows[patches] >= 0).any(axis=(1, 2))]
            if not len(self._patches):
                raise ConfigError(
                    f"{_named(sets)}: no patches to train on; give a set with some, or set context = 0 in the recipe"
                )
            if (recipe.hint or recipe.hard) and not sets.is_taught:
                raise ConfigError(f"{_named(sets)}: hint and hard need xtalgrid-train sets teach on each set first")
            if recipe.hint:
                hints = sets.take_hints(self._patches)
                self._usual, self._spread = hints.mean(axis=0), hints.std(axis=0) + 1e-3
                self.hints = hints.shape[1]
            emphasis: list[tuple[npt.NDArray[Any], float]] = [(real[sets.patch_wells[self._patches]], recipe.real)]
            if recipe.hard:
                emphasis.insert(0, (self._difficulty(), recipe.hard))
            self._patch_draw, self.window_weights = patch_draw(
                self._windows[self._patches], recipe.classes, recipe.balance, emphasis
            )

    def _difficulty(self) -> npt.NDArray[np.float32]:
        """Return how far the given weights are wrong about each patch, ``(M,)``; 0 if it shows a crystal.

        A crystal that they don't see may be one that nobody could see.
        """
        windows = self._windows[self._patches]
        crystals = ((windows >= 0) & (group_of_class(self._recipe.classes)[windows] == 0)).any(axis=(1, 2))
        return np.where(crystals, 0, self._sets.patch_losses[self._patches])

    def __getitem__(self, step: int) -> Batch:
        rng, random = _generators(self._recipe.seed, step)
        chosen = self._train[np.sort(rng.choice(self.rows, self._mix.chops, p=self._draw))]
        chops, _ = augmented(images_first(self._sets.take(chosen)), None, self._recipe, random, any_angle=True)
        batch = {
            "chops": chops,
            "labels": torch.from_numpy(self._labels[chosen]),
            "exact": torch.from_numpy(~self._sets.group_only(self._sets.wells[chosen])),
        }
        if self._mix.patches:
            picked = self._patches[np.sort(rng.choice(len(self._patches), self._mix.patches, p=self._patch_draw))]
            pixels, windows = images_first(self._sets.take_patches(picked)), torch.from_numpy(self._windows[picked])
            patches, grids = augmented(pixels, windows[:, None], self._recipe, random, any_angle=False)
            assert grids is not None
            exact = ~self._sets.group_only(self._sets.patch_wells[picked])
            batch |= {"patches": patches, "windows": grids[:, 0].long(), "exact_windows": torch.from_numpy(exact)}
            if self._recipe.hint:
                batch["hints"] = torch.from_numpy((self._sets.take_hints(picked) - self._usual) / self._spread)
        return batch


class ViewBatches(Dataset[Batch]):
    """Batches for the segmenter: ``views`` ``(n, 3, 256, 256)`` and ``masks`` ``(n, 1, 256, 256)``, both uint8."""

    def __init__(self, recipe: Recipe, sets: ChopSet) -> None:
        self._recipe, self._sets = recipe, sets
        self._train, _ = sets.split(sets.view_wells)
        self.rows = len(self._train)
        if not self.rows:
            raise ConfigError(f"{_named(sets)}: no views to train on; give a set with views and masks")
        even = np.full(self.rows, 1 / self.rows)
        self._draw = emphasised(even, _is_real(sets)[sets.view_wells[self._train]], recipe.real)

    def __getitem__(self, step: int) -> Batch:
        rng, random = _generators(self._recipe.seed, step)
        chosen = self._train[np.sort(rng.choice(self.rows, self._recipe.batch, p=self._draw))]
        views, masks = self._sets.take_views(chosen)
        images, grids = augmented(
            images_first(views), torch.from_numpy(masks)[:, None], self._recipe, random, any_angle=False
        )
        assert grids is not None
        return {"views": images, "masks": grids}


def _is_real(sets: ChopSet) -> npt.NDArray[np.bool_]:
    """Tell which wells of the sets' table were not rendered."""
    return np.array([row.source != RENDERED for row in sets.table], bool)


def known_windows(labels: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.int64]:
    """Convert ``patch_labels`` to the network's classes, −1 if a window has none."""
    of = np.full(256, -1, np.int64)
    of[: len(class_of_label(classes))] = class_of_label(classes)
    assert of[NO_LABEL] == -1
    return of[labels]


def batches_of(recipe: Recipe, sets: ChopSet) -> ChopBatches | ViewBatches:
    """Return the batches that this recipe trains on."""
    return ViewBatches(recipe, sets) if recipe.network in SEGMENTERS else ChopBatches(recipe, sets)


def stream(batches: ChopBatches | ViewBatches, start: int, stop: int, loaders: int, pinned: bool) -> Iterator[Batch]:
    """Iterate over the batches from number `start` on, made ahead by `loaders` processes.

    With 0 processes, the caller makes each batch on demand.
    """
    ahead: dict[str, Any] = {"prefetch_factor": 3, "worker_init_fn": _quiet} if loaders else {}
    # The loader draws a number for itself: from this generator, and not from the global one, which a resumed run
    # restores.
    loader: DataLoader[Batch] = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=loaders,
        pin_memory=pinned,
        generator=torch.Generator(),
        **ahead,
    )
    return iter(loader)


def _quiet(_: int) -> None:
    """Ignore signals in a loader: the trainer decides when to stop, not a Ctrl-C or a signal to the whole group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _named(sets: ChopSet) -> str:
    return ", ".join(map(str, sets.folders))
