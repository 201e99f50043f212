"""Write the report: ``report.json`` for programs, ``report.md`` and figures for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from xtalgrid_core.files import write_atomically
from xtalgrid_core.markdown import table
from xtalgrid_core.outcomes import SCORED_GROUPS

from .judged import Confusion, Judged
from .marco import HOW_TO_GET, Beside
from .metrics import BINS, share
from .tables import slug, slugs, text

OTHERS_OPENED = (0.05, 0.10, 0.20)
CRYSTALS_FOUND = (0.90, 0.95, 0.99)
_ENDS = tuple(f"-{what}" for what in ("confusion", "coverage", "classes", "roc", "opened", "reliability"))
"""Of the names of figures, see `draw`."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``report.json``."""

    schema: int
    worker: str
    options: str
    weights: dict[str, str]
    sources: list[Judged]
    marco: list[Beside] | None = None
    """Ours beside MARCO's network, source by source and in total; None if that network isn't imported."""


def draw(judged: Judged, folder: Path, start: str = "") -> dict[str, Path]:
    """Draw all figures that a source allows; return their files by name.

    The files' names begin with `start`, by default with the source's name.
    """
    from . import figures

    def path(what: str) -> Path:
        return folder / f"{start or slug(judged.source)}-{what}.png"

    files: dict[str, Path] = {}
    groups = judged.groups
    if judged.sure:
        files["Confusion, groups"] = figures.draw_confusion(
            groups.counts, groups.rows, groups.columns, f"{judged.source}: wells", path("confusion")
        )
        files["Accuracy against coverage"] = figures.draw_coverage(judged.coverage, judged.source, path("coverage"))
    if judged.classes:
        files["Confusion, classes"] = figures.draw_confusion(
            judged.classes.counts,
            judged.classes.rows,
            judged.classes.columns,
            f"{judged.source}: wells",
            path("classes"),
        )
    if judged.roc:
        files["ROC of p_crystal"] = figures.draw_roc(judged.roc, judged.source, path("roc"))
        files["Crystals found against wells opened"] = figures.draw_opened(
            judged.roc, judged.plates, judged.source, path("opened")
        )
    if judged.reliability:
        files["Reliability of p_crystal"] = figures.draw_reliability(
            judged.reliability, judged.source, path("reliability")
        )
    return files


def write(report: Report, folder: Path, command: str) -> Path:
    """Write ``report.json``, ``report.md`` and the figures; return the Markdown file.

    Figures of an earlier report's other sources are removed, as they would be taken for this one's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = slugs(judged.source for judged in report.sources)
    drawn = {judged.source: draw(judged, folder / "figures", starts[judged.source]) for judged in report.sources}
    write_atomically(folder / "report.json", msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    figures = {
        source: {what: path.relative_to(folder).as_posix() for what, path in paths.items()}
        for source, paths in drawn.items()
    }
    write_atomically(folder / "report.md", markdown(report, figures, command).encode())
    new = {path for paths in drawn.values() for path in paths.values()}
    for path in (folder / "figures").glob("*.png"):
        if path not in new and path.stem.endswith(_ENDS):
            path.unlink()
    return folder / "report.md"


def markdown(report: Report, figures: Mapping[str, Mapping[str, str]], command: str) -> str:
    """Format the report for people: a table of all sources, then one section for each."""
    lines = [
        "# How good the scores are",
        "",
        f"`{command}`",
        "",
        f"{report.worker}; options: `{report.options}`; weights: "
        + ", ".join(f"{role} `{sha256[:12]}`" for role, sha256 in report.weights.items())
        + ".",
        "",
        "No figure mixes sources. Right and wrong are counted only on wells with a certain judgement. Undecided and "
        "failed wells are never right. A well is *opened* if its user has to look at it: it is called crystal, "
        "undecided or failed. Parentheses contain the counts and Wilson's 95 % interval.",
        "",
        *table(
            (
                "source",
                "wells",
                "called crystal",
                "undecided",
                "crystals found",
                "other wells opened",
                "group right",
                "ECE of p_crystal",
            ),
            [
                (
                    judged.source,
                    str(judged.images),
                    text(judged.called_crystal),
                    text(judged.undecided),
                    text(judged.crystals_found),
                    text(judged.others_opened),
                    text(next(iter(judged.table3.values())).weighted_mean),
                    f"{judged.reliability.ece:.3f}" if judged.reliability else "–",
                )
                for judged in report.sources
            ],
        ),
    ]
    lines += ["", "## Beside MARCO's network", "", *_beside(report.marco)]
    for judged in report.sources:
        lines += ["", *_section(judged, figures.get(judged.source, {}))]
    return "\n".join(lines) + "\n"


def _beside(rows: Sequence[Beside] | None) -> list[str]:
    if rows is None:
        return [f"MARCO: {HOW_TO_GET}."]
    head = ("source", "group right", "MARCO's", "crystals called", "MARCO's", "others called crystal", "MARCO's")
    shares = [
        (row.right, row.marco_right, row.crystals, row.marco_crystals, row.false, row.marco_false) for row in rows
    ]
    names = [f"{row.source} ({row.apart})" if row.apart else row.source for row in rows]
    return [
        "MARCO has no class for an empty well, so empty wells are left out of *group right*. "
        "Sources with a remark in parentheses are out of the total.",
        "",
        *table(head, [(name, *map(text, each)) for name, each in zip(names, shares, strict=True)]),
    ]


def _section(judged: Judged, figures: Mapping[str, str]) -> list[str]:
    lines = [f"## {judged.source} ({judged.kind}, {judged.images} wells)", ""]
    lines.append(f"* With a certain judgement: {judged.sure} of {judged.images}.")
    if judged.failed:
        lines.append("* Failed: " + ", ".join(f"{count} × {reason}" for reason, count in judged.failed.items()) + ".")
    lines += [
        f"* Called crystal: {text(judged.called_crystal)}; undecided: {text(judged.undecided)}; "
        f"null experiment: {text(judged.null_experiments)}.",
        f"* Empty wells called null experiment: {text(judged.empty_found)}; wells with a drop called null experiment: "
        f"{text(judged.drops_called_empty)}.",
    ]
    if judged.outlines:
        o = judged.outlines
        lines.append(
            f"* Drop outline against {o.masks} masks graded good: IoU mean {o.mean:.3f}, median {o.median:.3f}, "
            f"minimum {o.least:.3f}; below 0.5: {o.below_half}."
        )
    if judged.seconds_median is not None:
        lines.append(f"* CPU seconds per well: median {judged.seconds_median:.2f}, maximum {judged.seconds_most:.2f}.")
    if not judged.sure:
        return lines
    lines += ["", "Success by group (Table 3 of Thielmann et al. 2023), by threshold:", ""]
    lines += table(
        ("threshold", *(group.value for group in SCORED_GROUPS), "weighted mean"),
        [
            (name, *(text(row.groups[group.value]) for group in SCORED_GROUPS), text(row.weighted_mean))
            for name, row in judged.table3.items()
        ],
    )
    lines += ["", "Judgements (rows) against calls (columns):", "", *_confusion_table(judged.groups)]
    if judged.classes:
        lines += ["", *_confusion_table(judged.classes)]
    if judged.crystals_called.of:
        lines += ["", *_crystals(judged)]
    lines += ["", *_confidence(judged)]
    for what, path in figures.items():
        lines += ["", f"![{judged.source}: {what}]({path})"]
    return lines


def _crystals(judged: Judged) -> list[str]:
    called = judged.crystals_called
    missed = share(called.of - called.hits, called.of)
    lines = [
        f"Crystal wells called crystal: {text(called)}; missed: {text(missed)}; opened, including undecided ones: "
        f"{text(judged.crystals_found)}, along with {text(judged.others_opened)} of the other wells.",
        "",
        "Counting the n most probable classes, as Ghafurian et al. (2018) do (the class called first, then by largest "
        "probability over the chops, without rim):",
        "",
        *table(
            ("n", "crystal wells missed", "other wells called crystal", "class right"),
            [
                (str(t.n), text(t.missed_crystals), text(t.others_called_crystal), text(t.right_class))
                for t in judged.top
            ],
        ),
    ]
    if judged.roc:
        curve, total = judged.roc, judged.roc.crystals + judged.roc.others
        failed = f"; {judged.sure - total} that failed have none, and are left out" if judged.sure > total else ""
        lines += [
            "",
            f"Ranked by p_crystal: AUC {curve.auc:.3f} ({curve.crystals} crystal wells, {curve.others} others{failed})"
            ".",
            "",
        ]
        lines += [
            f"* With {limit:.0%} of the other wells opened, crystals found: {text(curve.found_at(limit))}."
            for limit in OTHERS_OPENED
        ]
        lines += [
            f"* {part:.0%} of the crystals are found after {opened} of {total} wells ({opened / total:.1%})."
            for part in CRYSTALS_FOUND
            for opened in [curve.opened_for(part)]
        ]
    if len(judged.plates) > 1:
        lines += [
            "",
            *table(
                ("plate", "wells", "crystals called", "crystals found", "other wells opened"),
                [
                    (p.name, str(p.wells), text(p.crystals_called), text(p.crystals_found), text(p.others_opened))
                    for p in judged.plates
                ],
            ),
        ]
    return lines


def _confidence(judged: Judged) -> list[str]:
    lines = ["If only answers with at least this probability counted:", ""]
    rows = [row for i, row in enumerate(judged.coverage) if not i or row.answered != judged.coverage[i - 1].answered]
    lines += table(
        ("probability", "answered", "right of these", "right of all"),
        [
            (
                "any" if c.cutoff == 0 else f"{c.cutoff:g}",
                *map(text, (c.answered, c.right_of_answered, c.right_of_all)),
            )
            for c in rows
        ],
    )
    if judged.reliability:
        r = judged.reliability
        lines += ["", f"p_crystal: ECE {r.ece:.3f} ({BINS} bins of equal width), Brier score {r.brier:.3f}.", ""]
        lines += table(
            ("p_crystal", "mean", "wells that are crystals"),
            [(f"{b.low:.1f}–{b.high:.1f}", f"{b.mean:.3f}", text(b.crystals)) for b in r.bins],
        )
    return lines


def _confusion_table(counts: Confusion) -> list[str]:
    used = [i for i, line in enumerate(counts.counts) if sum(line)]
    return table(
        ("judged", *counts.columns),
        [(counts.rows[i], *(str(count) if count else "·" for count in counts.counts[i])) for i in used],
    )
