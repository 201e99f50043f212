"""Fit a last layer to wells of which only the group is known, and to windows of known class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, SCORED_GROUPS, Group

from ..fit.losses import group_log_p, group_losses
from .windows import Float, Half, Head, WindowFeatures


@dataclass(frozen=True, slots=True)
class LabWell:
    """A scored well: its windows, its group, and its weight (less for an uncertain judgement)."""

    windows: WindowFeatures
    group: Group
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Remembered:
    """Labelled windows of other wells, which keep the layer from forgetting.

    `features` is ``(M, C)``, `labels` ``(M,)`` (rank in `CLASSES`).
    """

    features: Half
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of the fit of a last layer.

    Parameters
    ----------
    steps, rate
        Adam's; the rate falls to zero along a cosine.
    wells, windows
        Number of the lab's wells and of remembered windows in a step.
    remember
        Weight of the loss on remembered windows; that of the lab's wells is 1.
    stay
        Weight of the squared distance from the initial layer (Li, Grandvalet & Davoine 2018, "Explicit inductive bias
        for transfer learning", L2-SP).
    shown, hardest
        Fractions of a well's windows: those that must show the well's group, and those that are corrected because
        they contradict it most.
    """

    steps: int = 120
    rate: float = 5e-3
    wells: int = 32
    windows: int = 1024
    remember: float = 1.0
    stay: float = 1e-3
    shown: float = 0.1
    hardest: float = 0.03
    seed: int = 0


def well_loss(log_p: Tensor, group: Group, needed: Sequence[int], settings: Settings) -> Tensor:
    """Return the loss of one well from its group alone.

    This is multiple-instance learning: nobody has said which window shows the group. The loss follows the decision,
    which gives a well the first group in priority that enough windows are sure of. So the windows that show the
    well's group best must be sure of it (for a clear drop, all windows), and no window may be sure of a group with
    higher priority. Groups of lower priority may be present too, as clear regions are in a drop with precipitate, or
    precipitate around a crystal.

    Parameters
    ----------
    log_p
        ``(N, 4)``: log-probabilities of `SCORED_GROUPS` in the well's windows.
    needed
        Number of windows that must agree on each group (`chops_needed`).
    """
    place = SCORED_GROUPS.index(group)
    n = len(log_p)
    count = n
    if group is not Group.CLEAR:  # a crystal may be in few windows, but what fills a drop is in many
        count = min(n, max(needed[place], 0 if group is Group.CRYSTAL else round(settings.shown * n)))
    loss = -log_p[:, place].topk(count).values.mean()
    if place:
        allowed = torch.logsumexp(log_p[:, place:], dim=1)
        loss = loss - allowed.mean() - allowed.topk(max(1, round(settings.hardest * n)), largest=False).values.mean()
    return loss


def fit(start: Head, wells: Sequence[LabWell], remembered: Remembered, settings: Settings) -> Head:
    """Fit the last layer, starting from `start`.

    Wells without a drop have no windows and are skipped.
    """
    rng = np.random.default_rng(settings.seed)
    usable = [well for well in wells if well.windows.boxes]
    if not usable:
        return start
    weight, bias = (torch.from_numpy(a.copy()).requires_grad_() for a in (start.weight, start.bias))
    first = weight.detach().clone(), bias.detach().clone()
    draw = _even([SCORED_GROUPS.index(well.group) for well in usable])
    recall = _even(remembered.labels) if len(remembered.labels) else None
    versions_of = [torch.from_numpy(well.windows.features) for well in usable]
    needed = [well.windows.needed for well in usable]
    known, labels = torch.from_numpy(remembered.features), torch.from_numpy(remembered.labels)
    shift = _crystal_shift(start, remembered, recall, rng)
    optimiser = torch.optim.Adam([weight, bias], lr=settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for _ in range(settings.steps):
        chosen = rng.choice(len(usable), min(settings.wells, len(usable)), p=draw, replace=False)
        picked = [usable[index] for index in chosen]
        drawn = [versions_of[index][rng.integers(len(versions_of[index]))] for index in chosen]
        log_p = group_log_p(F.log_softmax(torch.cat(drawn).float() @ weight.T + bias, dim=1))
        losses = [
            well.weight * well_loss(part, well.group, needed[index], settings)
            for index, well, part in zip(chosen, picked, log_p.split([len(version) for version in drawn]), strict=True)
        ]
        loss = torch.stack(losses).mean()
        if recall is not None:
            rows = torch.from_numpy(rng.choice(len(recall), min(settings.windows, len(recall)), p=recall))
            logits = known[rows].float() @ weight.T + bias + shift
            loss = loss + settings.remember * group_losses(logits, labels[rows]).mean()
        loss = loss + settings.stay * ((weight - first[0]).square().sum() + (bias - first[1]).square().sum())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return Head(weight.detach().numpy(), bias.detach().numpy())


def _even(classes: Sequence[int] | npt.NDArray[np.int64]) -> Float:
    """Return drawing probabilities that favour rare classes: each class by the square root of its number."""
    counts = np.bincount(np.asarray(classes), minlength=len(CLASSES)).astype(float)
    chance = 1 / np.sqrt(counts[np.asarray(classes)])
    normalised: Float = chance / chance.sum()
    return normalised


def _crystal_shift(
    start: Head, remembered: Remembered, chance: Float | None, rng: np.random.Generator, most: int = 4096
) -> Tensor:
    """Return what to add to the crystals' logits so that they fit the remembered windows, ``(13,)``.

    Crystals are far more frequent among these windows than on a plate, and an exported classifier allows for that by
    a shift (`export.shift_crystals`), which fitting must not undo. So this offset is added to the logits whenever
    they are compared with the remembered windows (logit adjustment, Menon et al. 2021).
    """
    crystals = torch.zeros(len(CLASSES))
    crystals[list(GROUP_CLASSES[Group.CRYSTAL])] = 1
    if chance is None:
        return crystals * 0
    rows = rng.choice(len(chance), min(most, len(chance)), p=chance)
    labels = torch.from_numpy(remembered.labels[rows])
    logits = torch.from_numpy(remembered.features[rows]).float() @ torch.from_numpy(start.weight).T
    logits = logits + torch.from_numpy(start.bias)
    shifts = torch.arange(-2, 6.01, 0.25).tolist()
    losses = [float(group_losses(logits + shift * crystals, labels).mean()) for shift in shifts]
    best: float = shifts[int(np.argmin(losses))]
    return crystals * best
