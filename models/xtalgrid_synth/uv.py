"""The UV image of a rendered well, its mate: protein glows under ultraviolet light, salt does not.

Imagers take such images to tell protein crystals from salt. The published training set kept a chop of a crystal only if
the UV image showed the crystal too (Thielmann et al. 2023, section 2.2). It is tryptophan that glows, most where the
protein is densest. A protein crystal with a chromophore that absorbs the light stays dark (section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from xtalgrid_core.outcomes import GROUP_CLASSES, PRIORITY, Group, Outcome

from .field import Field, blur, noise, stretch
from .scene import UNSURE
from .well import RenderedWell


class Nature(StrEnum):
    """What the crystals of a drop are made of. All crystals of one drop are of the same nature."""

    PROTEIN = "protein"
    SALT = "salt"
    CHROMOPHORE = "protein with chromophore"


_SHARES = {Nature.PROTEIN: 0.7, Nature.SALT: 0.25, Nature.CHROMOPHORE: 0.05}
"""How often each is drawn."""

_CRYSTAL_MARKS = [1 + rank for rank in GROUP_CLASSES[Group.CRYSTAL]]
_PRECIPITATE_MARKS = [1 + rank for rank in GROUP_CLASSES[Group.PRECIPITATE]] + [UNSURE]


@dataclass(frozen=True, slots=True)
class UVMate:
    """A UV image.

    `image` ``(H, W)`` uint8 is grey and shows the same field as its well; `nature` is the crystals', None without
    crystals.
    """

    image: npt.NDArray[np.uint8]
    nature: Nature | None


def draw_nature(outcome: Outcome, seed: int) -> Nature | None:
    """Draw the nature of a well's crystals without rendering it; None unless the outcome is a crystal class."""
    if outcome.group is not Group.CRYSTAL:
        return None
    names = list(_SHARES)
    return names[int(np.random.default_rng([seed, 1]).choice(len(names), p=list(_SHARES.values())))]


def render_uv(well: RenderedWell, *, seed: int, nature: Nature | None = None, width: int | None = None) -> UVMate:
    """Render a well's UV fluorescence image.

    Parameters
    ----------
    well
        From `render_well`.
    seed
        The same well, seed and arguments give the same bytes.
    nature
        Of the crystals, if there are any (default: drawn by `draw_nature` from the seed).
    width
        Of the image in pixels, 64 to the well's (default: the well's); the height follows.

    Returns
    -------
    UVMate
        It is shifted against the well by up to 6 µm, as images taken one after the other are.

    Raises
    ------
    ValueError
        If the width is out of range.
    """
    full = well.drop_mask.shape
    width = width or full[1]
    if not 64 <= width <= full[1]:
        raise ValueError(f"width {width}; the UV mate of a well {full[1]} pixels wide has 64 to {full[1]}")
    height = max(round(full[0] * width / full[1]), 1)
    rng = np.random.default_rng([seed, 2])
    crystalline = well.outcome.group is Group.CRYSTAL
    nature = (nature or draw_nature(well.outcome, seed)) if crystalline else None
    k = 2 if width > 1600 else 1  # the glow is soft: half the resolution will do
    low = (-(-height // k), -(-width // k))
    um = well.pixel_size_um * full[1] / low[1]
    plain = stretch(well.image[:, :, 1].astype(np.float32), *low, smooth=False)
    drop = stretch(well.drop_mask.astype(np.float32), *low, smooth=False)

    glow = _plastic(rng, plain, drop, um)
    glow += _dissolved(rng, drop, um)
    glow += _precipitate(rng, well, plain, um)
    glow += _dense(rng, well, um, low)
    crystals = _crystals(rng, well, plain, um)
    glow = glow + crystals if nature is Nature.PROTEIN else glow * (1 - np.minimum(crystals, 40) / np.float32(100))
    glow = blur(glow, rng.uniform(1.0, 4.0) / um)
    shift = tuple(int(v) for v in np.round(rng.uniform(-4, 4, 2) / um))
    glow = np.roll(glow, shift, axis=(0, 1))
    return UVMate(_expose(rng, stretch(glow, *low), height, width), nature)


def _plastic(rng: np.random.Generator, plain: Field, drop: Field, um: float) -> Field:
    """Draw the plate's own glow: faint, or (with two-photon excitation) brighter than the drop, which shades it."""
    level = rng.uniform(5, 16) if rng.random() < 0.75 else rng.uniform(35, 75)
    shade = np.float32(1) - drop * np.float32(rng.uniform(0.7, 0.95) if level > 20 else rng.uniform(0, 0.3))
    walls = np.float32(0.4) * blur(np.abs(plain - blur(plain, 12 / um)), 2) / np.float32(60)
    cloud = np.float32(0.08) * noise(rng, plain.shape[0], plain.shape[1], max(plain.shape))
    light: Field = np.float32(level) * (1 + cloud + np.minimum(walls, 1)) * shade
    return light


def _dissolved(rng: np.random.Generator, drop: Field, um: float) -> Field:
    """Draw the glow of dissolved protein: even, weaker where the drop is thin."""
    thick = blur(drop, 60 / um)
    light: Field = np.float32(rng.uniform(2, 14)) * drop * np.maximum(2 * thick - 1, 0)
    return light


def _marked(well: RenderedWell, marks: list[int], low: tuple[int, int]) -> Field:
    """Return how much of each pixel has one of these values in the content map, 0..1, resized to `low`."""
    share = np.zeros(256, np.float32)
    share[marks] = 1
    return stretch(share[well.content], *low, smooth=False)


def _precipitate(rng: np.random.Generator, well: RenderedWell, plain: Field, um: float) -> Field:
    """Draw the glow of precipitate: weak and diffuse, stronger where it is dense (dark in the bright-field image)."""
    where = _marked(well, _PRECIPITATE_MARKS, plain.shape)
    around = np.maximum(blur(plain, 40 / um), 8)
    dense = np.clip(1 - plain / around, -0.3, 0.6)
    light: Field = blur(where, 6 / um) * np.float32(rng.uniform(6, 30)) * (1 + 2 * dense)
    return light


def _dense(rng: np.random.Generator, well: RenderedWell, um: float, low: tuple[int, int]) -> Field:
    """Draw the glow of spherulites, protein-rich droplets, and (from optical brighteners) some fibres."""
    strength = {
        Outcome.SPHERULITES: rng.uniform(40, 130),
        Outcome.PHASE_SEPARATION: rng.uniform(12, 45),
        Outcome.CLEAR_WITH_FEATURES: rng.uniform(20, 90) if rng.random() < 0.4 else 0.0,
    }
    light = np.zeros(256, np.float32)
    for outcome, value in strength.items():
        light[1 + PRIORITY[outcome]] = value
    return blur(stretch(light[well.content], *low, smooth=False), 3 / um)


def _crystals(rng: np.random.Generator, well: RenderedWell, plain: Field, um: float) -> Field:
    """Draw the crystals as protein: facets as in the bright field, brighter edges, each crystal of its own strength."""
    low = plain.shape
    cover = _marked(well, _CRYSTAL_MARKS, low)
    if not cover.any():
        return cover
    scale = low[1] / well.drop_mask.shape[1]
    each = np.zeros(low, np.float32)
    for box in well.crystal_boxes:  # some lie deeper or out of focus, and are dimmer
        part = box.scaled(scale)
        view = each[part.row : part.row + part.height + 1, part.col : part.col + part.width + 1]
        np.maximum(view, np.float32(rng.uniform(0.45, 1)), out=view)
    facets = np.clip(plain / np.maximum(blur(plain, 15 / um), 8), 0.6, 1.5)
    edges = np.clip(cover - blur(cover, 5 / um), 0, 1)
    light: Field = np.float32(rng.uniform(110, 230)) * cover * each * facets * (1 + np.float32(0.8) * edges)
    return light


def _expose(rng: np.random.Generator, glow: Field, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Add photon noise, which grows with the root of the light, and convert to grey values."""
    light = stretch(np.maximum(glow, 0), height, width, smooth=False)
    gain = np.float32(rng.uniform(0.3, 1.4))
    tile = rng.standard_normal((256, 256), dtype=np.float32)
    grain = np.tile(tile, (height // 256 + 1, width // 256 + 1))[:height, :width]
    image: npt.NDArray[np.uint8] = np.clip(light + np.sqrt(light + 2) * gain * grain + 2, 0, 255).astype(np.uint8)
    return image
