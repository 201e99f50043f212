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
from xtalgrid_core.images import read_uv

from ..config import Config
from ..domain.image_names import first_whole
from ..domain.light import Light, Mate
from ..ledger.shapes import ScoredImage
from ..steps.look_again import crystal_boxes
from ..steps.pack import read_original, read_scored

_ORDER = {Glow.FLUORESCES: 0, Glow.UNSAID: 1, Glow.DARK: 2}


@dataclass(frozen=True, slots=True)
class CrystalInUV:
    """A drop's crystals in UV light; `contrast` is the largest of all boxes, None if there is none.

    `unread` says why a picture could not be read; empty if both were.
    """

    score: ScoredImage
    uv_image: str
    glow: Glow
    contrast: float | None
    unread: str = ""


def with_crystals(score: ScoredImage) -> list[wire.PixelBox]:
    """Return the boxes of a score's chops that show crystals; see `crystal_boxes`."""
    answer = score.answer
    return [] if isinstance(answer, wire.Failed) else crystal_boxes(answer)


def in_uv(config: Config, score: ScoredImage, mates: Sequence[Mate]) -> CrystalInUV | None:
    """Look at a score's crystals in the first UV image of its inspection; None without crystals or such an image.

    An image that can't be read, or is another one than was scored, says nothing.
    """
    boxes = with_crystals(score)
    name = first_whole(mate.name for mate in mates if mate.light is Light.UV)
    if not boxes or not name or isinstance(score.answer, wire.Failed):
        return None
    try:
        visible = read_scored(config, score)
        uv = read_uv(read_original(config, dataclasses.replace(score, image_name=name)))
        found, unread = fluorescence(visible, uv, boxes, score.answer.pixel_size_um), ""
    except ImageError as error:
        found, unread = Fluorescence(Glow.UNSAID), str(error.reason)
    contrasts = [contrast.relative for contrast in found.contrasts if contrast is not None]
    return CrystalInUV(score, name, found.glow, max(contrasts, default=None), unread)


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
