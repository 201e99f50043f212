"""Judge the renderer by the published MARCO network, which has seen 400,000 real wells.

Three tables: what the network calls rendered wells of each class; how far its features of rendered wells lie from
those of real ones (the Fréchet distance of two normal distributions, as in Heusel et al. 2017); and how large and how
strong in contrast what was drawn is, so that it can be told whether a renderer that pleases the network draws less
than before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from scipy.ndimage import uniform_filter
from tqdm import tqdm

from xtalgrid_core.dense import Float
from xtalgrid_core.markdown import table
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome
from xtalgrid_synth import RenderedWell, render_well
from xtalgrid_synth.evaluation_plates import MINSTREL_HALF, RENDERER, ROCK
from xtalgrid_synth.plate import SCREEN

from .marco import Marco
from .truth import Truth

FEWEST = 8
"""Wells that a real source must have for a distance."""

_CLASSES = tuple(outcome for outcome in CLASSES if outcome is not Outcome.RIM)
_QUANTILES = (5, 25, 50, 75, 95)


class Calls(msgspec.Struct, frozen=True):
    """How many wells of a class the network called each group, in the order of `SCORED_GROUPS`."""

    outcome: str
    calls: list[int]
    redrawn: int
    """Wells that were drawn anew because no crystals could be seen."""


class Distance(msgspec.Struct, frozen=True):
    """Fréchet distance of the features of rendered wells and the real ones of a source."""

    source: str
    wells: int
    distance: float


class Looks(msgspec.Struct, frozen=True):
    """Quantiles (5, 25, 50, 75, 95 %) of what was drawn for a class.

    `sizes` are the longer sides of crystals' boxes in % of the picture's longer side; `contrasts` of these boxes are
    the span of grey values between their 5th and 95th percentile, and without boxes the standard deviation of the
    texture in the drop.
    """

    outcome: str
    objects: int
    sizes: list[float]
    contrasts: list[float]


class Critique(msgspec.Struct, frozen=True):
    """All figures, and the version of the renderer that they are of."""

    renderer: str
    seed: int
    calls: list[Calls]
    groups: dict[str, list[float]]
    """For each group the shares (0..1) of its wells called each group, its classes weighted as on a screening plate."""
    distances: list[Distance]
    looks: list[Looks]


@dataclass(slots=True)
class _Class:
    """What was gathered of the wells of one class."""

    outcome: Outcome
    calls: list[Group]
    features: list[Float]
    redrawn: int = 0


def criticise(network: Marco, real: Mapping[str, Sequence[Truth]], wells: int, seed: int) -> Critique:
    """Render `wells` wells of each class, from `seed` on, and compute all figures.

    Parameters
    ----------
    network
        The critic.
    real
        Wells of real sources; those with fewer than `FEWEST` judged ones get no distance.
    """
    found = []
    looks = []
    with tqdm(total=wells * len(_CLASSES), unit="well", leave=False) as bar:
        for rank, outcome in enumerate(_CLASSES):
            kind = _Class(outcome, [], [])
            sizes: list[float] = []
            contrasts: list[float] = []
            for well in _render(outcome, wells, seed + 100_000 * rank):
                bar.update()
                kind.redrawn += bool(well.redrawn)
                _measure(well, sizes, contrasts)
                opinion = network.see(well.image)
                kind.calls.append(opinion.group)
                kind.features.append(opinion.features)
            found.append(kind)
            looks.append(Looks(outcome.value, len(contrasts), _quantiles(sizes), _quantiles(contrasts)))
    calls = [Calls(k.outcome.value, [k.calls.count(group) for group in SCORED_GROUPS], k.redrawn) for k in found]
    distances = [
        Distance(source, len(judged), _distance(network, judged, found))
        for source, truths in real.items()
        if len(judged := [truth for truth in truths if truth.group is not None]) >= FEWEST
    ]
    return Critique(RENDERER, seed, calls, _by_group(found), distances, looks)


def frechet(a: Float, b: Float, weights: Float) -> float:
    """Compute the Fréchet distance of two samples of features, ``(N, F)`` and ``(M, F)``, taken as normal.

    Parameters
    ----------
    weights
        ``(M,)``, summing to 1: of the second sample's rows.

    Notes
    -----
    With centred rows X and Y, weighted by the roots of their weights, the trace of the root of the product of the
    covariances is the sum of the singular values of X Yᵀ, so that no F × F matrix is needed.
    """
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), weights.astype(np.float64) @ b
    x = (a - mean_a) / np.sqrt(len(a))
    y = (b - mean_b) * np.sqrt(weights)[:, None]
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(((mean_a - mean_b) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * cross)


def markdown(found: Critique) -> str:
    """Format the tables for people."""
    groups = [group.value for group in SCORED_GROUPS]
    rows = [(c.outcome, *(f"{n}" for n in c.calls), f"{c.redrawn}") for c in found.calls]
    rows += [(f"**{name}**", *(f"{100 * x:.1f} %" for x in shares), "") for name, shares in found.groups.items()]
    distances = [(each.source, str(each.wells), f"{each.distance:.2f}") for each in found.distances]
    quantiles = " / ".join(map(str, _QUANTILES))
    return "\n".join(
        [
            f"Renderer {found.renderer}, seed {found.seed}.",
            "",
            "What MARCO's network calls rendered wells. Groups: classes weighted as on a screening plate.",
            "",
            *table(("rendered", *groups, "drawn anew"), rows),
            "",
            "Fréchet distance of its features, rendered wells weighted by the groups of the source:",
            "",
            *table(("source", "wells", "distance"), distances),
            "",
            f"What was drawn, quantiles {quantiles} %. Size: longer side of a crystal's box, % of the picture's. "
            "Contrast: grey values between the box's 5th and 95th percentile; without boxes the texture's standard "
            "deviation.",
            "",
            *table(
                ("rendered", "objects", "size", "contrast"),
                [(k.outcome, str(k.objects), _numbers(k.sizes, 1), _numbers(k.contrasts, 1)) for k in found.looks],
            ),
            "",
        ]
    )


def _numbers(values: Sequence[float], digits: int) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values) or "–"


def _render(outcome: Outcome, wells: int, seed: int) -> Iterator[RenderedWell]:
    for number in range(wells):
        camera = (MINSTREL_HALF, ROCK)[number % 2]
        yield render_well(outcome, seed=seed + number, **camera._asdict())


def _measure(well: RenderedWell, sizes: list[float], contrasts: list[float]) -> None:
    """Add the sizes and contrasts of a well's crystals, or the contrast of the texture of a drop without any."""
    grey = well.image.mean(axis=2, dtype=np.float32)
    longest = max(grey.shape)
    if boxes := well.crystal_boxes:
        for box in boxes:
            low, high = np.percentile(grey[box.row : box.row + box.height, box.col : box.col + box.width], (5, 95))
            sizes.append(100 * max(box.height, box.width) / longest)
            contrasts.append(float(high - low))
    elif well.outcome.group is not Group.CRYSTAL and well.drop_mask.any():
        texture = grey - uniform_filter(grey, round(longest / 30))
        contrasts.append(float(texture[well.drop_mask].std()))


def _quantiles(values: Sequence[float]) -> list[float]:
    return [float(value) for value in np.percentile(values, _QUANTILES)] if values else []


def _by_group(found: Sequence[_Class]) -> dict[str, list[float]]:
    shares: dict[str, list[float]] = {}
    for group in SCORED_GROUPS:
        kinds = [k for k in found if k.outcome.group is group and k.outcome is not Outcome.NULL_EXPERIMENT and k.calls]
        weights = np.array([SCREEN[kind.outcome] for kind in kinds])
        counts = np.array([[kind.calls.count(called) / len(kind.calls) for called in SCORED_GROUPS] for kind in kinds])
        shares[group.value] = (weights @ counts / weights.sum()).tolist() if kinds else []
    return shares


def _distance(network: Marco, real: Sequence[Truth], found: Sequence[_Class]) -> float:
    """Compute the distance, rendered wells weighted so that each group is as frequent as in the source."""
    features = np.array([network.read(truth.path).features for truth in real])
    kinds = [_kind(truth.outcome, truth.group) for truth in real]
    rows: list[Float] = []
    weights: list[float] = []
    for each in found:
        share = kinds.count(_kind(each.outcome, each.outcome.group)) / len(kinds)
        same = [k for k in found if _kind(k.outcome, k.outcome.group) == _kind(each.outcome, each.outcome.group)]
        total = sum(SCREEN[k.outcome] for k in same if k.features)
        if share and each.features:
            rows += each.features
            weights += [share * SCREEN[each.outcome] / total / len(each.features)] * len(each.features)
    return frechet(features, np.array(rows), np.array(weights, np.float32) / np.float32(sum(weights)))


def _kind(outcome: Outcome | None, group: Group | None) -> str:
    """Return the group, or that the well is empty."""
    return "empty" if outcome is Outcome.NULL_EXPERIMENT else str(group)
