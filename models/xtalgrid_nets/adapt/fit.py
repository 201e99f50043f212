"""Fit the end of the network to wells of which only the group is known, and to windows of known class."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, SCORED_GROUPS, Group

from ..fit.losses import group_log_p, group_losses
from ..sets.format import NO_LABEL
from .tail import Tail
from .windows import Windows

Float = npt.NDArray[np.float64]

THINNED = DEFAULTS.step
"""Pixels between the windows, of which a fit sees a quarter at a time."""


@dataclass(frozen=True, slots=True)
class LabWell:
    """A scored well: its windows, its group, and its weight (less for an uncertain judgement)."""

    windows: Windows
    group: Group
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Remembered:
    """Patches of other wells, whose windows have labels; they keep the network from forgetting.

    `labels` are ``(N,)`` each: rank in `CLASSES`, or `NO_LABEL`. `shift` is what the crystals' logits lack on these
    patches (see `crystal_shift`).
    """

    patches: Sequence[Windows] = ()
    labels: Sequence[npt.NDArray[np.int64]] = ()
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of the fit.

    Parameters
    ----------
    steps, rate
        Adam's; the rate falls to zero along a cosine.
    wells, patches
        Number of the lab's wells and of remembered patches in a step.
    remember
        Weight of the loss on remembered patches; that of the lab's wells is 1.
    stay
        Weight of the squared distance from the initial weights (Li, Grandvalet & Davoine 2018, "Explicit inductive bias
        for transfer learning", L2-SP).
    keep
        Share of the initial weights in the result: the mean of both makes fewer mistakes elsewhere (Wortsman et al.
        2022, "Robust fine-tuning of zero-shot models").
    shown, hardest
        Fractions of a well's windows: those that must show the well's group, and those that are corrected because
        they contradict it most.
    """

    steps: int = 120
    rate: float = 5e-3
    wells: int = 32
    patches: int = 40
    remember: float = 1.0
    stay: float = 1e-3
    keep: float = 0.3
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


def fit(start: Tail, wells: Sequence[LabWell], remembered: Remembered, settings: Settings) -> Tail:
    """Fit the end of the network, starting from `start`.

    Wells without a drop have no windows and are skipped.
    """
    rng = np.random.default_rng(settings.seed)
    usable = [well for well in wells if well.windows.boxes]
    if not usable:
        return start
    tail = deepcopy(start)
    first = [value.detach().clone() for value in tail.fitted]
    draw = _even([SCORED_GROUPS.index(well.group) for well in usable])
    quarters = [_quarters(well.windows) for well in usable]
    recall, of_windows = _chances(remembered)
    shift = _crystals() * remembered.shift
    optimiser = torch.optim.Adam(tail.fitted, lr=settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for _ in range(settings.steps):
        chosen = rng.choice(len(usable), min(settings.wells, len(usable)), p=draw, replace=False)
        drawn = [quarters[index][rng.integers(len(quarters[index]))] for index in chosen]
        log_p = group_log_p(F.log_softmax(tail.logits([part for part, _ in drawn], rng), dim=1))
        losses = [
            usable[index].weight * well_loss(part, usable[index].group, needed, settings)
            for index, (_, needed), part in zip(
                chosen, drawn, log_p.split([len(part.boxes) for part, _ in drawn]), strict=True
            )
        ]
        loss = torch.stack(losses).mean()
        if len(recall):
            rows = rng.choice(len(recall), settings.patches, p=recall)
            known = np.concatenate([remembered.labels[row] for row in rows])
            labelled = torch.from_numpy(known != NO_LABEL)
            logits = tail.logits([remembered.patches[row] for row in rows], rng)[labelled] + shift
            weight = torch.from_numpy(np.concatenate([of_windows[row] for row in rows])).float()
            each = group_losses(logits, torch.from_numpy(known)[labelled])
            loss = loss + settings.remember * (weight * each).sum() / len(rows)
        away = [(value - old).square().sum() for value, old in zip(tail.fitted, first, strict=True)]
        loss = loss + settings.stay * torch.stack(away).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        for value, old in zip(tail.fitted, first, strict=True):
            value.lerp_(old, settings.keep)
    return tail


def _quarters(windows: Windows) -> list[tuple[Windows, tuple[int, ...]]]:
    """Return every other window of every other row, from each of the four first ones; neighbours show much the same.

    With each is the number of its windows that must agree on each group.
    """
    place = [(box.row // THINNED % 2, box.col // THINNED % 2) for box in windows.boxes]
    parts = [windows[[row for row, own in enumerate(place) if own == first]] for first in sorted(set(place))]
    return [(part, part.needed) for part in parts]


def _chances(remembered: Remembered) -> tuple[Float, list[Float]]:
    """Return how often each patch is drawn, and how much each labelled window of a patch counts then.

    Together each window counts by `_even`.
    """
    known = [labels[labels != NO_LABEL] for labels in remembered.labels]
    if not known:
        return np.zeros(0), []
    chance = np.split(_even(np.concatenate(known)), np.cumsum([len(part) for part in known])[:-1])
    patches = np.array([part.sum() for part in chance])
    return patches / patches.sum(), [part / max(part.sum(), 1e-12) for part in chance]


def _even(classes: Sequence[int] | npt.NDArray[np.int64]) -> Float:
    """Return drawing probabilities that favour rare classes: each class by the square root of its number."""
    counts = np.bincount(np.asarray(classes), minlength=len(CLASSES)).astype(float)
    chance = 1 / np.sqrt(counts[np.asarray(classes)])
    normalised: Float = chance / chance.sum()
    return normalised


def _crystals() -> Tensor:
    """Return 1 for each class of crystals, ``(13,)``."""
    crystals = torch.zeros(len(CLASSES))
    crystals[list(GROUP_CLASSES[Group.CRYSTAL])] = 1
    return crystals


def crystal_shift(tail: Tail, patches: Sequence[Windows], labels: Sequence[npt.NDArray[np.int64]]) -> float:
    """Return what to add to the crystals' logits so that they fit the remembered patches.

    Crystals are far more frequent among these windows than on a plate, and an exported classifier allows for that by
    a shift (`export.shift_crystals`), which fitting must not undo. So this offset is added to the logits whenever
    they are compared with the remembered windows (logit adjustment, Menon et al. 2021).
    """
    known = np.concatenate(labels)
    labelled = torch.from_numpy(known != NO_LABEL)
    truth = torch.from_numpy(known)[labelled]
    chance = torch.from_numpy(_even(truth.numpy())).float()
    with torch.inference_mode():
        logits = tail.logits(patches)[labelled]
        shifts = torch.arange(-2, 6.01, 0.25).tolist()
        losses = [float(chance @ group_losses(logits + shift * _crystals(), truth)) for shift in shifts]
    best: float = shifts[int(np.argmin(losses))]
    return best
