"""Table 3 of Thielmann et al. (2023) from stored windows, for comparing networks of any architecture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from xtalgrid_core.decision import pooled_group
from xtalgrid_core.markdown import table
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS

from .calibrate import pooled_by_other_plates
from .metrics import Success, share_of
from .rule import called_as_published
from .tables import text
from .windows import WindowSet

THRESHOLDS = (0.85, 0.8)
"""The paper's two."""

POOLED = "pooled"


def table3(wells: WindowSet) -> dict[str, Success]:
    """Return the success by group, under each rule.

    The rules are ``published`` with each of `THRESHOLDS` (``c = 0.85``), and ``pooled``, each plate by a pooling fitted
    to all the others, which needs no threshold and so treats sure and unsure networks alike. The latter is missing if
    there are too few plates to fit it.
    """
    found = {
        f"c = {threshold:.2f}": _success(wells.groups, called)
        for threshold, called in zip(THRESHOLDS, called_as_published(wells, THRESHOLDS), strict=True)
    }
    pooled = pooled_by_other_plates(wells)
    if pooled is not None:
        found[POOLED] = _success(wells.groups, pooled_group(pooled, DEFAULTS.crystal_from))
    return found


def _success(truth: npt.NDArray[np.int64], called: npt.NDArray[np.integer]) -> Success:
    right = called == truth
    return Success(
        {str(group): share_of(right[truth == index]) for index, group in enumerate(SCORED_GROUPS)}, share_of(right)
    )


def markdown(found: dict[str, Success]) -> str:
    """Format the table."""
    groups: Sequence[str] = [str(group) for group in SCORED_GROUPS]
    rows = [
        (rule, *(text(success.groups[group]) for group in groups), text(success.weighted_mean))
        for rule, success in found.items()
    ]
    return "\n".join(table(("rule", *groups, "weighted mean"), rows)) + "\n"
