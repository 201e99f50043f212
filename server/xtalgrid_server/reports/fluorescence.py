"""Salt or protein: what an inspection's UV image says of crystals (`xtalgrid_core.fluorescence`).

It is looked at here, on the server, when somebody asks: the mate's file is read only for drops with crystals, and it
changes no outcome.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from xtalgrid_core import wire
from xtalgrid_core.errors import ImageError
from xtalgrid_core.fluorescence import Fluorescence, Glow, fluorescence
from xtalgrid_core.images import read_image
from xtalgrid_core.outcomes import Group

from ..config import Config
from ..domain.light import Light, Mate
from ..ledger.shapes import ScoredImage
from ..steps.pack import read_original

_ORDER = {Glow.FLUORESCES: 0, Glow.UNSAID: 1, Glow.DARK: 2}


@dataclass(frozen=True, slots=True)
class CrystalInUV:
    """A drop's crystals in UV light; `contrast` is the largest of all boxes, None if there is none."""

    score: ScoredImage
    uv_image: str
    glow: Glow
    contrast: float | None


def with_crystals(score: ScoredImage) -> list[wire.PixelBox]:
    """Return the boxes of a score's chops that show crystals; none if its well is not called crystal."""
    if score.outcome.group is not Group.CRYSTAL or isinstance(score.answer, wire.Failed):
        return []
    return [chop.box for chop in score.answer.boxes if chop.outcome.group is Group.CRYSTAL]


def in_uv(config: Config, score: ScoredImage, mates: Sequence[Mate]) -> CrystalInUV | None:
    """Look at a score's crystals in the first UV image of its inspection; None without crystals or such an image.

    An image that can't be read says nothing.
    """
    boxes = with_crystals(score)
    name = next((mate.name for mate in mates if mate.light is Light.UV), None)
    if not boxes or name is None or isinstance(score.answer, wire.Failed):
        return None
    try:
        images = [read_original(config, image) for image in (score, dataclasses.replace(score, image_name=name))]
        visible, uv = map(read_image, images)
        found = fluorescence(visible, uv, boxes, score.answer.pixel_size_um)
    except ImageError:
        found = Fluorescence(Glow.UNSAID)
    contrasts = [contrast.relative for contrast in found.contrasts if contrast is not None]
    return CrystalInUV(score, name, found.glow, max(contrasts, default=None))


def crystals_in_uv(
    config: Config, scores: Iterable[ScoredImage], mates: Callable[[int], Sequence[Mate]]
) -> Iterator[CrystalInUV]:
    """Return the crystals that have a UV image, those that fluoresce first, then those of which it can't be said.

    Parameters
    ----------
    mates
        Returns the images in UV and other light of an inspection, by its id.
    """
    found = (in_uv(config, score, mates(score.inspect_id)) for score in scores if with_crystals(score))
    yield from sorted(filter(None, found), key=lambda one: (_ORDER[one.glow], -one.score.p_crystal))
