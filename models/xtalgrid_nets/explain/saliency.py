"""SmoothGrad: where in a drop a change would change the probability that the decision depends on.

A chop of the exact grid does not lie on whole cells of the class map. It is replaced by the nearest one that does, at
most 8 pixels away along each side, and classified in the context of the image. So for a score made with ``--exact``
the answer differs a little from the published one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xtalgrid_core.chops import CELLS, CHOP, STRIDE, Box, by_size, dense_length
from xtalgrid_core.decision import Decision, chops_needed, group_evidence, mean_coverage, pooled_group
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, PRIORITY, SCORED_GROUPS, Outcome
from xtalgrid_core.pooling import LEAST, Pooling, group_sums, ranks
from xtalgrid_scoring.windows import Windows

from ..networks import class_map_of

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answer:
    """A probability that a decision depends on.

    Attributes
    ----------
    of
        Description of the probability, for people.
    log_p
        Its logarithm, as a function of the logits of the decision's chops, ``(N, 13)``; if several chops decide, the
        sum of their logarithms.
    """

    of: str
    log_p: Callable[[Tensor], Tensor]


def answer_of(decision: Decision, windows: Windows, options: Options, pooling: Pooling | None = None) -> Answer:
    """Return the probability that a decision depends on, by its rule.

    ``pooled``: that in the well of the group that it is called, or would be if it were surer. ``group``: that of the
    outcome's group in the best chops. ``published``: that of the outcome in the best chops. For a well that is
    undecided under these two: the one nearest to the threshold, in the chop where it is largest.

    Parameters
    ----------
    decision
        The decision; it must have at least one best chop.
    pooling
        The pooling that the rule ``pooled`` used.
    """
    if options.rule == "pooled":
        assert pooling is not None, "it has decided"
        index = int(pooled_group(np.array(decision.groups), options.crystal_from))
        coverage = mean_coverage(windows.chops)
        of = f'"{SCORED_GROUPS[index]}" in the well'
        return Answer(of, lambda logits: pooled_log_p(pooling, logits, coverage)[index])
    if decision.outcome is Outcome.UNDECIDED:
        return _nearest(windows, options)
    group = decision.outcome.group
    if options.rule == "group":
        return Answer(f'"{group}" in the best chops', _in_chops(GROUP_CLASSES[group], decision.best))
    return Answer(f'"{decision.outcome}" in the best chops', _in_chops((PRIORITY[decision.outcome],), decision.best))


def pooled_log_p(pooling: Pooling, logits: Tensor, coverage: float) -> Tensor:
    """Compute `Pooling` with gradients, from the logits of a well's chops, ``(N, 13)``.

    Returns the log-probabilities of the four groups in the well, ``(4,)``.
    """
    probabilities = F.softmax(logits.double(), dim=1)
    sums = torch.stack([probabilities[:, list(GROUP_CLASSES[group])].sum(dim=1) for group in SCORED_GROUPS], dim=1)
    ranked = sums.sort(dim=0, descending=True).values
    reached = [ranked[rank - 1] for rank in ranks(coverage, len(ranked))]
    features = torch.logit(torch.cat([*reached, probabilities.mean(dim=0)]).clamp(LEAST, 1 - LEAST))
    weights, intercepts = (torch.tensor(v, dtype=torch.float64) for v in (pooling.weights, pooling.intercepts))
    return F.log_softmax(weights @ features + intercepts, dim=0)


def smooth_grad(
    net: nn.Module,
    image: Tensor,
    chops: Sequence[Box],
    answer: Callable[[Tensor], Tensor],
    samples: int,
    seed: int = 0,
    noise: float = 0.1,
) -> Float:
    """Compute where an answer depends on the image: its gradients, averaged over noisy copies of the image.

    Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise" (arXiv 1706.03825), as used by Bruno et al.
    2018, Fig. 4. "Saliency methods are imperfect and do not in general weigh faithfully all the evidence" (ibid.).

    Parameters
    ----------
    net
        A network with `class_map`, in evaluation mode.
    image
        ``(1, 3, H, W)``, the network's input.
    chops
        N chops of the image, those of one size together.
    answer
        Maps the logits of the chops, ``(N, 13)``, to a log-probability; see `Answer`.
    samples
        Number of noisy copies; with 0, the map is 0 everywhere.
    noise
        Standard deviation of the noise as a fraction of the image's range (10-20 % in the paper).

    Returns
    -------
    ``(H, W)``, 0..1: the largest gradient of the three channels, scaled so that its 99.5th percentile is 1.
    """
    random = torch.Generator().manual_seed(seed)
    spread = noise * float(image.max() - image.min())
    total = torch.zeros(image.shape[2:])
    class_map = class_map_of(net)
    assert class_map is not None
    for _ in range(samples):
        noisy = (image + spread * torch.randn(image.shape, generator=random)).requires_grad_()
        logits = [_chop_logits(class_map, reduced(noisy, size // CHOP), in_view) for size, in_view in by_size(chops)]
        answer(torch.cat(logits)).backward()
        assert noisy.grad is not None
        total += noisy.grad[0].abs().amax(dim=0)
    top = torch.quantile(total.flatten()[:: max(1, total.numel() // 1_000_000)], 0.995).clamp(min=1e-12)
    scaled: Float = (total / top).clamp(0, 1).numpy()
    return scaled


def reduced(image: Tensor, times: int) -> Tensor:
    """Reduce an image, ``(1, 3, H, W)``, and extend it by reflection to whole cells, as `WellDrop.view_for` is."""
    if times == 1:
        return image
    size = [max(round(side / times), 1) for side in image.shape[2:]]
    smaller = F.interpolate(image, size, mode="bilinear", antialias=True)
    rows, cols = (np.pad(np.arange(side), (0, dense_length(side) - side), mode="symmetric") for side in size)
    return smaller[:, :, rows][:, :, :, cols]


def _chop_logits(class_map: Callable[[Tensor], Tensor], image: Tensor, chops: Sequence[Box]) -> Tensor:
    """Return the logits, ``(N, 13)``, of the chops of `CHOP` pixels that are nearest to these on the class map."""
    means = F.avg_pool2d(class_map(image), CELLS, 1)[0]
    rows, cols = ([round(chop[i] / STRIDE) for chop in chops] for i in (0, 1))
    return means[:, rows, cols].T


def _in_chops(classes: Sequence[int], chops: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Return `Answer.log_p` for the total probability of some classes in some chops."""

    def log_p(logits: Tensor) -> Tensor:
        return F.log_softmax(logits[list(chops)], dim=1)[:, list(classes)].logsumexp(dim=1).sum()

    return log_p


def _nearest(windows: Windows, options: Options) -> Answer:
    values = windows.probabilities.astype(np.float64)
    if options.rule == "published":
        chop, best = np.unravel_index(values.argmax(), values.shape)
        return Answer(f'"{CLASSES[best]}" in the chop that shows it most', _in_chops((int(best),), (int(chop),)))
    sums = group_sums(values)
    index = int(np.argmax(group_evidence(sums, chops_needed(windows.chops, options.support))))
    group = SCORED_GROUPS[index]
    chop = sums[:, index].argmax()
    return Answer(f'"{group}" in the chop that shows it most', _in_chops(GROUP_CLASSES[group], (int(chop),)))
