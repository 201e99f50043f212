"""A candidate model against the one in use, on wells neither was fitted on: what ``adapt`` writes and ``promote`` reads.

The comparison lies beside a candidate's weights as ``comparison.json``. It names both pairs of models by their SHA-256, so
that it can't be taken for another candidate's, nor for one made against a model that is no longer in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from .errors import BrokenModel
from .files import write_atomically
from .outcomes import Group

COMPARISON = "comparison.json"

MARGIN = 0.02
"""Part of a frozen source's crystal wells (at least one well) that may change sides by chance."""

Verdict = Literal["better", "not better"]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one pair of models made of the wells of one source; a well is right when its group is."""

    right: Mapping[Group, int]
    """Wells of each true group that were called that group."""
    false_crystals: int
    """Wells of the other groups that were called crystal."""
    undecided: int


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Wells of one origin, never mixed with another's, and what both pairs made of them."""

    name: str
    kind: Literal["lab", "frozen"]
    """``lab``: held-out wells of the lab's own, which must get better; ``frozen``: always the same ones, for what must not be lost."""
    wells: Mapping[Group, int]
    """How many wells of each true group were judged."""
    current: Figures
    candidate: Figures


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What ``comparison.json`` holds; pairs are (segmenter, classifier)."""

    schema: Literal[1] = 1
    candidate: tuple[str, str]
    current: tuple[str, str]
    sources: tuple[Source, ...]
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why the verdict is what it is, for people."""
    made_at: str
    """UTC, ISO 8601."""


def judge(sources: Sequence[Source], margin: float = MARGIN) -> tuple[Verdict, tuple[str, ...]]:
    """Whether a candidate may take the place of the current pair, and why.

    It may when it is right about more of the lab's held-out wells, calls no more of them crystals wrongly (beyond `margin` of
    them), and loses no crystal on any source, nor on all of them together, beyond `margin` of the crystal wells. A comparison without crystal wells, or
    without wells of the lab, proves nothing: not better.

    Parameters
    ----------
    sources
        Each with the figures of both pairs.
    margin
        Part of the wells, 0..1; always at least one well is allowed, since one may change sides by chance.
    """
    against, for_it = [], []
    for source in sources:
        crystals = source.wells.get(Group.CRYSTAL, 0)
        before, after = (f.right.get(Group.CRYSTAL, 0) for f in (source.current, source.candidate))
        allowed = max(1, round(margin * crystals))
        if before - after > allowed:
            against.append(
                f"{source.name}: {after} of {crystals} crystals found, {before} before (at most {allowed} fewer)"
            )
        elif crystals:
            for_it.append(f"{source.name}: {after} of {crystals} crystals found, {before} before")
        others = sum(source.wells.values()) - crystals
        allowed = max(1, round(margin * others))
        more = source.candidate.false_crystals - source.current.false_crystals
        if more > allowed:
            against.append(
                f"{source.name}: {source.candidate.false_crystals} of {others} other wells called crystal, "
                f"{source.current.false_crystals} before (at most {allowed} more)"
            )
    found = {
        pair: sum(getattr(s, pair).right.get(Group.CRYSTAL, 0) for s in sources) for pair in ("current", "candidate")
    }
    crystals = sum(source.wells.get(Group.CRYSTAL, 0) for source in sources)
    allowed = max(1, round(margin * crystals))
    if found["current"] - found["candidate"] > allowed:  # one here and one there add up
        against.append(
            f"all sources: {found['candidate']} of {crystals} crystals found, {found['current']} before (at most {allowed} fewer)"
        )
    lab = [source for source in sources if source.kind == "lab"]
    total = sum(sum(source.wells.values()) for source in lab)
    before, after = (sum(sum(getattr(s, pair).right.values()) for s in lab) for pair in ("current", "candidate"))
    said = f"the lab's held-out wells: {after} of {total} right, {before} before"
    if not total:
        against.append("no held-out wells of the lab were judged")
    else:
        (for_it if after > before else against).append(said)
    if not any(source.wells.get(Group.CRYSTAL, 0) for source in sources if source.kind == "frozen"):
        against.append("no frozen source has crystal wells, so crystals could be lost unseen")
    return ("not better", tuple(against)) if against else ("better", tuple(for_it))


def read_comparison(folder: Path) -> Comparison | None:
    """The comparison beside a candidate's weights; None when there is none.

    Raises
    ------
    BrokenModel
        When it does not follow the format.
    """
    path = folder / COMPARISON
    try:
        return msgspec.json.decode(path.read_bytes(), type=Comparison)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise BrokenModel(
            f"{path}: no comparison of models ({error}); make it again with `xtalgrid-train adapt`"
        ) from error


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Put a comparison beside a candidate's weights."""
    write_atomically(folder / COMPARISON, msgspec.json.format(msgspec.json.encode(comparison), indent=1) + b"\n")
