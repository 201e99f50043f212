"""Draw the report's figures: one source per figure, colour-blind-safe colours (Okabe & Ito), labelled axes.

A figure that a source's wells don't allow (because there are no crystals, say) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from .metrics import BINS, Coverage, Plate, Reliability, Roc

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    _grid(axes)
    return figure, axes


def _grid(axes: Axes) -> None:
    axes.grid(True, color="0.9")
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def draw_roc(curve: Roc, title: str, path: Path) -> Path:
    """Draw crystals found against other wells opened, by rank of `p_crystal`."""
    figure, axes = _axes(
        f"{title}\n{curve.crystals} crystal wells, {curve.others} others", "other wells opened, %", "crystals found, %"
    )
    axes.plot([0, 100], [0, 100], "--", color=GREY, label="by chance")
    axes.plot(
        100 * np.array(curve.others_opened),
        100 * np.array(curve.found),
        color=BLUE,
        label=f"p_crystal, AUC {curve.auc:.3f}",
    )
    axes.set(xlim=(-1, 101), ylim=(-1, 101))
    axes.legend(loc="lower right")
    return _save(figure, path)


def draw_opened(curve: Roc, plates: Sequence[Plate], title: str, path: Path) -> Path:
    """Draw crystals found against wells opened in order of `p_crystal`.

    The point of the decision is marked, for all plates together and for each.
    """
    figure, axes = _axes(title, "wells opened, % of all", "crystals found, %")
    axes.plot([0, 100], [0, 100], "--", color=GREY, label="by chance")
    total = curve.crystals + curve.others
    pairs = list(zip(curve.others_opened, curve.found, strict=True))
    axes.plot(
        [100 * (o * curve.others + f * curve.crystals) / total for o, f in pairs],
        [100 * f for _, f in pairs],
        color=BLUE,
        linewidth=2,
        label="ranked by p_crystal",
    )
    opened = [(p.crystals_found.hits + p.others_opened.hits, p.wells, p.crystals_found) for p in plates]
    if len(plates) > 1:
        points = [(100 * o / wells, 100 * (share.rate or 0)) for o, wells, share in opened if share.of]
        axes.plot(*zip(*points, strict=True), "o", color=GREEN, alpha=0.6, markersize=4, label="each plate, as called")
    axes.plot(
        100 * sum(o for o, _, _ in opened) / sum(wells for _, wells, _ in opened),
        100 * sum(share.hits for *_, share in opened) / max(sum(share.of for *_, share in opened), 1),
        "D",
        color=ORANGE,
        markersize=8,
        label="called crystal or undecided",
    )
    axes.set(xlim=(-1, 101), ylim=(-1, 101))
    axes.legend(loc="lower right")
    return _save(figure, path)


def draw_reliability(reliability: Reliability, title: str, path: Path) -> Path:
    """Draw predicted against observed frequency of crystals, with Wilson intervals, and the wells in each bin."""
    figure = Figure(figsize=(5.0, 5.4), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.set(
        title=f"{title}\nECE {reliability.ece:.3f}, {len(reliability.bins)} of {BINS} equal bins hold wells",
        ylabel="wells that are crystals, %",
    )
    axes.plot([0, 1], [0, 100], "--", color=GREY, label="perfect")
    mean = [b.mean for b in reliability.bins]
    rate = np.array([100 * (b.crystals.rate or 0) for b in reliability.bins])
    low = rate - [100 * (b.crystals.low or 0) for b in reliability.bins]
    high = [100 * (b.crystals.high or 0) for b in reliability.bins] - rate
    error = np.clip([low, high], 0, None)  # rounding can give values just below 0
    axes.errorbar(mean, rate, yerr=error, fmt="o", color=BLUE, capsize=3, label="wells, 95 % interval")
    axes.legend(loc="upper left")
    counts.bar(
        [(b.low + b.high) / 2 for b in reliability.bins], [b.crystals.of for b in reliability.bins], 0.09, color=BLUE
    )
    counts.set(yscale="log", xlabel="p_crystal", ylabel="wells", xlim=(-0.02, 1.02))
    counts.set_ylim(bottom=0.7)
    counts.yaxis.set_major_formatter(ScalarFormatter())
    counts.yaxis.set_minor_formatter(NullFormatter())
    _grid(axes)
    _grid(counts)
    return _save(figure, path)


def draw_coverage(rows: Sequence[Coverage], title: str, path: Path) -> Path:
    """Draw accuracy against coverage as the cutoff on the answer's probability rises.

    In the lower curve undecided wells count as wrong.
    """
    figure, axes = _axes(title, "wells answered, %", "wells whose group is right, %")
    answering = [row for row in rows if row.answered.hits]
    answered = [100 * (row.answered.rate or 0) for row in answering]
    axes.plot(
        answered,
        [100 * (row.right_of_answered.rate or 0) for row in answering],
        "o-",
        color=BLUE,
        label="of the answered",
    )
    axes.plot(
        answered,
        [100 * (row.right_of_all.rate or 0) for row in answering],
        "s--",
        color=ORANGE,
        label="of all, undecided are wrong",
    )
    axes.set(ylim=(0, 102))
    axes.legend(loc="lower left")
    return _save(figure, path)


def draw_confusion(
    counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str], title: str, path: Path
) -> Path:
    """Draw a confusion matrix: counts as numbers, fractions of the row as shades."""
    values = np.array(counts, float)
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    size = 0.55 * len(columns) + 2.5
    figure = Figure(figsize=(size, 0.45 * len(rows) + 2.2), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(100 * shares, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            if count:
                colour = "black" if shares[row, column] > 0.5 else "white"
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, xlabel="called", ylabel="judged")
    figure.colorbar(picture, label="% of the row")
    return _save(figure, path)
