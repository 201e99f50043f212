"""Build a training set for the segmenter from hand-drawn masks (paper, section 2.2: 214 masks drawn with GIMP)."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from xtalgrid_core.errors import ImageError
from xtalgrid_core.files import readable
from xtalgrid_core.images import SEGMENTER_SIDE, SUFFIXES, Levels, read_image, resize, segmenter_view

from .build import Summary
from .format import SetError
from .masks import read_mask
from .sources import plate_of, read_file
from .writing import ChopSetWriter

SHAPE_TOLERANCE = 0.03
"""Largest difference between the aspect ratios of a mask and its image: masks are drawn on scaled-down, rounded
copies."""


def build_from_masks(
    images: Path, masks: Path, out: Path, *, plates: str = "", inverted: bool = False, source: str = ""
) -> Summary:
    """Write the segmenter set of a folder of wells and a folder of masks with the same stems.

    Parameters
    ----------
    plates
        Regular expression whose first group is the plate in an image's name; if empty, each image is its own plate.

    Raises
    ------
    SetError
        If a folder is missing, or no mask has an image.
    """
    wells, drawn = _by_stem(images, SUFFIXES), _by_stem(masks, SUFFIXES)
    if not set(wells) & set(drawn):
        raise SetError(
            f"{masks}: no mask has the name of an image in {images}; name each mask like its image, with .png"
        )
    arguments = {"images": str(images), "masks": str(masks), "plates": plates, "inverted": inverted}
    with ChopSetWriter(out, "masks", arguments) as writer:
        for stem in sorted(drawn):
            name = readable(drawn[stem][0].name)
            if name in writer.done:
                continue
            try:
                _add(writer, stem, wells.get(stem, []), drawn[stem], plates, inverted, source or images.name)
            except (SetError, ImageError) as error:
                writer.fail(name, str(error))
        for stem in sorted(set(wells) - set(drawn)):
            name = readable(wells[stem][0].name)
            if name not in writer.done:
                writer.leave_out(name, "images without a mask")
    return Summary.of(writer)


def _add(
    writer: ChopSetWriter, stem: str, wells: list[Path], drawn: list[Path], plates: str, inverted: bool, source: str
) -> None:
    if not wells:
        raise SetError(f"there is no image {stem} (.jpg, .png, .tif)")
    if len(wells) > 1 or len(drawn) > 1:
        raise SetError(
            f"{stem}: several files have this name ({', '.join(str(p) for p in (*wells, *drawn))}); keep one"
        )
    data = read_file(wells[0])
    digest = hashlib.sha256(data).hexdigest()
    twin = writer.twin_of(digest)
    if twin is not None:
        writer.leave_out(readable(drawn[0].name), "second copies of an image")
        return
    image, drop = read_image(data), read_mask(drawn[0], inverted=inverted)
    ratio = (image.shape[1] / image.shape[0]) / (drop.shape[1] / drop.shape[0])
    if abs(ratio - 1) > SHAPE_TOLERANCE:
        raise SetError(
            f"the mask {drawn[0]} is {drop.shape[1]}×{drop.shape[0]}, its image {image.shape[1]}×{image.shape[0]}: "
            "the shapes differ; export the mask uncropped"
        )
    view = segmenter_view(image, Levels.of(image))
    grey = np.repeat(drop[:, :, None].astype(np.uint8) * 255, 3, axis=2)
    mask = resize(grey, SEGMENTER_SIDE, SEGMENTER_SIDE)[:, :, 0]
    writer.add(
        plate=readable(plate_of(wells[0].name, plates) or wells[0].name),
        source=source,
        image=readable(drawn[0].name),
        outcome="",
        sha256=digest,
        views=(view[None], mask[None]),
        counts={"views without a drop": int(not drop.any())},
    )


def drawn_masks(folder: Path) -> dict[str, Path]:
    """Return the masks in a folder by their stems, which are those of their images.

    Raises
    ------
    SetError
        If there is no such folder, or two masks have one stem.
    """
    found = _by_stem(folder, SUFFIXES)
    if doubled := [files for files in found.values() if len(files) > 1]:
        raise SetError(f"{doubled[0][0]} and {doubled[0][1]}: two masks of one image; keep one")
    return {stem: files[0] for stem, files in found.items()}


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise SetError(f"{folder}: no such folder")
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith("."):
            files[path.stem].append(path)
    return files
