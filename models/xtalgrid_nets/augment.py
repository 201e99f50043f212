"""What may happen to a picture without changing what it shows: turned, mirrored, brighter, blurred, noisier, coarser."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def turned(images: Tensor, masks: Tensor | None, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Turn each image of ``(N, C, S, S)`` (and its mask) by quarter turns, and mirror half of them."""
    kinds = torch.randint(0, 8, (len(images),), generator=random)
    images = images.clone()
    masks = None if masks is None else masks.clone()
    for kind in range(1, 8):
        chosen = torch.nonzero(kinds == kind).flatten()
        for batch in (images,) if masks is None else (images, masks):
            if len(chosen):
                part = torch.rot90(batch[chosen], kind % 4, (2, 3))
                batch[chosen] = part.flip(3) if kind >= 4 else part
    return images, masks


def exposed(images: Tensor, random: torch.Generator) -> Tensor:
    """Change brightness, contrast, gamma and colour of each image of ``(N, 3, H, W)`` uint8, by way of tables: quick."""
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
        changed[index] = changed[index].mean(axis=0, dtype=np.float32).astype(np.uint8)  # without colour
    return torch.from_numpy(changed)


def degraded(images: Tensor, random: torch.Generator, strongest: float = 6.0) -> Tensor:
    """Lose resolution (up to `strongest` times, as a screenshot of a well does), blur, and add noise, to a part of the images."""
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
    few = torch.randn((4, *images.shape[1:]), generator=random)  # four patterns of noise are enough for a batch
    strength = torch.rand(len(images), 1, 1, 1, generator=random) ** 3 * 9
    return (images + strength * few[torch.randint(0, 4, (len(images),), generator=random)]).clamp(0, 255)
