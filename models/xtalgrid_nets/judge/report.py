"""Every figure of a source's wells, as numbers (``report.json``), as Markdown (``report.md``), and drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from xtalgrid_core import wire
from xtalgrid_core.files import write_atomically
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome

from .metrics import (
    BINS,
    Coverage,
    Plate,
    Reliability,
    Roc,
    Share,
    Success,
    TopN,
    confusion,
    coverage,
    plates,
    reliability,
    roc,
    share,
    share_of,
    success,
    top_classes,
    top_n,
)
from .tables import slug, table, text
from .truth import Kind, Truth

Answers = Mapping[Path, wire.Image]

GROUP_CALLS = (*(group.value for group in SCORED_GROUPS), Outcome.UNDECIDED.value, Outcome.FAILED.value)
CLASS_ROWS = tuple(outcome.value for outcome in CLASSES if outcome is not Outcome.RIM)
CLASS_CALLS = (*CLASS_ROWS, Outcome.UNDECIDED.value, Outcome.FAILED.value)
OTHERS_OPENED = (0.05, 0.10, 0.20)
CRYSTALS_FOUND = (0.90, 0.95, 0.99)


class Confusion(msgspec.Struct, frozen=True):
    """Counts of judged (rows) against called (columns)."""

    rows: Sequence[str]
    columns: Sequence[str]
    counts: list[list[int]]


class Outlines(msgspec.Struct, frozen=True):
    """Intersection over union of drop outlines with masks graded good."""

    masks: int
    mean: float
    median: float
    least: float
    below_half: int


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one source. What is right or wrong is counted on the wells whose judgement is sure (`sure`)."""

    source: str
    kind: Kind
    images: int
    sure: int
    failed: dict[str, int]
    called_crystal: Share
    undecided: Share
    null_experiments: Share
    empty_found: Share
    drops_called_empty: Share
    table3: dict[str, Success]
    groups: Confusion
    classes: Confusion | None
    crystals_called: Share
    crystals_found: Share
    others_opened: Share
    top: list[TopN]
    roc: Roc | None
    plates: list[Plate]
    coverage: list[Coverage]
    reliability: Reliability | None
    outlines: Outlines | None
    seconds_median: float | None
    seconds_most: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``report.json`` holds."""

    schema: int
    worker: str
    options: str
    weights: dict[str, str]
    sources: list[Judged]


def judge(truths: Sequence[Truth], runs: Mapping[str, Answers]) -> Judged:
    """Judge the wells of one source.

    Parameters
    ----------
    truths
        Its wells.
    runs
        Answers by threshold; the first is the one judged, the others stand in Table 3 only.
    """
    answers = next(iter(runs.values()))
    images = [answers[truth.path] for truth in truths]
    scored = [image for image in images if isinstance(image, wire.Scored)]
    sure = [(truth, answers[truth.path]) for truth in truths if truth.sure and truth.group is not None]
    groups = [truth.group for truth, _ in sure if truth.group is not None]
    called = [_called(image) for _, image in sure]
    crystal = np.array([group is Group.CRYSTAL for group in groups], bool)
    is_called = np.array([outcome.group is Group.CRYSTAL for outcome in called], bool)
    opened = is_called | np.array([outcome.group is Group.UNKNOWN for outcome in called], bool)
    right = np.array([outcome.group is group for outcome, group in zip(called, groups, strict=True)], bool)
    ranked = [top_classes(_called(i), i.probabilities if isinstance(i, wire.Scored) else ()) for _, i in sure]
    known = [(t.outcome, c) for (t, _), c in zip(sure, called, strict=True) if t.outcome is not None]
    empty = np.array([truth.outcome is Outcome.NULL_EXPERIMENT for truth, _ in sure], bool)
    is_null = np.array([outcome is Outcome.NULL_EXPERIMENT for outcome in called], bool)
    p = np.array([image.p_crystal if isinstance(image, wire.Scored) else np.nan for _, image in sure])
    has_p = np.isfinite(p)
    return Judged(
        source=truths[0].source,
        kind=truths[0].kind,
        images=len(truths),
        sure=len(sure),
        failed=dict(Counter(image.reason.value for image in images if isinstance(image, wire.Failed))),
        called_crystal=share_of([image.outcome.group is Group.CRYSTAL for image in scored]),
        undecided=share_of([image.outcome is Outcome.UNDECIDED for image in scored]),
        null_experiments=share_of([image.outcome is Outcome.NULL_EXPERIMENT for image in scored]),
        empty_found=share_of(is_null[empty]),
        drops_called_empty=share_of(is_null[~empty]),
        table3={name: success(groups, [_called(run[truth.path]) for truth, _ in sure]) for name, run in runs.items()},
        groups=Confusion(
            [group.value for group in SCORED_GROUPS],
            GROUP_CALLS,
            confusion(groups, [_call_group(outcome) for outcome in called], SCORED_GROUPS, GROUP_CALLS),
        ),
        classes=_class_confusion(known),
        crystals_called=share_of(is_called[crystal]),
        crystals_found=share_of(opened[crystal]),
        others_opened=share_of(opened[~crystal]),
        top=[top_n(groups, [truth.outcome for truth, _ in sure], ranked, n) for n in (1, 2, 3)] if sure else [],
        roc=roc(p[has_p], crystal[has_p]),
        plates=plates([truth.plate for truth, _ in sure], crystal, called),
        coverage=coverage(
            np.array([image.probability if isinstance(image, wire.Scored) else 0.0 for _, image in sure]),
            right,
            np.array([outcome.group is not Group.UNKNOWN for outcome in called], bool),
        ),
        reliability=reliability(p[has_p], crystal[has_p]),
        outlines=_outlines(truths, answers),
        seconds_median=float(np.median([image.seconds for image in scored])) if scored else None,
        seconds_most=max((image.seconds for image in scored), default=None),
    )


def outline_iou(scored: wire.Scored, mask: Path) -> float:
    """Intersection over union, 0..1, of the drop's outline with a mask picture (white, one region, on black)."""
    with Image.open(mask) as picture:
        truth = np.asarray(picture.convert("L")) > 0
    height, width = truth.shape
    drawn = Image.new("L", (width, height), 0)
    points = [(col * width / scored.width, row * height / scored.height) for row, col in scored.drop.outline]
    if len(points) > 2:
        ImageDraw.Draw(drawn).polygon(points, fill=1)
    found: npt.NDArray[np.bool_] = np.asarray(drawn) > 0
    return float((truth & found).sum() / max((truth | found).sum(), 1))


def _outlines(truths: Sequence[Truth], answers: Answers) -> Outlines | None:
    overlaps = []
    for truth in truths:
        image = answers[truth.path]
        if truth.mask:
            overlaps.append(outline_iou(image, truth.mask) if isinstance(image, wire.Scored) else 0.0)
    if not overlaps:
        return None
    return Outlines(
        len(overlaps),
        float(np.mean(overlaps)),
        float(np.median(overlaps)),
        min(overlaps),
        sum(overlap < 0.5 for overlap in overlaps),
    )


def _called(image: wire.Image) -> Outcome:
    return image.outcome if isinstance(image, wire.Scored) else Outcome.FAILED


def _call_group(outcome: Outcome) -> str:
    return outcome.value if outcome.group is Group.UNKNOWN else outcome.group.value


def _class_confusion(known: Sequence[tuple[Outcome, Outcome]]) -> Confusion | None:
    """Only where classes are what was judged, not groups and `null experiment`."""
    if not any(true is not Outcome.NULL_EXPERIMENT for true, _ in known):
        return None
    truth = [Outcome.CLEAR.value if true is Outcome.RIM else true.value for true, _ in known]
    return Confusion(
        CLASS_ROWS, CLASS_CALLS, confusion(truth, [call.value for _, call in known], CLASS_ROWS, CLASS_CALLS)
    )


def draw(judged: Judged, folder: Path) -> dict[str, Path]:
    """Draw what can be drawn of a source; the figures' files by what they show."""
    from . import figures

    def path(what: str) -> Path:
        return folder / f"{slug(judged.source)}-{what}.png"

    found: dict[str, Path] = {}
    groups = judged.groups
    if judged.sure:
        found["Confusion, groups"] = figures.draw_confusion(
            groups.counts, groups.rows, groups.columns, f"{judged.source}: wells", path("confusion")
        )
        found["Accuracy against coverage"] = figures.draw_coverage(judged.coverage, judged.source, path("coverage"))
    if judged.classes:
        found["Confusion, classes"] = figures.draw_confusion(
            judged.classes.counts,
            judged.classes.rows,
            judged.classes.columns,
            f"{judged.source}: wells",
            path("classes"),
        )
    if judged.roc:
        found["ROC of p_crystal"] = figures.draw_roc(judged.roc, judged.source, path("roc"))
        found["Crystals found against wells opened"] = figures.draw_opened(
            judged.roc, judged.plates, judged.source, path("opened")
        )
    if judged.reliability:
        found["Reliability of p_crystal"] = figures.draw_reliability(
            judged.reliability, judged.source, path("reliability")
        )
    return found


def write(report: Report, folder: Path, command: str) -> Path:
    """Write ``report.json``, ``report.md`` and the figures; the Markdown file."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {judged.source: draw(judged, folder / "figures") for judged in report.sources}
    write_atomically(folder / "report.json", msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    figures = {
        source: {what: path.relative_to(folder).as_posix() for what, path in paths.items()}
        for source, paths in drawn.items()
    }
    write_atomically(folder / "report.md", markdown(report, figures, command).encode())
    return folder / "report.md"


def markdown(report: Report, figures: Mapping[str, Mapping[str, str]], command: str) -> str:
    """The report for people: a table of all sources, then each by itself."""
    lines = [
        "# How good the scores are",
        "",
        f"`{command}`",
        "",
        f"{report.worker}; options: `{report.options}`; weights: "
        + ", ".join(f"{role} `{sha256[:12]}`" for role, sha256 in report.weights.items())
        + ".",
        "",
        "Each source by itself, never two in one figure. Right and wrong are counted on wells whose judgement is sure. `undecided` and "
        "failed wells are never right. *Opened* is what a user has to look at: called crystal, undecided, failed. "
        "In parentheses: counts, and Wilson's 95 % interval.",
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
    for judged in report.sources:
        lines += ["", *_section(judged, figures.get(judged.source, {}))]
    return "\n".join(lines) + "\n"


def _section(judged: Judged, figures: Mapping[str, str]) -> list[str]:
    lines = [f"## {judged.source} ({judged.kind}, {judged.images} wells)", ""]
    lines.append(f"* Judged surely: {judged.sure} of {judged.images}.")
    if judged.failed:
        lines.append("* Failed: " + ", ".join(f"{count} × {reason}" for reason, count in judged.failed.items()) + ".")
    lines += [
        f"* Called crystal: {text(judged.called_crystal)}; undecided: {text(judged.undecided)}; "
        f"null experiment: {text(judged.null_experiments)}.",
        f"* Empty wells called null experiment: {text(judged.empty_found)}; wells with a drop called so: {text(judged.drops_called_empty)}.",
    ]
    if judged.outlines:
        o = judged.outlines
        lines.append(
            f"* Drop outline against {o.masks} masks graded good: IoU mean {o.mean:.3f}, median {o.median:.3f}, least {o.least:.3f}; "
            f"below 0.5: {o.below_half}."
        )
    if judged.seconds_median is not None:
        lines.append(f"* CPU seconds a well: median {judged.seconds_median:.2f}, most {judged.seconds_most:.2f}.")
    if not judged.sure:
        return lines
    lines += ["", "Success by group (Table 3 of Thielmann et al. 2023), at each threshold:", ""]
    lines += table(
        ("threshold", *(group.value for group in SCORED_GROUPS), "weighted mean"),
        [
            (name, *(text(row.groups[group.value]) for group in SCORED_GROUPS), text(row.weighted_mean))
            for name, row in judged.table3.items()
        ],
    )
    lines += ["", "Judged (rows) against called:", "", *_confusion_table(judged.groups)]
    if judged.classes:
        lines += ["", *_confusion_table(judged.classes)]
    if judged.crystals_called.of:
        lines += ["", *_crystals(judged)]
    lines += ["", *_doubt(judged)]
    for what, path in figures.items():
        lines += ["", f"![{judged.source}: {what}]({path})"]
    return lines


def _crystals(judged: Judged) -> list[str]:
    called = judged.crystals_called
    missed = share(called.of - called.hits, called.of)
    lines = [
        f"Crystal wells called crystal: {text(called)}; missed: {text(missed)}; opened, undecided ones with them: "
        f"{text(judged.crystals_found)}, with {text(judged.others_opened)} of the other wells.",
        "",
        "With the n most probable classes (the one called, then by largest probability over the chops, rim left out), as Ghafurian et al. (2018) count:",
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
        lines += [
            "",
            f"Ranked by p_crystal: AUC {curve.auc:.3f} ({curve.crystals} crystal wells, {curve.others} others).",
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


def _doubt(judged: Judged) -> list[str]:
    lines = ["If only answers of at least this probability counted:", ""]
    told = [row for i, row in enumerate(judged.coverage) if not i or row.answered != judged.coverage[i - 1].answered]
    lines += table(
        ("probability", "answered", "right of these", "right of all"),
        [
            (
                "as it is" if c.cutoff == 0 else f"{c.cutoff:g}",
                *map(text, (c.answered, c.right_of_answered, c.right_of_all)),
            )
            for c in told
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
    kept = [i for i, line in enumerate(counts.counts) if sum(line)]
    return table(
        ("judged", *counts.columns),
        [(counts.rows[i], *(str(count) if count else "·" for count in counts.counts[i])) for i in kept],
    )
