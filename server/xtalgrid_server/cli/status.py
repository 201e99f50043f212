"""``xtalgrid status``: one screen with the state of the pipeline and what needs a person."""

from __future__ import annotations

from collections.abc import Iterator

from xtalgrid_core.outcomes import Outcome

from ..config import Config
from ..ledger.store import Ledger
from ..steps.create_work import archive
from ..steps.step import paused


def status_lines(config: Config, ledger: Ledger) -> Iterator[str]:
    """Yield the lines of the status screen."""
    counts = ledger.counts()
    reason = paused(ledger)
    yield f"system      {reason or 'running'}"
    yield f"units       {_pairs(counts['units'], ('planned', 'sent', 'returned', 'failed'))}"
    yield f"results     {_pairs(counts['results'], ('accepted', 'refused'))}"
    yield f"scores      {_pairs(counts['scores'], [str(o) for o in Outcome])}"
    yield f"decisions   {_pairs(counts['actions'], ('publish', 'hold', 'keep', 'shadow', 'reject', 'none'))}"
    yield f"score table {counts['published']['rows']} rows written"
    old = archive(config, ledger)
    if old is not None and old.before is not None:
        done = f"{old.read} of {old.images} images read ({old.read / max(old.images, 1):.1%})"
        date = f"{old.before.inspected:%Y-%m-%d}"
        yield f"archive     {done}, back to {date}; `xtalgrid create_work --backfill` continues"
    for unit in ledger.units.in_states("failed"):
        yield f"failed unit {unit.name}: {unit.detail}; `xtalgrid create_work --retry` plans its images again"
    failures = ledger.failures.of_files()
    for file, why, detail in failures[:20]:
        yield f"no score    {file}: {why} ({detail})"
    if len(failures) > 20:
        yield f"            … and {len(failures) - 20} more"
    held = counts["actions"].get("hold", 0)
    if held:
        yield (
            f"to review   {held} held scores: see the newest CSV in the outbox, "
            "then `xtalgrid approve` or `xtalgrid reject`"
        )


def _pairs(counts: dict[str, int], order: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"{counts[key]} {key}" for key in order if counts.get(key)) or "none yet"
