"""Judge trained states on the chops of a set: Table 2 of Thielmann et al. (2023), and Merck's missed crystals.

Chops of one well look alike, so the intervals, which assume independent chops, are narrower than they should be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import log_loss
from torch import nn
from tqdm import tqdm

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import network_input
from xtalgrid_core.markdown import table
from xtalgrid_core.outcomes import SCORED_GROUPS, Group

from ..fit.losses import class_of_label, group_of_class
from ..sets.reading import ChopSet
from ..states import SEGMENTERS, load_trained
from .metrics import Share, auc, share_of
from .tables import text

BATCH = 64
MB = 2**20
"""The unit called MB in the paper's Table 2: its sizes are those of float32 parameters in units of 2²⁰ bytes."""

_CRYSTAL = SCORED_GROUPS.index(Group.CRYSTAL)

Floats = npt.NDArray[np.float64]


class Part(msgspec.Struct, frozen=True):
    """Figures on some chops: those of one source, from the training or the held-out plates.

    `loss` is the mean cross-entropy in nats; `missed_crystals` counts the crystal chops with no crystal class among
    the 1, 2, 3 most probable (Ghafurian et al. 2018); `crystal_auc` the area under the ROC of the crystal classes'
    summed probability.
    """

    source: str
    part: str
    wells: int
    accuracy: Share
    top5: Share | None
    loss: float
    groups: Share
    crystals: Share
    missed_crystals: list[Share]
    crystal_auc: float | None


class State(msgspec.Struct, frozen=True):
    """A row of Table 2: the network, and its training as far as recorded."""

    file: str
    network: str
    classes: int
    parameters: int
    size_mb: float
    epochs: float | None
    seconds: float | None
    seconds_an_epoch: float | None
    device: str | None
    parts: list[Part]


def judge_states(
    folder: Path, states: Sequence[Path], *, training: int = 5000, most: int | None = None, device: str = "cpu"
) -> list[State]:
    """Judge trained states on one set.

    Parameters
    ----------
    folder
        The chop set.
    states
        ``.pt`` files of classifiers.
    training
        Number of chops of the training plates to judge on as well, drawn at random; 0 for none.
    most
        Largest number of held-out chops, drawn at random; None for all.
    device
        Where torch runs.

    Raises
    ------
    XtalgridError
        If the set or a state can't be read, or the set has no held-out plate.
    """
    chops = ChopSet(folder)
    train, held = (rows[~chops.group_only(chops.wells[rows])] for rows in chops.split())  # a group is not a class
    if not len(held):
        raise ConfigError(f"{folder}: no chops of held-out plates with a known class to judge on; give another set")
    rng = np.random.default_rng(0)
    parts = {"held out": _some(held, most, rng), "training": _some(train, training, rng)}
    return [_judge(path, chops, {name: rows for name, rows in parts.items() if len(rows)}, device) for path in states]


def figures(probabilities: Floats, labels: npt.NDArray[np.integer], source: str, part: str, wells: int) -> Part:
    """Compute the figures of chops.

    Parameters
    ----------
    probabilities
        ``(N, classes)``, rows sum to 1: for the 13 outcomes, or the paper's five classes.
    labels
        ``(N,)``: indices of the classes.
    source, part, wells
        Origin of the chops, copied into the result.
    """
    classes = probabilities.shape[1]
    group = group_of_class(classes)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    crystal = group[labels] == _CRYSTAL
    shows = [(group[order[:, :n]] == _CRYSTAL).any(axis=1) for n in (1, 2, 3)]
    summed = probabilities[:, group == _CRYSTAL].sum(axis=1)
    return Part(
        source=source,
        part=part,
        wells=wells,
        accuracy=share_of(order[:, 0] == labels),
        top5=share_of((order[:, :5] == labels[:, None]).any(axis=1)) if classes > 5 else None,
        loss=float(log_loss(labels, probabilities, labels=range(classes))),
        groups=share_of(group[order[:, 0]] == group[labels]),
        crystals=share_of(shows[0][crystal]),
        missed_crystals=[share_of(~shown[crystal]) for shown in shows],
        crystal_auc=auc(summed, crystal) if crystal.any() and not crystal.all() else None,
    )


def _judge(path: Path, chops: ChopSet, parts: dict[str, npt.NDArray[np.intp]], device: str) -> State:
    net, record = load_trained(path)
    if record["network"] in SEGMENTERS:
        raise ConfigError(f"{path}: this is a segmenter; give a classifier")
    beside = path.with_name("record.json")
    if "seconds_an_epoch" not in record and beside.is_file():
        record = {**json.loads(beside.read_text(encoding="utf-8")), **record}
    classes = len(_probabilities(net, chops.take(parts["held out"][:1]), "cpu")[0])
    net.to(device)
    source_of = np.array([row.source for row in chops.table])
    figures_of_parts = []
    for name, rows in parts.items():
        probabilities = _all(net, chops, rows, device, f"{path.name}, {name}")
        labels = class_of_label(classes)[chops.labels[rows]]
        sources = source_of[chops.wells[rows]]
        for source in sorted(set(sources.tolist())):
            of_source = sources == source
            wells = len(set(chops.wells[rows[of_source]].tolist()))
            figures_of_parts.append(figures(probabilities[of_source], labels[of_source], source, name, wells))
    parameters = sum(value.numel() for value in net.parameters())
    return State(
        file=str(path),
        network=record["network"],
        classes=classes,
        parameters=parameters,
        size_mb=4 * parameters / MB,
        epochs=record.get("epochs"),
        seconds=record.get("seconds"),
        seconds_an_epoch=record.get("seconds_an_epoch"),
        device=record.get("device"),
        parts=figures_of_parts,
    )


def _all(net: nn.Module, chops: ChopSet, rows: npt.NDArray[np.intp], device: str, what: str) -> Floats:
    starts = tqdm(range(0, len(rows), BATCH), desc=what, unit="batch", leave=False, disable=None)
    return np.concatenate([_probabilities(net, chops.take(rows[start : start + BATCH]), device) for start in starts])


@torch.inference_mode()
def _probabilities(net: nn.Module, pixels: npt.NDArray[np.uint8], device: str) -> Floats:
    logits = net(torch.from_numpy(network_input(pixels)).to(device)).double()
    probabilities: Floats = torch.softmax(logits, dim=1).cpu().numpy()
    return probabilities


def _some(rows: npt.NDArray[np.intp], most: int | None, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    if most is None or len(rows) <= most:
        return rows
    return np.sort(rng.choice(rows, most, replace=False))


def markdown(states: Sequence[State]) -> str:
    """Format Table 2, and the figures that crystallographers ask for first, by source."""
    lines = [
        "Networks as in Table 2 of Thielmann et al. 2023 (MB: 2²⁰ bytes of float32 parameters):",
        "",
        *table(
            (
                "network",
                "classes",
                "parameters",
                "MB",
                "epochs",
                "total time, h",
                "time per epoch, min",
                "trained on",
                "file",
            ),
            [
                (
                    s.network,
                    str(s.classes),
                    f"{s.parameters:,}",
                    f"{s.size_mb:.1f}",
                    _number(s.epochs, 1),
                    _number(s.seconds, 2, 3600),
                    _number(s.seconds_an_epoch, 2, 60),
                    s.device or "–",
                    s.file,
                )
                for s in states
            ],
        ),
    ]
    for source, part in dict.fromkeys((p.source, p.part) for s in states for p in s.parts):
        judged = [(s, p) for s in states for p in s.parts if (p.source, p.part) == (source, part)]
        lines += ["", f"{source}, {part} plates ({judged[0][1].accuracy.of} chops of {judged[0][1].wells} wells):", ""]
        lines += table(
            (
                "network", "accuracy", "top-5", "loss", "group right", "crystals found", "missed with top-2",
                "missed with top-3", "AUC of crystals",
            ),
            [
                (
                    f"{s.network} ({s.classes})",
                    text(p.accuracy),
                    text(p.top5) if p.top5 else "–",
                    f"{p.loss:.3f}",
                    text(p.groups),
                    text(p.crystals),
                    text(p.missed_crystals[1]),
                    text(p.missed_crystals[2]),
                    "–" if p.crystal_auc is None else f"{p.crystal_auc:.4f}",
                )
                for s, p in judged
            ],
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def _number(value: Any, digits: int, unit: float = 1) -> str:
    return "–" if value is None else f"{value / unit:.{digits}f}"
