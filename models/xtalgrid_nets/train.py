"""The training loops: read top to bottom, no framework."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from xtalgrid_core.images import MEAN_RGB
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, SCORED_GROUPS

from .augment import degraded, exposed, turned
from .networks.squeezenet import SqueezeNet, load_imagenet
from .segmenter import segmenter

_GROUP_SHARES = {"crystal": 0.27, "precipitate": 0.21, "other": 0.14, "clear": 0.38}
"""How often a training batch shows each group: clear and rim most, since most chops of most wells are those."""


def normalised(pixels: Tensor) -> Tensor:
    """Pixels ``(N, 3, H, W)``, 0..255, as the networks take them."""
    return pixels - torch.tensor(MEAN_RGB).view(1, 3, 1, 1)


def group_matrix() -> Tensor:
    """``(13, 4)``: 1 where a class belongs to a group."""
    matrix = torch.zeros(len(CLASSES), len(SCORED_GROUPS))
    for column, group in enumerate(SCORED_GROUPS):
        matrix[list(GROUP_CLASSES[group]), column] = 1
    return matrix


def chop_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the 4 groups, and with less weight of the 13 classes, whose borders are a matter of taste."""
    log_p = F.log_softmax(logits, dim=1)
    groups = group_matrix()
    of_group = torch.stack([torch.logsumexp(log_p[:, groups[:, g] > 0], dim=1) for g in range(groups.shape[1])], dim=1)
    return F.nll_loss(of_group, groups.argmax(dim=1)[labels]) + 0.4 * F.nll_loss(log_p, labels)


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy and soft Dice of each image (an image without a drop has only the first)."""
    bce = F.binary_cross_entropy_with_logits(logits, masks)
    p = torch.sigmoid(logits)
    both, either = (p * masks).sum(dim=(1, 2, 3)), (p + masks).sum(dim=(1, 2, 3))
    present = masks.sum(dim=(1, 2, 3)) > 0
    dice = 1 - (2 * both + 1) / (either + 1)
    return bce + (dice * present).sum() / present.sum().clamp(min=1)


class ChopSet:
    """The chops of several rendered sets, as one: `labels` ``(N,)`` and `wells` ``(N,)`` in memory, the pixels on disk."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._pixels = [np.load(folder / "chops.npy", mmap_mode="r") for folder in folders]
        self._starts = np.cumsum([0] + [len(pixels) for pixels in self._pixels])
        self.labels: npt.NDArray[np.uint8] = np.concatenate([np.load(folder / "labels.npy") for folder in folders])
        wells = [np.load(folder / "wells.npy") for folder in folders]
        self.wells: npt.NDArray[np.int64] = np.concatenate([w + 10_000_000 * i for i, w in enumerate(wells)])

    def take(self, indices: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        """Chops ``(n, 3, H, W)`` at these indices."""
        which = np.searchsorted(self._starts, indices, side="right") - 1
        chosen = [self._pixels[k][i - self._starts[k]].transpose(2, 0, 1) for k, i in zip(which, indices, strict=True)]
        return np.stack(chosen)


def fit_classifier(
    data: Sequence[Path],
    out: Path,
    *,
    start: Path | None,
    steps: int,
    batch: int = 32,
    rate: float = 6e-4,
    seed: int = 0,
    resume: Path | None = None,
    frozen: int = 0,
) -> None:
    """Train SqueezeNet on rendered chops; the state goes to `out`, a record of the run beside it.

    The first `frozen` layers of the features stay as they are: ImageNet's edges and textures serve here too, can't grow fond of what
    only rendered pictures have, and half of the time is saved.
    """
    torch.manual_seed(seed)
    net = SqueezeNet()
    if resume is not None:
        net.load_state_dict(torch.load(resume))
    elif start is not None:
        load_imagenet(net, start)
    net.features[:frozen].requires_grad_(False)
    chops = ChopSet(data)
    train, _ = split(chops.wells)
    random = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(seed)
        weight = _balance(chops.labels[train])
        while True:
            chosen = np.sort(train[rng.choice(len(train), batch, p=weight)])
            x, _ = turned(torch.from_numpy(chops.take(chosen)), None, random)
            y = torch.from_numpy(chops.labels[chosen].astype(np.int64))
            yield normalised(degraded(exposed(x, random).float(), random)), y

    record = {
        "data": [str(folder) for folder in data],
        "batch": batch,
        "seed": seed,
        "frozen": frozen,
        "role": "classifier",
    }
    _fit(net, batches(), chop_loss, steps, rate, out, record)


def fit_segmenter(
    data: Sequence[Path],
    out: Path,
    *,
    start: Path | None,
    steps: int,
    batch: int = 16,
    rate: float = 8e-4,
    seed: int = 0,
    resume: Path | None = None,
) -> None:
    """Train the U-Net on rendered views; the state goes to `out`, a record of the run beside it."""
    torch.manual_seed(seed)
    net = segmenter()
    if resume is not None:
        net.load_state_dict(torch.load(resume))
    elif start is not None:
        load_imagenet(net.encoder, start)  # type: ignore[arg-type]
    views, masks = (np.concatenate([np.load(folder / name) for folder in data]) for name in ("views.npy", "masks.npy"))
    random = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(seed)
        while True:
            chosen = np.sort(rng.integers(0, len(views), batch))
            x = torch.from_numpy(views[chosen]).permute(0, 3, 1, 2).contiguous()
            y = torch.from_numpy(masks[chosen])[:, None].float() / 255
            x, turned_y = turned(x, y, random)
            assert turned_y is not None
            yield normalised(degraded(exposed(x.contiguous(), random).float(), random, strongest=2.5)), turned_y

    _fit(
        net,
        batches(),
        mask_loss,
        steps,
        rate,
        out,
        {"data": [str(folder) for folder in data], "batch": batch, "seed": seed, "role": "segmenter"},
    )


def split(wells: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of the chops to train on, and of those held out: every tenth well."""
    held = wells % 10 == 9
    return np.flatnonzero(~held), np.flatnonzero(held)


def _balance(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """A weight for each chop that gives the groups their shares, and inside a group rarer classes somewhat more."""
    counts = np.bincount(labels, minlength=len(CLASSES)).astype(float)
    weight = np.zeros(len(labels))
    for group, members in GROUP_CLASSES.items():
        inside = {rank: counts[rank] ** 0.5 for rank in members if counts[rank]}
        for rank, part in inside.items():
            weight[labels == rank] = _GROUP_SHARES[group.value] * part / sum(inside.values()) / counts[rank]
    return weight / weight.sum()


def _fit(
    net: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], loss_of, steps: int, rate: float, out: Path, record: dict
) -> None:  # type: ignore[no-untyped-def, type-arg]
    """AdamW with warm-up and a cosine to zero; bfloat16 where the processor has it."""
    net.train().to(memory_format=torch.channels_last)
    learning = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    encoder = [p for name, p in learning if "features" in name]
    rest = [p for name, p in learning if "features" not in name]
    groups = [{"params": encoder, "lr": rate * 0.5}, {"params": rest, "lr": rate}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [rate * 0.5, rate], total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    began, running = time.time(), 0.0
    progress = tqdm(range(steps), desc=str(record["role"]), mininterval=10)
    for step in progress:
        x, y = next(batches)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(x.to(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), y)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        value = loss.item()
        running = value if not step else 0.98 * running + 0.02 * value
        progress.set_postfix(loss=f"{running:.3f}", refresh=False)
        if step % 200 == 199 or step == steps - 1:
            torch.save(net.state_dict(), out)
    record |= {
        "steps": steps,
        "rate": rate,
        "loss": round(running, 4),
        "seconds": round(time.time() - began),
        "torch": torch.__version__,
    }
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
