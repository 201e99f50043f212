"""Make a segmenter set of whole pictures and of parts of them, with the masks that given weights find.

A smaller segmenter learns from it to see in real pictures what the larger one sees, although nobody has drawn a mask.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from xtalgrid_core.errors import ImageError
from xtalgrid_core.images import Pixels, WellPixels, read_image

from .build import Summary
from .crops import Segmenter
from .format import SetError
from .sources import read_file
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
    with path.open(newline="", encoding="utf-8") as stream:
        lines = csv.DictReader(stream)
        if "image" not in (lines.fieldnames or []):
            raise SetError(f"{path}: has no column image; name it in the first line")
        images = [line["image"] for line in lines if line.get("split", TRAIN) == TRAIN]
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
    arguments = {"listing": listing.name, "parts": parts, "seed": seed, "segmenter": segmenter.sha256}
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
