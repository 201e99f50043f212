"""Make a segmenter set of whole pictures and of parts of them, with the masks that given weights find.

A smaller segmenter learns from it to see in real pictures what the larger one sees, although nobody has drawn a mask.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xtalgrid_core.errors import ImageError
from xtalgrid_core.images import Pixels, WellPixels, read_image

from .arrays import sha256_of
from .build import Summary
from .crops import Segmenter
from .format import SetError
from .sources import read_file
from .tables import read_lines
from .writing import ChopSetWriter

TRAIN = "train"
SMALLEST, LARGEST = 0.6, 0.95
"""Sides of a part, as shares of the picture's sides."""


def read_list(path: Path) -> list[str]:
    """Read the column ``image`` of a CSV file, without the lines whose ``split``, if there is one, is not `TRAIN`.

    Raises
    ------
    SetError
        If there is no such column, or no line is left.
    """
    images = []
    for number, line in read_lines(path):
        if not line.get("image"):
            raise SetError(f"{path}, line {number}: has no column image, or nothing in it; name it in the first line")
        if line.get("split", TRAIN).lower() == TRAIN:
            images.append(line["image"])
    if not images:
        raise SetError(f"{path}: no line is to train on; look at its column split")
    return list(dict.fromkeys(images))


def build(listing: Path, images: Path, out: Path, segmenter: Segmenter, *, parts: int = 3, seed: int = 0) -> Summary:
    """Write the set of a list's pictures.

    Parameters
    ----------
    listing
        See `read_list`; its file names are relative to the folder `images`.
    segmenter
        Whose masks are taken, not rounded to drop and no drop.
    parts
        Number of random parts of each picture beside the whole, each segmented by itself.
    """
    arguments = {
        "listing": listing.name,
        "listing_sha256": sha256_of(listing),
        "images": str(images),
        "parts": parts,
        "seed": seed,
        "segmenter": segmenter.sha256,
    }
    with ChopSetWriter(out, "xtalgrid-train views", arguments) as writer:
        for number, name in enumerate(read_list(listing)):
            if name in writer.done:
                continue
            try:
                image = read_image(read_file(images / name))
            except (ImageError, SetError) as error:
                writer.fail(name, str(error))
                continue
            rng = np.random.default_rng([seed, number])
            pictures = [image, *(_part(image, rng) for _ in range(parts))]
            views = np.array([WellPixels(picture).segmenter_view() for picture in pictures])
            masks = np.array([np.rint(segmenter.mask_of_view(view) * 255) for view in views], np.uint8)
            writer.add(plate=name, source=listing.stem, image=name, outcome="", views=(views, masks))
    return Summary.of(writer)


def _part(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Cut out a part of a picture, of its shape."""
    height, width = (round(side * rng.uniform(SMALLEST, LARGEST)) for side in image.shape[:2])
    top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
    return np.ascontiguousarray(image[top : top + height, left : left + width])
