"""Write the candidate's folder of weights, and compare the candidate with the models in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from xtalgrid_core import markdown, wire
from xtalgrid_core.comparison import Comparison, Source, judge, write_comparison
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.onnx_files import with_note
from xtalgrid_core.options import Rule
from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome
from xtalgrid_core.pooling import Pooling
from xtalgrid_core.possible import PossibleGroups
from xtalgrid_core.weights import (
    MANIFEST,
    PACKAGED,
    Role,
    Variant,
    default_models,
    find_model,
    manifest_of,
    named_by_decision,
)

from ..judge.scoring import Settings as Scoring
from ..judge.scoring import score_wells
from ..judge.truth import Truth, by_source
from .choose import UNDECIDED, source
from .decider import Decider

ADAPTED = "xtalgrid.adapted"
"""Key of the note in an adapted classifier's file."""

ROLES: tuple[Role, Role] = ("segmenter", "classifier")

_PRODUCTION = Scoring()


@dataclass(frozen=True, slots=True)
class Network:
    """A classifier as an ONNX file."""

    file: bytes
    variant: Variant
    architecture: str


def write_candidate(
    out: Path, current: Path, decider: Decider, possible: PossibleGroups, second: str, network: Network | None = None
) -> None:
    """Write the networks in use into `out`, the classifier with another decision and so with another name.

    Parameters
    ----------
    current
        Folder of the weights in use.
    possible
        Which groups are possible.
    second
        SHA-256 of the second opinion that the decider combines; empty: none.
    network
        A classifier in place of the one in use.
    """
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for sha256, role in zip(default_models(current), ROLES, strict=True):
        entry, data = find_model(sha256, role, [current])
        for folder in (current, PACKAGED):
            if entry.card and (folder / entry.card).is_file():
                write_atomically(out / f"{role}.md", (folder / entry.card).read_bytes())
                break
        entry = msgspec.structs.replace(entry, file=f"{role}.onnx", card=f"{role}.md")
        if role == "classifier":
            if network is not None:
                variant, architecture, data = network.variant, network.architecture, network.file
                entry = msgspec.structs.replace(entry, variant=variant, architecture=architecture, origin="")
            adapted = msgspec.structs.replace(
                entry,
                pooling=decider.pooling,
                combination=decider.combination,
                combined_with=second,
                possible=possible,
            )
            entry, data = named_by_decision(adapted, with_note(data, ADAPTED, "by `xtalgrid model adapt`"))
        write_atomically(out / entry.file, data)
        entries.append(entry)
    default = {entry.role: entry.sha256 for entry in entries}
    manifest = manifest_of(default, entries)
    write_atomically(out / MANIFEST, msgspec.json.encode(manifest))


def pooling_of(weights: Path) -> Pooling | None:
    """Return the pooling of a folder's default classifier."""
    entry, _ = find_model(default_models(weights)[1], "classifier", [weights])
    return entry.pooling


def outcomes(
    truths: Sequence[Truth], weights: Path, keep: Path, jobs: int, settings: Scoring = _PRODUCTION
) -> list[Outcome]:
    """Score wells with the real worker and a folder's weights, in other ways as `settings` say."""
    rule: Rule = "group" if pooling_of(weights) is None else "pooled"
    settings = replace(settings, weights=weights, rule=rule)
    answers = score_wells(truths, settings, keep, jobs)
    return [a.outcome if isinstance(a := answers[t.path], wire.Scored) else Outcome.FAILED for t in truths]


def frozen_sources(
    truths: Sequence[Truth], current: Path, candidate: Path, keep: Path, jobs: int, settings: Scoring = _PRODUCTION
) -> tuple[list[Source], dict[Path, str]]:
    """Score fixed sets of wells with the real worker and both folders of weights.

    Returns the sources, and the images that fail with either, with the reason: a crystal that nobody can find would
    count as one that is not lost.
    """
    ordered = [truth for wells in by_source(truths).values() for truth in wells]
    both = [outcomes(ordered, weights, keep, jobs, settings) for weights in (current, candidate)]
    fails = [Outcome.FAILED in each for each in zip(*both, strict=True)]
    unread = {
        truth.path: "frozen, and can't be scored, so it judges nothing"
        for truth, fail in zip(ordered, fails, strict=True)
        if fail
    }
    before, after = (
        np.array([_index(one.group) for one, fail in zip(each, fails, strict=True) if not fail]) for each in both
    )
    ordered = [truth for truth in ordered if truth.path not in unread]
    groups = np.array([_index(truth.group) if truth.sure else UNDECIDED for truth in ordered])
    names = np.array([truth.source for truth in ordered])
    sources = [
        source(name, "frozen", *(each[(names == name) & (groups != UNDECIDED)] for each in (groups, before, after)))
        for name in by_source(ordered)
    ]
    return sources, unread


def _index(group: Group | None) -> int:
    """Return the index of a group that people and networks both give; `UNDECIDED` for others."""
    return SCORED_GROUPS.index(group) if group in SCORED_GROUPS else UNDECIDED


def compare(
    out: Path, current: Path, made: tuple[str, str], sources: Sequence[Source], second: str, crystal_from: float
) -> Comparison:
    """Compare the candidate in `out` with the models in use, and write the comparison beside its weights.

    Raises
    ------
    ConfigError
        If that is no longer the candidate `made`: another run wrote there, and these figures are not its own.
    """
    if default_models(out) != made:
        raise ConfigError(f"{out}: another run has written its candidate here meanwhile; run one after the other")
    verdict, reasons = judge(sources)
    comparison = Comparison(
        candidate=made,
        current=default_models(current),
        sources=tuple(sources),
        verdict=verdict,
        reasons=reasons,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        second_opinion=second,
        crystal_from=crystal_from,
    )
    write_comparison(out, comparison)
    return comparison


def table(sources: Sequence[Source]) -> list[str]:
    """Format the comparison as a Markdown table, before → after."""
    groups = [group.value for group in SCORED_GROUPS]
    rows = []
    for item in sources:
        total = sum(item.wells.values())
        cells = [item.name, str(total)]
        for group in SCORED_GROUPS:
            of = item.wells.get(group, 0)
            cells.append(
                f"{item.current.right.get(group, 0)} → {item.candidate.right.get(group, 0)} of {of}" if of else "–"
            )
        before, after = (sum(f.right.values()) for f in (item.current, item.candidate))
        others = total - item.wells.get(Group.CRYSTAL, 0)
        cells.append(f"{before} → {after} ({_percent(before, total)} → {_percent(after, total)})")
        cells.append(f"{item.current.false_crystals} → {item.candidate.false_crystals} of {others}")
        cells.append(f"{item.current.undecided} → {item.candidate.undecided}")
        rows.append(cells)
    return markdown.table(("source", "wells", *groups, "all right", "others called crystal", "undecided"), rows)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
