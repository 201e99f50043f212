"""Files of class maps: transparent PNG pictures to lay over the well, with what they show as text chunks."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

from xtalgrid_core.dense import Float
from xtalgrid_core.outcomes import Group, Outcome

_STRONGEST = 0.45
"""Opacity where a group is certain: the drop must show through."""

_VISIBLE = 0.25
"""A map's value from which on its colour can be seen in the picture."""

COLOURS: Mapping[Group, str] = {
    Group.CRYSTAL: Outcome.HARVESTABLE.style.colour,
    Group.PRECIPITATE: Outcome.PRECIPITATE.style.colour,
    Group.OTHER: Outcome.OTHER.style.colour,
    Group.CLEAR: "#2ca25f",
}


class Seen(NamedTuple):
    """How much of a group its map shows.

    Attributes
    ----------
    share
        The part of the drop, 0..1, where the group is the likeliest and its colour can be seen.
    largest
        The map's largest value, 0..1; 0 without a drop.
    colour
        The map's colour, such as ``#d62728``.
    """

    share: float
    largest: float
    colour: str

    @property
    def is_visible(self) -> bool:
        """Whether there is anything to see in the map."""
        return self.largest >= _VISIBLE


def map_pngs(maps: Mapping[Group, Float]) -> dict[Group, bytes]:
    """Return a PNG file for each group's map, ``(H, W)``, 0..1, all of one well; 0 outside the drop."""
    stacked = np.stack(list(maps.values()))
    top = stacked.max(axis=0)
    visible = stacked.argmax(axis=0)[top >= _VISIBLE]
    shares = np.bincount(visible, minlength=len(stacked)) / max(int(np.count_nonzero(top)), 1)
    return {
        group: _png(values, Seen(float(share), float(values.max()), COLOURS[group]))
        for (group, values), share in zip(maps.items(), shares, strict=True)
    }


def seen_in(png: bytes) -> Seen | None:
    """Return what a map shows, by its file; None for a file of an earlier version."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        text = picture.info
    if not all(name in text for name in Seen._fields):
        return None
    return Seen(float(text["share"]), float(text["largest"]), str(text["colour"]))


def _png(values: Float, seen: Seen) -> bytes:
    alpha = Image.fromarray((np.clip(values, 0, 1) * 255 * _STRONGEST).astype(np.uint8))
    picture = Image.new("RGBA", alpha.size, seen.colour)
    picture.putalpha(alpha)
    text = PngImagePlugin.PngInfo()
    text.add_text("share", f"{seen.share:.4f}")
    text.add_text("largest", f"{seen.largest:.4f}")
    text.add_text("colour", seen.colour)
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=text)
    return stream.getvalue()
