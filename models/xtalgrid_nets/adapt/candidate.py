"""Write the candidate's folder of weights, and compare the candidate with the models in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from xtalgrid_core import markdown, wire
from xtalgrid_core.comparison import Comparison, Figures, Source, judge, write_comparison
from xtalgrid_core.files import write_atomically
from xtalgrid_core.options import Rule
from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome
from xtalgrid_core.pooling import Pooling
from xtalgrid_core.possible import PossibleGroups
from xtalgrid_core.weights import (
    MANIFEST,
    PACKAGED,
    Role,
    Variant,
    WeightsManifest,
    default_models,
    find_model,
    named_by_decision,
)

from ..judge.scoring import Settings as Scoring
from ..judge.scoring import score
from ..judge.truth import Truth, by_source
from .decider import Decider

ROLES: tuple[Role, Role] = ("segmenter", "classifier")


@dataclass(frozen=True, slots=True)
class Network:
    """A classifier as an ONNX file."""

    file: bytes
    variant: Variant
    architecture: str


def figures(truths: Sequence[Truth], called: Sequence[Outcome]) -> Figures:
    """Count the results on wells whose group is known."""
    right: Counter[Group] = Counter()
    false = undecided = 0
    for truth, outcome in zip(truths, called, strict=True):
        assert truth.group is not None
        right[truth.group] += outcome.group is truth.group
        false += outcome.group is Group.CRYSTAL and truth.group is not Group.CRYSTAL
        undecided += outcome in (Outcome.UNDECIDED, Outcome.FAILED)
    return Figures(right=dict(right), false_crystals=false, undecided=undecided)


def source(
    name: str, kind: str, truths: Sequence[Truth], current: Sequence[Outcome], candidate: Sequence[Outcome]
) -> Source:
    """Collect one source's figures; only its certain judgements count."""
    sure = [i for i, truth in enumerate(truths) if truth.sure and truth.group in SCORED_GROUPS]
    wells = [truths[i] for i in sure]
    return Source(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        wells=dict(Counter(truth.group for truth in wells if truth.group)),
        current=figures(wells, [current[i] for i in sure]),
        candidate=figures(wells, [candidate[i] for i in sure]),
    )


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
            entry, data = named_by_decision(adapted, data)
        write_atomically(out / entry.file, data)
        entries.append(entry)
    default = {entry.role: entry.sha256 for entry in entries}
    manifest = WeightsManifest(schema=1, default=default, models=tuple(entries))
    write_atomically(out / MANIFEST, msgspec.json.encode(manifest))


def pooling_of(weights: Path) -> Pooling | None:
    """Return the pooling of a folder's default classifier."""
    entry, _ = find_model(default_models(weights)[1], "classifier", [weights])
    return entry.pooling


def outcomes(
    truths: Sequence[Truth], weights: Path, keep: Path, jobs: int, second_opinion: Path | None = None
) -> list[Outcome]:
    """Score wells with the real worker and a folder's weights."""
    rule: Rule = "group" if pooling_of(weights) is None else "pooled"
    settings = Scoring(weights=weights, rule=rule, second_opinion=second_opinion)
    answers = score([truth.path for truth in truths], settings, keep, jobs)
    return [a.outcome if isinstance(a := answers[t.path], wire.Scored) else Outcome.FAILED for t in truths]


def frozen_sources(
    truths: Sequence[Truth], current: Path, candidate: Path, keep: Path, jobs: int, second_opinion: Path | None = None
) -> list[Source]:
    """Score fixed sets of wells with the real worker and both folders of weights."""
    ordered = [truth for wells in by_source(truths).values() for truth in wells]
    before, after = (outcomes(ordered, weights, keep, jobs, second_opinion) for weights in (current, candidate))
    sources, first = [], 0
    for name, wells in by_source(truths).items():
        part = slice(first, first + len(wells))
        sources.append(source(name, "frozen", wells, before[part], after[part]))
        first += len(wells)
    return sources


def compare(out: Path, current: Path, sources: Sequence[Source]) -> Comparison:
    """Compare the candidate in `out` with the models in use, and write the comparison beside its weights."""
    verdict, reasons = judge(sources)
    comparison = Comparison(
        candidate=default_models(out),
        current=default_models(current),
        sources=tuple(sources),
        verdict=verdict,
        reasons=reasons,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
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
