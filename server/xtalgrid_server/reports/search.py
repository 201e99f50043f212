"""``search``: find the conditions and samples that gave crystals or any other outcome, by program or by people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from xtalgrid_core.wilson import wilson

from ..ledger.store import Ledger
from .entries import DropInspection, Filter, drops

Key = Literal["condition", "sample", "project", "plate", "drop"]
KEYS: tuple[Key, ...] = get_args(Key)


@dataclass(frozen=True, slots=True)
class DropGroup:
    """A group of drops with the same keys, such as the same condition.

    Attributes
    ----------
    drops
        Number of drops with an inspection that counts: with `Filter.scored_by_people`, only those that a person scored.
    matching
        Number of drops that showed the outcome at some inspection.
    interval
        Of the fraction that did (Wilson, 95 %).
    p_crystal
        The largest at an inspection that showed the outcome; which one, `barcode`, `well` and `inspection` say. None if
        none of these inspections has an ARTscore.
    """

    keys: tuple[str, ...]
    drops: int
    matching: int
    interval: tuple[float, float]
    p_crystal: float | None
    barcode: str
    well: str
    inspection: int
    inspected: datetime


@dataclass(slots=True)
class Tally:
    """Drops with the same keys: how many there are and showed the outcome, and the inspection that showed it best."""

    drops: int = 0
    matching: int = 0
    best: DropInspection | None = None


def search(ledger: Ledger, chosen: Filter, group_by: Sequence[Key]) -> list[DropGroup]:
    """Group drops by `group_by`, and return the groups in which at least one drop showed the outcome.

    If a person scored an inspection, that score counts instead of the ARTscore. A drop counts once, however often it
    was inspected.

    Returns
    -------
    Largest number of matching drops first, then largest fraction of them, then largest `p_crystal`.
    """
    return ranked(tally(ledger, chosen, group_by))


def tally(
    ledger: Ledger, chosen: Filter, group_by: Sequence[Key], go_on: Callable[[], object] = bool
) -> dict[tuple[str, ...], Tally]:
    """Count the drops of all groups, also of those in which none showed the outcome; calls `go_on` at each drop."""
    groups: dict[tuple[str, ...], Tally] = {}
    for drop in drops(ledger, chosen):
        go_on()
        counted = [inspection for inspection in drop if chosen.counts(inspection)]
        if not counted:
            continue
        group = groups.setdefault(_keys(drop[0], group_by), Tally())
        group.drops += 1
        matching = [inspection for inspection in counted if chosen.fits(inspection)]
        if matching:
            group.matching += 1
            best = max(matching, key=_p_crystal)
            if group.best is None or _p_crystal(best) > _p_crystal(group.best):
                group.best = best
    return groups


def ranked(groups: Mapping[tuple[str, ...], Tally]) -> list[DropGroup]:
    """Return the groups in which a drop showed the outcome, in the order of `search`."""
    matching_groups = [_drop_group(keys, group, group.best) for keys, group in groups.items() if group.best is not None]
    return sorted(
        matching_groups, key=lambda one: (-one.matching, -one.matching / one.drops, -(one.p_crystal or 0.0), one.keys)
    )


def _p_crystal(inspection: DropInspection) -> float:
    """Return the sort key by `p_crystal`, for which an inspection without one comes last."""
    return -1.0 if inspection.p_crystal is None else inspection.p_crystal


def _drop_group(keys: tuple[str, ...], group: Tally, best: DropInspection) -> DropGroup:
    image = max(best.entries, key=lambda entry: entry.image.p_crystal).image
    return DropGroup(
        keys=keys,
        drops=group.drops,
        matching=group.matching,
        interval=wilson(group.matching, group.drops),
        p_crystal=best.p_crystal,
        barcode=image.barcode,
        well=str(image.well),
        inspection=image.inspection,
        inspected=image.inspected,
    )


def _keys(inspection: DropInspection, group_by: Sequence[Key]) -> tuple[str, ...]:
    image, contents = inspection.best.image, inspection.best.contents
    values = {
        "condition": contents.condition,
        "sample": contents.sample,
        "project": contents.project,
        "plate": image.barcode,
        "drop": f"{image.barcode} {image.well}",
    }
    return tuple(values[key] for key in group_by)
