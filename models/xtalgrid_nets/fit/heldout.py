"""Measure a network on the held-out plates in a few seconds while it trains; `judge evaluate` does it thoroughly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..judge.metrics import auc
from ..sets.reading import ChopSet
from ..states import SEGMENTERS
from .balance import draw_weights, patch_draw
from .batches import Batch, images_first, known_windows
from .losses import class_of_label, group_log_p, group_losses, group_of_class, window_logits
from .recipe import Recipe

Metrics = dict[str, float]
Forward = Callable[[str, Tensor], Tensor]
"""Runs the network on a batch of images, uint8; the name tells whether class maps are wanted (`patches`)."""

PATCHES = 32


class HeldOut:
    """A fixed sample of the held-out plates, drawn as in training but never augmented.

    For a classifier, `__call__` returns ``loss``, ``accuracy`` (of the classes), ``groups`` (accuracy of the four
    groups), ``crystals`` (fraction of crystal chops found) and ``auc`` (area under the ROC of the crystals'
    probability), and for the windows of patches ``window_groups`` and ``window_auc``. For the segmenter it returns
    ``iou`` (mean over views with a drop) and ``empty`` (fraction of the views without a drop in which none is found).
    A figure without examples is left out.
    """

    def __init__(self, recipe: Recipe, sets: ChopSet) -> None:
        self._recipe = recipe
        rng = np.random.default_rng(20230301)
        self._parts: list[Batch] = []
        if recipe.network in SEGMENTERS:
            _, held = sets.split(sets.view_wells)
            if len(held):
                chosen = np.sort(rng.choice(held, min(recipe.validate_on, len(held)), replace=False))
                views, masks = sets.take_views(chosen)
                self._add(16, views=images_first(views), masks=torch.from_numpy(masks)[:, None])
            return
        _, held = sets.split()
        if len(held):
            labels = class_of_label(recipe.classes)[sets.labels].astype(np.int64)
            chosen = _sample(rng, held, draw_weights(labels[held], recipe.classes, recipe.balance), recipe.validate_on)
            self._add(48, chops=images_first(sets.take(chosen)), labels=torch.from_numpy(labels[chosen]))
        _, held = sets.split(sets.patch_wells)
        windows = known_windows(sets.patch_labels, recipe.classes)
        held = held[(windows[held] >= 0).any(axis=(1, 2))]
        if recipe.context and len(held):
            draw, _ = patch_draw(windows[held], recipe.classes, recipe.balance)
            chosen = _sample(rng, held, draw, PATCHES)
            self._add(
                8, patches=images_first(sets.take_patches(chosen)), windows=torch.from_numpy(windows[chosen]).long()
            )

    def __len__(self) -> int:
        return len(self._parts)

    def _add(self, size: int, **arrays: Tensor) -> None:
        parts = zip(*(value.split(size) for value in arrays.values()), strict=True)
        self._parts += [dict(zip(arrays, part, strict=True)) for part in parts]

    @torch.inference_mode()
    def __call__(self, net: nn.Module, forward: Forward) -> Metrics:
        """Compute the figures of `net`, which keeps its training or evaluation mode."""
        was = net.training
        net.eval()
        collected: dict[str, list[Tensor]] = {}
        for part in self._parts:
            kind, truth = next(iter(part)), list(part.values())[1]
            logits = forward(kind, part[kind]).float().cpu()
            if kind == "patches":
                logits = window_logits(logits).permute(0, 2, 3, 1).flatten(0, 2)
                truth = truth.flatten()
                logits, truth = logits[truth >= 0], truth[truth >= 0]
            collected.setdefault(kind, []).append(logits)
            collected.setdefault(f"{kind} truth", []).append(truth)
        net.train(was)
        joined = {key: torch.cat(values) for key, values in collected.items()}
        metrics: Metrics = {}
        if "views" in joined:
            metrics |= _drops(joined["views"], joined["views truth"])
        if "chops" in joined:
            metrics |= _classes(joined["chops"], joined["chops truth"])
        if "patches" in joined:
            windows = _classes(joined["patches"], joined["patches truth"])
            metrics |= {f"window_{key}": windows[key] for key in ("groups", "auc") if key in windows}
        return metrics


def _sample(
    rng: np.random.Generator, rows: npt.NDArray[np.intp], draw: npt.NDArray[np.float64], size: int
) -> npt.NDArray[np.intp]:
    """Draw at most `size` rows, each at most once."""
    chosen = rng.choice(len(rows), min(size, int((draw > 0).sum())), replace=False, p=draw)
    return rows[np.sort(chosen)]


def _classes(logits: Tensor, truth: Tensor) -> Metrics:
    of = torch.from_numpy(group_of_class(logits.shape[1]))
    groups = group_log_p(torch.log_softmax(logits, dim=1))
    crystal = of[truth] == 0
    metrics = {
        "loss": float(group_losses(logits, truth).mean()),
        "accuracy": float((logits.argmax(dim=1) == truth).float().mean()),
        "groups": float((groups.argmax(dim=1) == of[truth]).float().mean()),
    }
    if crystal.any():
        metrics["crystals"] = float((groups[crystal].argmax(dim=1) == 0).float().mean())
        if not crystal.all():
            metrics["auc"] = auc(groups[:, 0].numpy(), crystal.numpy())
    return metrics


def _drops(logits: Tensor, masks: Tensor) -> Metrics:
    predicted, truth = logits[:, 0] > 0, masks[:, 0] > 127
    both, either = (predicted & truth).sum(dim=(1, 2)).float(), (predicted | truth).sum(dim=(1, 2)).float()
    present = truth.any(dim=2).any(dim=1)
    metrics: Metrics = {}
    if present.any():
        metrics["iou"] = float((both / either)[present].mean())
    if not present.all():
        # The smallest drop that counts is a hundredth of the image (xtalgrid_core.drops).
        metrics["empty"] = float((predicted[~present].float().mean(dim=(1, 2)) < 0.01).float().mean())
    return metrics
