"""Class maps to lay over a well: for each group, where in the drop the classifier sees it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from xtalgrid_core.chops import CELLS, STRIDE
from xtalgrid_core.dense import Float, class_map, softmax
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import WellImage
from xtalgrid_core.outcomes import GROUP_CLASSES, SCORED_GROUPS, Group, Outcome

from .drop import NoDrop, WellDrop, cut_out, never_stop
from .networks import Networks

NEAR = 5
"""Cells along a side of a point's neighbourhood: 80 pixels, 90 µm."""

SIDE = 960
"""Longer side of the class maps, in pixels."""

_STRONGEST = 0.45
"""Opacity where a group is certain; the drop must stay visible."""

COLOURS: Mapping[Group, str] = {
    Group.CRYSTAL: Outcome.HARVESTABLE.look.colour,
    Group.PRECIPITATE: Outcome.PRECIPITATE.look.colour,
    Group.OTHER: Outcome.OTHER.look.colour,
    Group.CLEAR: "#2ca25f",
}


def group_maps(cells: Float) -> Float:
    """Return how strongly each point of a drop suggests each group.

    This is the group's probability in the `NEAR` × `NEAR` cells around a point, times its largest probability in a
    chop that contains the point. It is sharper than the chops' probabilities, and near 0 where no chop agrees. It is
    not used for scoring.

    Parameters
    ----------
    cells
        A class map, ``(13, rows, cols)`` logits, at least a chop's `CELLS` along each side.

    Returns
    -------
    ``(4, rows, cols)``, 0..1, in the order of `SCORED_GROUPS`.
    """
    edge = NEAR // 2
    near = _of_groups(_means(np.pad(cells, ((0, 0), (edge, edge), (edge, edge)), mode="edge"), NEAR))
    chops = np.pad(_of_groups(_means(cells, CELLS)), ((0, 0), (CELLS - 1,) * 2, (CELLS - 1,) * 2))
    around = np.lib.stride_tricks.sliding_window_view(chops, CELLS, axis=1).max(axis=-1)
    around = np.lib.stride_tricks.sliding_window_view(around, CELLS, axis=2).max(axis=-1)
    maps: Float = near * around
    return maps


def draw_maps(data: bytes, networks: Networks, pixel_size_um: float | None = None) -> dict[Group, bytes]:
    """Draw one transparent PNG file for each group, in the shape of the well image; empty if there is no drop.

    Raises
    ------
    ImageError
        If the image cannot be decoded.
    ConfigError
        If the classifier has no class map.
    """
    maps = overlay_maps(data, networks, pixel_size_um)
    return {group: _png(values, group) for group, values in maps.items()}


def overlay_maps(data: bytes, networks: Networks, pixel_size_um: float | None = None) -> dict[Group, Float]:
    """Return the maps of `draw_maps` as arrays ``(H, W)``, 0..1, in the shape of the well image, `SIDE` at most."""
    if not networks.is_dense:
        raise ConfigError("this classifier has no class map, since it is not dense; use a dense one")
    well = cut_out(WellImage(data), networks.mask, pixel_size_um)
    if isinstance(well, NoDrop):
        return {group: np.zeros(_size(well.height, well.width)[::-1], np.float32) for group in SCORED_GROUPS}
    maps = group_maps(class_map(well.view, networks.class_map, never_stop))
    inside = _inside(well)
    return {group: _placed(values, well) * inside for group, values in zip(SCORED_GROUPS, maps, strict=True)}


def _placed(values: Float, well: WellDrop) -> Float:
    """Place a group's map into the shape of the well image; the centre of cell i lies at ``(i + 1)·STRIDE`` pixels."""
    canvas = Image.new("F", _size(well.height, well.width))
    shrunk = canvas.width / well.width
    cell = STRIDE / well.scale.to_reference * shrunk
    rows, cols = values.shape
    piece = Image.fromarray(values.astype(np.float32), mode="F").resize(
        (max(round(cols * cell), 1), max(round(rows * cell), 1)), Image.Resampling.BILINEAR
    )
    canvas.paste(piece, (round(well.crop.col * shrunk + cell / 2), round(well.crop.row * shrunk + cell / 2)))
    pixels: Float = np.asarray(canvas, np.float32)
    return pixels


def _inside(well: WellDrop) -> Float:
    """Return a mask of the drop: 1 inside, 0 outside; 1 everywhere if its outline is unknown."""
    outline = well.drop.outline if len(well.drop.outline) > 2 else ()
    canvas = Image.new("L", _size(well.height, well.width), 0 if outline else 1)
    if outline:
        shrunk = canvas.width / well.width
        ImageDraw.Draw(canvas).polygon([(col * shrunk, row * shrunk) for row, col in outline], fill=1)
    pixels: Float = np.asarray(canvas, np.float32)
    return pixels


def _png(values: np.ndarray, group: Group) -> bytes:
    alpha = Image.fromarray((np.clip(values, 0, 1) * 255 * _STRONGEST).astype(np.uint8))
    picture = Image.new("RGBA", alpha.size, COLOURS[group])
    picture.putalpha(alpha)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _size(height: int, width: int) -> tuple[int, int]:
    part = min(SIDE / max(height, width), 1.0)
    return max(round(width * part), 1), max(round(height * part), 1)


def _means(cells: Float, side: int) -> Float:
    """Return the means over all squares of `side` × `side` cells, ``(13, rows − side + 1, cols − side + 1)``."""
    sums = np.pad(cells.cumsum(axis=1, dtype=np.float64).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    boxes = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    means: Float = (boxes / side**2).astype(np.float32)
    return means


def _of_groups(logits: Float) -> Float:
    """Convert logits ``(13, r, c)`` to the probabilities of the four groups, ``(4, r, c)``."""
    probabilities = softmax(logits.reshape(len(logits), -1).T).T.reshape(logits.shape)
    groups: Float = np.stack([probabilities[list(GROUP_CLASSES[group])].sum(axis=0) for group in SCORED_GROUPS])
    return groups
