"""Draw an explanation for a crystallographer: the drop, with colours for what was seen where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from scipy.ndimage import distance_transform_edt
from skimage.color import rgb2gray
from skimage.filters import gaussian

from xtalgrid_core.chops import CHOP
from xtalgrid_core.files import replacing
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.scale import REFERENCE_UM
from xtalgrid_scoring.map_files import COLOURS

from . import words
from .maps import Explained, Float

_STRONGEST = 0.55
"""Opacity where a group is certain; the drop must remain visible."""


def draw_groups(explained: Explained, name: str, path: Path) -> Path:
    """Draw where each group was seen: one picture with all groups in the frames' colours, and one map for each."""
    height, width = explained.well.view.shape[:2]
    figure, large, small = _layout(height, width)
    large.imshow(_overlay(explained))
    _outline(large, explained)
    for index, (outcome, probability) in zip(explained.decision.best, explained.decision.chop_outcomes, strict=True):
        box = explained.chops[index]
        for colour, line in (("black", 1.8), (outcome.style.colour, 1.0)):
            large.add_patch(
                Rectangle((box.col, box.row), box.width, box.height, fill=False, edgecolor=colour, linewidth=line)
            )
        large.text(
            box.col + 6,
            box.row + 8,
            f"{outcome.style.letter} {words.number(probability)}",
            color="white",
            fontsize=7,
            va="top",
            bbox={"facecolor": "black", "alpha": 0.55, "pad": 1.2, "linewidth": 0},
        )
    handles = [
        Patch(facecolor=COLOURS[g], alpha=_STRONGEST + 0.2, edgecolor="black", linewidth=0.4, label=g.value)
        for g in SCORED_GROUPS[:3]
    ]
    handles.append(Patch(facecolor="none", edgecolor="black", linewidth=0.4, label="clear: no colour"))
    large.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, -0.01),
        ncols=4,
        fontsize=7.5,
        frameon=False,
        borderaxespad=0,
    )
    _scale_bar(large, height, width)
    grey = _grey(explained)
    threshold = [] if explained.options.rule == "pooled" else [explained.options.threshold]
    for axes, group, values in zip(small, SCORED_GROUPS, explained.groups, strict=True):
        axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
        shown = axes.imshow(
            np.ma.masked_where(_soft(explained) < 0.5, values), cmap=_fading(COLOURS[group]), norm=Normalize(0, 1)
        )
        axes.set_title(f"{group.value}: up to {words.number(float(values[_inside(explained)].max()))}", fontsize=8)
        bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02, ticks=sorted({0, 0.5, 1, *threshold}))
        bar.ax.tick_params(labelsize=6)
    _title(figure, explained, name)
    figure.supxlabel(_caption(explained), fontsize=7)
    return _save(figure, path)


def draw_saliency(explained: Explained, name: str, path: Path) -> Path:
    """Draw what the answer depends on: SmoothGrad over the grey image, beside the image (Bruno et al. 2018, Fig. 4)."""
    height, width = explained.well.view.shape[:2]
    figure = Figure(figsize=(11, 5.1 * height / width + 1.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    plain, heat = figure.subplots(1, 2)
    plain.imshow(explained.well.view)
    plain.set_title("the drop, levelled", fontsize=8)
    for index in explained.decision.best:
        box = explained.chops[index]
        for axes in (plain, heat):
            axes.add_patch(
                Rectangle((box.col, box.row), box.width, box.height, fill=False, edgecolor="white", linewidth=0.8)
            )
    heat.imshow(_grey(explained), cmap="gray", vmin=0, vmax=330)
    shown = heat.imshow(_smoothed(explained.saliency), cmap=_fading("#ff3b00", through="#ffd500"), norm=Normalize(0, 1))
    heat.set_title(f"what the probability of {explained.depends_on} depends on (SmoothGrad)", fontsize=8)
    bar = figure.colorbar(shown, ax=heat, fraction=0.046, pad=0.02, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["none", "half", "most"], fontsize=7)
    for axes in (plain, heat):
        axes.set_axis_off()
        _scale_bar(axes, height, width)
    _title(figure, explained, name)
    figure.supxlabel(
        "Coloured where a small change of the picture would change this probability most, up or down."
        + (" The chops are the nearest on the class map." if explained.options.mode == "exact" else ""),
        fontsize=7,
    )
    return _save(figure, path)


def _title(figure: Figure, explained: Explained, name: str) -> None:
    """Write the image's name, the published decision, and its rule."""
    short = name if len(name) <= 120 else f"{name[:80]}…{name[-39:]}"
    decision = explained.decision
    lines = [short, words.outcome(decision), f"{words.groups(decision)} ({words.rule(explained.options)})"]
    figure.suptitle("\n".join(lines), fontsize=10, parse_math=False)


def _caption(explained: Explained) -> str:
    """Explain how to read the maps, and how they relate to the score."""
    scored = (
        "The maps are from one class map of the drop; the score is from chops classified one by one."
        if explained.options.mode == "exact"
        else "The score is made from such chops."
    )
    if any(chop.height > CHOP for chop in explained.chops):
        scored += " It is made from chops of twice the size, too."
    return (
        "Left: evidence for each group within 90 µm of a point, where a chop agrees. Squares: the best chops.\n"
        f"Right: probability of each group in the chop around a point. {scored}"
    )


def _layout(height: int, width: int) -> tuple[Figure, Axes, list[Axes]]:
    figure = Figure(figsize=(12, 5.6 * height / width + 1.3), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 0.85, 0.85))
    large = figure.add_subplot(grid[:, :2])
    small = [figure.add_subplot(grid[row, 2 + col]) for row in range(2) for col in range(2)]
    for axes in (large, *small):
        axes.set_axis_off()
    return figure, large, small


def _overlay(explained: Explained) -> npt.NDArray[np.floating]:
    """Lay each group's colour over the view, as strongly as the group is probable."""
    shown = explained.well.view.astype(np.float32) / 255
    within = _soft(explained)
    for group, values in zip(SCORED_GROUPS, explained.near, strict=True):
        if group is not Group.CLEAR:
            alpha = _STRONGEST * (np.clip((values - 0.3) / 0.7, 0, 1) * within)[:, :, None]
            shown = shown * (1 - alpha) + np.array(to_rgb(COLOURS[group]), np.float32) * alpha
    return shown


def _outline(axes: Axes, explained: Explained) -> None:
    if explained.drop.any() and not explained.drop.all():
        axes.contour(explained.drop.astype(float), levels=[0.5], colors="white", linewidths=1.0, linestyles="dashed")


def _scale_bar(axes: Axes, height: int, width: int) -> None:
    """Draw a bar of about a fifth of the width, in round µm."""
    most = 0.3 * width * REFERENCE_UM
    length = max((um for um in (50, 100, 200, 500, 1000) if um <= most), default=20)
    pixels = length / REFERENCE_UM
    left, top = 0.97 * width - pixels, 0.96 * height
    axes.add_patch(
        Rectangle((left - 4, top - 3), pixels + 8, 0.012 * height + 6, facecolor="black", alpha=0.6, linewidth=0)
    )
    axes.add_patch(Rectangle((left, top), pixels, 0.012 * height, facecolor="white", linewidth=0))
    axes.text(
        left + pixels / 2,
        top - 8,
        f"{length} µm",
        color="white",
        fontsize=7,
        ha="center",
        va="bottom",
        bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0},
    )


def _grey(explained: Explained) -> Float:
    grey: Float = rgb2gray(explained.well.view.astype(np.float32))
    return grey


def _inside(explained: Explained) -> npt.NDArray[np.bool_]:
    return explained.drop if explained.drop.any() else np.ones(explained.drop.shape, bool)


def _soft(explained: Explained, margin: float = 40.0) -> Float:
    """Return 1 in and near the drop, falling to 0 far outside it, where nothing was scored."""
    return np.asarray(np.clip(2 - distance_transform_edt(~_inside(explained)) / margin, 0, 1), np.float32)


def _smoothed(saliency: Float, sigma: float = 4.0) -> Float:
    """Smooth a saliency map to the scale of a few µm, with its maximum at 1; single pixels would not be visible."""
    soft = gaussian(saliency, sigma)
    return np.asarray(np.clip(soft / max(float(np.quantile(soft, 0.998)), 1e-9), 0, 1))


def _fading(colour: str, through: str | None = None) -> LinearSegmentedColormap:
    """Return a colour map from transparent to a colour, so that the image shows where there is nothing to mark."""
    first, last = to_rgb(through or colour), to_rgb(colour)
    stops = [(*first, 0.0), (*first, 0.45), (*last, 0.8)]
    return LinearSegmentedColormap.from_list("fading", stops)


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as stream:
        figure.savefig(stream, format="png")
    return path
