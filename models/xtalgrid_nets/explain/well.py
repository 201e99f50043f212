"""From a well image to its explanation's pictures."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from xtalgrid_core.drops import find_drop
from xtalgrid_core.images import read_image
from xtalgrid_core.scale import pixel_size

from ..sets.crops import Segmenter, crop_to_drop, whole_well
from .maps import explain
from .pictures import draw_groups, draw_saliency


def explain_well(
    path: Path, net: nn.Module, segmenter: Segmenter, out: Path, pixel_size_um: float | None = None, samples: int = 12
) -> tuple[str, list[Path]]:
    """Explain one image; gives what it is called, in words, and the pictures written (none for a null experiment).

    Raises
    ------
    ImageError
        When the file is no usable image.
    ConfigError
        When the network has no class map.
    """
    image = read_image(path.read_bytes())
    height, width = image.shape[:2]
    scale = pixel_size(width, height, pixel_size_um)
    mask = segmenter.mask(image)
    drop = find_drop(mask, height, width)
    if drop.is_null_experiment:
        return f"null experiment: no drop ({drop.confidence:.2f})", []
    found = explain(net, crop_to_drop(image, mask, scale) or whole_well(image, scale), samples)
    said = f"{found.decision.outcome} ({found.decision.probability:.2f})"
    title = f"{path.name}\n{said}"
    return said, [
        draw_groups(found, title, out / f"{path.stem}-groups.png"),
        draw_saliency(found, title, out / f"{path.stem}-smoothgrad.png"),
    ]
