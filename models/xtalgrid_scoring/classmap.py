"""Class maps: where in a drop the classifier saw each group, as pictures to lay over the well."""

from __future__ import annotations

from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from xtalgrid_core.chops import CELLS, STRIDE
from xtalgrid_core.dense import Float, class_map, softmax
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import WellImage
from xtalgrid_core.options import DEFAULTS
from xtalgrid_core.outcomes import SCORED_GROUPS, Group
from xtalgrid_core.pooling import group_sums

from .drop import NoDrop, WellDrop, cut_out, never_stop
from .map_files import map_pngs
from .networks import Networks
from .score import check_size, look

NEAR = 5
"""Cells along a side that say what is near a point: 80 pixels, 90 µm."""

SIDE = 960
"""Longer side of the pictures, in pixels."""


def group_maps(cells: Float) -> Float:
    """Return how much each point of a drop supports each group.

    This is the probability of the `NEAR` × `NEAR` cells around a point, times the largest probability of a chop that
    contains the point: sharper than the chops' probabilities, and zero where no chop agrees. Scoring doesn't use it.

    Parameters
    ----------
    cells
        A class map, ``(13, rows, cols)`` logits, at least a chop's `CELLS` along each side.

    Returns
    -------
    ``(4, rows, cols)``, 0..1, in the order of `SCORED_GROUPS`.
    """
    edge = NEAR // 2
    near = group_probabilities(square_means(np.pad(cells, ((0, 0), (edge, edge), (edge, edge)), mode="edge"), NEAR))
    chops = np.pad(group_probabilities(square_means(cells, CELLS)), ((0, 0), (CELLS - 1,) * 2, (CELLS - 1,) * 2))
    around = np.lib.stride_tricks.sliding_window_view(chops, CELLS, axis=1).max(axis=-1)
    around = np.lib.stride_tricks.sliding_window_view(around, CELLS, axis=2).max(axis=-1)
    maps: Float = near * around
    return maps


def square_means(cells: Float, side: int) -> Float:
    """Average over all squares of `side` × `side` cells.

    From a class map ``(13, rows, cols)`` this makes ``(13, rows − side + 1, cols − side + 1)``.
    """
    sums = np.pad(cells.cumsum(axis=1, dtype=np.float64).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    boxes = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    means: Float = (boxes / side**2).astype(np.float32)
    return means


def group_probabilities(logits: Float) -> Float:
    """Return the probabilities of the four groups, ``(4, r, c)``, from logits ``(13, r, c)``."""
    groups: Float = group_sums(softmax(logits.reshape(len(logits), -1).T)).T.reshape(-1, *logits.shape[1:])
    return groups


def draw_maps(data: bytes, networks: Networks, pixel_size_um: float | None = None) -> dict[Group, bytes]:
    """Draw a transparent PNG file for each group, in the shape of the well image; empty where there is no drop.

    Each says what it shows; see `map_files`.

    Raises
    ------
    ImageError
        If the image cannot be decoded.
    ConfigError
        If the classifier has no class map.
    """
    return map_pngs(overlay_maps(data, networks, pixel_size_um))


def overlay_maps(data: bytes, networks: Networks, pixel_size_um: float | None = None) -> dict[Group, Float]:
    """Return the maps that `draw_maps` draws, as numbers 0..1.

    Each group's map, ``(H, W)``, has the shape of the well image, with at most `SIDE` pixels along the longer side. If
    the pixel size is a guess, it is drawn at the scale at which the well is decided (`score.look`).
    """
    if not networks.is_dense:
        raise ConfigError("this classifier scores chops one by one and has no class map; use a dense classifier")
    well = cut_out(WellImage(data), networks.mask, pixel_size_um, check=partial(check_size, options=DEFAULTS))
    if isinstance(well, NoDrop):
        return {group: np.zeros(_size(well.height, well.width)[::-1], np.float32) for group in SCORED_GROUPS}
    if well.scale.is_guess and networks.pooling is not None:
        return overlay_maps(data, networks, look(well, DEFAULTS, networks).well.scale.um)
    maps = group_maps(class_map(well.view, networks.class_map, never_stop))
    inside = _inside(well)
    return {group: _placed(values, well) * inside for group, values in zip(SCORED_GROUPS, maps, strict=True)}


def _placed(values: Float, well: WellDrop) -> Float:
    """Place a group's map in the shape of the picture.

    The centres of the cells are `STRIDE` pixels apart, and the outermost are as far from the edge of the crop.
    """
    canvas = Image.new("F", _size(well.height, well.width))
    shrunk = canvas.width / well.width
    cell = STRIDE / well.scale.to_reference * shrunk
    rows, cols = values.shape
    piece = Image.fromarray(values.astype(np.float32), mode="F").resize(
        (max(round(cols * cell), 1), max(round(rows * cell), 1)), Image.Resampling.BILINEAR
    )
    canvas.paste(piece, (round(well.crop.col * shrunk + cell / 2), round(well.crop.row * shrunk + cell / 2)))
    placed: Float = np.asarray(canvas, np.float32)
    return placed


def _inside(well: WellDrop) -> Float:
    """1 inside the drop, 0 outside; 1 everywhere where its outline is not known."""
    outline = well.drop.outline if len(well.drop.outline) > 2 else ()
    canvas = Image.new("L", _size(well.height, well.width), 0 if outline else 1)
    if outline:
        shrunk = canvas.width / well.width
        ImageDraw.Draw(canvas).polygon([(col * shrunk, row * shrunk) for row, col in outline], fill=1)
    values: Float = np.asarray(canvas, np.float32)
    return values


def _size(height: int, width: int) -> tuple[int, int]:
    part = min(SIDE / max(height, width), 1.0)
    return max(round(width * part), 1), max(round(height * part), 1)
