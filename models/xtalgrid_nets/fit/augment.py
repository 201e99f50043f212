"""Change a picture without changing what it shows: turn, mirror, brighten, blur, add noise, lose resolution.

The only source of randomness is the generator `random` passed in, so a batch is the same whichever process makes it,
and when.
"""

from __future__ import annotations

from math import pi

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FLIPS = (0, 2, 4, 6)
"""Those of the eight orientations of a square that mirroring left to right and upside down can give."""


def turned(
    images: Tensor, masks: Tensor | None, random: torch.Generator, positions: tuple[int, ...] = tuple(range(8))
) -> tuple[Tensor, Tensor | None]:
    """Turn each image of ``(N, C, S, S)`` by quarter turns and mirror half of them.

    `masks` ``(N, 1, s, s)``, of any size (the 5×5 labels of a patch, say), are turned in the same way.
    """
    kinds = torch.tensor(positions)[torch.randint(0, len(positions), (len(images),), generator=random)]
    images = images.clone()
    masks = None if masks is None else masks.clone()
    for kind in range(1, 8):
        chosen = torch.nonzero(kinds == kind).flatten()
        for batch in (images,) if masks is None else (images, masks):
            if len(chosen):
                part = torch.rot90(batch[chosen], kind % 4, (2, 3))
                batch[chosen] = part.flip(3) if kind >= 4 else part
    return images, masks


def rotated(
    images: Tensor, random: torch.Generator, *, degrees: float = 180.0, shift: float = 0.0, zoom: float = 0.0
) -> Tensor:
    """Turn each image of ``(N, C, S, S)`` float by any angle up to `degrees` either way, and mirror half of them.

    `shift` and `zoom` (the largest change of size) are fractions of the side. The area beyond the picture's edge is
    filled with its reflection. Drops have no natural orientation: MARCO uses such rotations besides quarter turns
    (2018, "Data Preprocessing and Augmentation").
    """
    n = len(images)

    def draw(reach: float) -> Tensor:
        return (torch.rand(n, generator=random) * 2 - 1) * reach

    angle, scale = draw(degrees) * pi / 180, 1 + draw(zoom)
    mirror = torch.where(torch.rand(n, generator=random) < 0.5, -1.0, 1.0)
    sin, cos = torch.sin(angle) * scale, torch.cos(angle) * scale
    rows = [torch.stack([cos * mirror, -sin, draw(2 * shift)], 1), torch.stack([sin * mirror, cos, draw(2 * shift)], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def distorted(images: Tensor, random: torch.Generator) -> Tensor:
    """Apply MARCO's photometric distortions to images ``(N, 3, H, W)``, float 0..255.

    The source is Bruno et al. 2018, "Data Preprocessing and Augmentation".

    Brightness ±32 of 255, saturation and contrast 50 to 150 %, hue ±0.2 of a turn. Hue and saturation are changed in
    YIQ instead of HSV, because there both are one linear map.
    """
    n = len(images)

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=random) * (high - low) + low

    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    saturation, hue = draw(0.5, 1.5), draw(-0.2, 0.2) * 2 * pi
    turn = torch.zeros(n, 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * torch.cos(hue)
    turn[:, 1, 2], turn[:, 2, 1] = -saturation * torch.sin(hue), saturation * torch.sin(hue)
    colour = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    images = (colour @ images.flatten(2)).view_as(images) + draw(-32, 32).view(n, 1, 1, 1)
    mean = images.mean(dim=(2, 3), keepdim=True)
    return ((images - mean) * draw(0.5, 1.5).view(n, 1, 1, 1) + mean).clamp(0, 255)


def exposed(images: Tensor, random: torch.Generator) -> Tensor:
    """Change brightness, contrast, gamma and colour of each image of ``(N, 3, H, W)`` uint8, fast, by lookup tables."""
    n = len(images)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.rand(n, channels, 1, generator=random) * (high - low) + low

    ramp = torch.linspace(0, 1, 256).expand(n, 3, 256)
    x = ramp ** torch.exp(draw(-0.35, 0.35))
    x = 0.85 + (x - 0.85) * torch.exp(draw(-0.35, 0.3))
    x = x * torch.exp(draw(-0.13, 0.13)) * torch.exp(draw(-0.06, 0.06, 3))
    tables = (x.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    pixels = images.numpy()
    changed = np.empty_like(pixels)
    for image, table, out in zip(pixels, tables, changed, strict=True):
        for channel in range(3):
            np.take(table[channel], image[channel], out=out[channel], mode="clip")
    for index in torch.nonzero(torch.rand(n, generator=random) < 0.2).flatten().tolist():
        changed[index] = changed[index].mean(axis=0, dtype=np.float32).astype(np.uint8)  # to grey
    return torch.from_numpy(changed)


def degraded(images: Tensor, random: torch.Generator, strongest: float = 6.0) -> Tensor:
    """Lower the resolution of some images (up to `strongest` times, as in a screenshot), blur them, and add noise."""
    kinds = torch.rand(len(images), generator=random)
    images = images.clone()
    side = images.shape[-1]
    for low, high, coarse in ((0.0, 0.1, 1.5), (0.1, 0.2, 2.2), (0.2, 0.27, 3.2), (0.27, 0.31, 4.5), (0.31, 0.33, 5.8)):
        chosen = torch.nonzero((kinds >= low) & (kinds < high)).flatten()
        if len(chosen) and coarse <= strongest:
            small = F.interpolate(images[chosen], size=round(side / coarse), mode="bilinear", antialias=True)
            images[chosen] = F.interpolate(small, size=side, mode="bilinear")
    chosen = torch.nonzero((kinds >= 0.33) & (kinds < 0.5)).flatten()
    if len(chosen):
        sigma = float(torch.rand((), generator=random)) * 2 + 0.5
        reach = torch.arange(-5, 6, dtype=torch.float32)
        line = torch.exp(-(reach**2) / (2 * sigma**2))
        line = (line / line.sum()).repeat(3, 1)
        part = F.conv2d(F.pad(images[chosen], (5, 5, 0, 0), mode="reflect"), line[:, None, None, :], groups=3)
        images[chosen] = F.conv2d(F.pad(part, (0, 0, 5, 5), mode="reflect"), line[:, None, :, None], groups=3)
    few = torch.randn((4, *images.shape[1:]), generator=random)  # four noise patterns are enough for a batch
    strength = torch.rand(len(images), 1, 1, 1, generator=random) ** 3 * 9
    return (images + strength * few[torch.randint(0, 4, (len(images),), generator=random)]).clamp(0, 255)
