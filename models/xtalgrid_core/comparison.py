"""Comparison of a candidate model with the current one, on wells that neither was trained on.

``xtalgrid-train adapt`` writes it and ``xtalgrid model promote`` reads it. It lies beside the candidate's weights as
``comparison.json`` and names both pairs of models by their SHA-256, so that it can't be mistaken for the comparison of
another candidate, or with a model that is no longer in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from .errors import BrokenModel
from .files import write_atomically
from .options import DEFAULTS
from .outcomes import Group

COMPARISON = "comparison.json"

MARGIN = 0.02
"""Fraction of a source's wells that may change between the models by chance; always at least one well."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Results of one pair of models on the wells of one source; a well is right if its group is."""

    right: Mapping[Group, int]
    """Wells of each true group that were assigned to it."""
    false_crystals: int
    """Wells of the other groups that were called crystals."""
    undecided: int


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Wells of one origin, and the results of both pairs of models on them."""

    name: str
    kind: Literal["lab", "frozen"]
    """``lab``: the lab's own held-out wells, which must improve; ``frozen``: a fixed set, against regressions."""
    wells: Mapping[Group, int]
    """Number of wells of each true group."""
    current: Figures
    candidate: Figures


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``comparison.json``; pairs are (segmenter, classifier)."""

    schema: Literal[1] = 1
    candidate: tuple[str, str]
    current: tuple[str, str]
    sources: tuple[Source, ...]
    verdict: Literal["better", "not better"]
    reasons: tuple[str, ...]
    """The reasons for the verdict, for people."""
    made_at: str
    """UTC, ISO 8601."""
    second_opinion: str = ""
    """SHA-256 of the second opinion that both were combined with; empty: none."""
    crystal_from: float = DEFAULTS.crystal_from
    """The `p_crystal` from which both called a well a crystal."""


def judge(sources: Sequence[Source], margin: float = MARGIN) -> tuple[Literal["better", "not better"], tuple[str, ...]]:
    """Decide whether a candidate is better than the current pair of models, and why.

    It is better if it is right about more of the lab's held-out wells, and within `margin` finds as many crystals (on
    each source, and on all of them together) with as few false crystals (on each source). A comparison without wells
    of the lab, with wells of only one group there, or without crystal wells in a frozen source, proves nothing: not
    better.

    Parameters
    ----------
    sources
        Each with the results of both pairs.
    margin
        Fraction of the wells, 0..1; at least one well is always allowed, since one may change by chance.

    Returns
    -------
    The verdict, and its reasons.
    """
    reasons_against, reasons_for = [], []
    for source in sources:
        crystals = source.wells.get(Group.CRYSTAL, 0)
        before, after = (f.right.get(Group.CRYSTAL, 0) for f in (source.current, source.candidate))
        allowed = max(1, round(margin * crystals))
        if before - after > allowed:
            reasons_against.append(
                f"{source.name}: {after} of {crystals} crystals found, {before} before (at most {allowed} fewer)"
            )
        elif crystals:
            reasons_for.append(f"{source.name}: {after} of {crystals} crystals found, {before} before")
        others = sum(source.wells.values()) - crystals
        allowed = max(1, round(margin * others))
        more = source.candidate.false_crystals - source.current.false_crystals
        if more > allowed:
            reasons_against.append(
                f"{source.name}: {source.candidate.false_crystals} of {others} other wells called crystals, "
                f"{source.current.false_crystals} before (at most {allowed} more)"
            )
    crystals_found = {
        pair: sum(getattr(s, pair).right.get(Group.CRYSTAL, 0) for s in sources) for pair in ("current", "candidate")
    }
    crystals = sum(source.wells.get(Group.CRYSTAL, 0) for source in sources)
    allowed = max(1, round(margin * crystals))
    if crystals_found["current"] - crystals_found["candidate"] > allowed:  # small losses on several sources add up
        reasons_against.append(
            f"all sources: {crystals_found['candidate']} of {crystals} crystals found, "
            f"{crystals_found['current']} before (at most {allowed} fewer)"
        )
    lab = [source for source in sources if source.kind == "lab"]
    total = sum(sum(source.wells.values()) for source in lab)
    before, after = (sum(sum(getattr(s, pair).right.values()) for s in lab) for pair in ("current", "candidate"))
    if not total:
        reasons_against.append("the lab has no held-out wells")
    else:
        (reasons_for if after > before else reasons_against).append(
            f"the lab's held-out wells: {after} of {total} right, {before} before"
        )
        groups = {group for source in lab for group, wells in source.wells.items() if wells}
        if len(groups) < 2:
            reasons_against.append(
                f"the lab's held-out wells are all {next(iter(groups)).value}, which a model that says this of every "
                "well would get right; score wells of other groups too"
            )
    if not any(source.wells.get(Group.CRYSTAL, 0) for source in sources if source.kind == "frozen"):
        reasons_against.append("no frozen source has crystal wells, so lost crystals would go unnoticed")
    return ("not better", tuple(reasons_against)) if reasons_against else ("better", tuple(reasons_for))


def read_comparison(folder: Path) -> Comparison | None:
    """Read the comparison beside a candidate's weights; None if there is none.

    Raises
    ------
    BrokenModel
        If the file cannot be read or does not follow the format.
    """
    path = folder / COMPARISON
    try:
        return msgspec.json.decode(path.read_bytes(), type=Comparison)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BrokenModel(
            f"{path}: not a valid comparison of models ({error}); make it again with `xtalgrid-train adapt`"
        ) from error


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write a comparison beside a candidate's weights."""
    write_atomically(folder / COMPARISON, msgspec.json.format(msgspec.json.encode(comparison), indent=1) + b"\n")
