"""Make patches of real wells whose drop looks the same everywhere: clear, full of precipitate, or covered by a skin.

The score of such a well holds for every window inside its drop, so real pictures can be used for training although
nobody has drawn boxes. A well with a crystal in one corner does not belong here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import CHOP, Box, cut
from xtalgrid_core.drops import INSIDE, find_drop, largest_region
from xtalgrid_core.errors import ImageError
from xtalgrid_core.images import Levels, Pixels, classifier_view, read_image, resize
from xtalgrid_core.outcomes import CLASSES, PRIORITY, Group, Outcome
from xtalgrid_core.scale import pixel_size, to_reference

from .arrays import sha256_of
from .contours import Bool, contour_map, lengths
from .format import NO_LABEL, PATCH, PATCH_STARTS, SetError
from .tables import read_lines
from .writing import ChopSetWriter

Mask = npt.NDArray[np.float32]

TEXTURE = 1.0
"""Contours (`contours.lengths`) from which a window shows the outcome: parts of a drop full of precipitate are
smooth."""

COLUMNS = ("image", "outcome", "pixel_size_um", "stretch")


class Row(NamedTuple):
    """A line of the list: file, outcome of the whole drop, µm per pixel, and factor to widen the picture by."""

    image: str
    outcome: Outcome
    um: float
    stretch: float

    @property
    def name(self) -> str:
        """Name in the set: all scales of one picture are wells of their own."""
        return f"{self.image} at {self.um:g} µm"


def read_list(path: Path) -> list[Row]:
    """Read a CSV file with the columns `COLUMNS` (``stretch`` may be missing).

    Raises
    ------
    SetError
        Names the first line that can't be used.
    """
    rows: dict[str, Row] = {}
    for number, line in read_lines(path):
        try:
            um = float(line["pixel_size_um"])
            row = Row(line["image"], Outcome(line["outcome"]), pixel_size(1, 1, um).um, float(line.get("stretch") or 1))
            if not 0.1 <= row.stretch <= 10:
                raise ValueError(f"stretch is {row.stretch}; give 0.1 to 10")
        except (KeyError, TypeError, ValueError) as error:
            raise SetError(f"{path}, line {number}: needs {', '.join(COLUMNS)} ({error!r})") from error
        if row.outcome not in CLASSES or row.outcome.group is Group.CRYSTAL:
            raise SetError(f"{path}, line {number}: {row.outcome.value!r} can't fill a whole drop; leave this line out")
        if rows.setdefault(row.name, row) is not row:
            raise SetError(f"{path}, line {number}: lists {row.name} again; leave one of the lines")
    return list(rows.values())


def build(
    listing: Path,
    images: Path,
    out: Path,
    segment: Callable[[Pixels], Mask],
    *,
    patches: int = 6,
    seed: int = 0,
    segmenter: str = "",
) -> dict[str, str]:
    """Write the patches of a list's wells as a training set; return the unusable images with the reasons.

    Parameters
    ----------
    listing
        See `read_list`; its file names are relative to the folder `images`.
    segment
        Maps a well image ``(H, W, 3)`` to the probability of lying in the drop ``(256, 256)``, as
        `crops.Segmenter.mask`.
    patches
        Number of patches per image, at random places around its drop.
    segmenter
        SHA-256 of the network behind `segment`, for the record.
    """
    arguments = {
        "listing": listing.name,
        "listing_sha256": sha256_of(listing),
        "images": str(images),
        "patches": patches,
        "seed": seed,
        "segmenter": segmenter,
    }
    with ChopSetWriter(out, "xtalgrid-train uniform", arguments) as writer:
        for number, row in enumerate(read_list(listing)):
            name = row.name
            if name in writer.done:
                continue
            try:
                cut_patches = _patches(row, images / row.image, segment, patches, np.random.default_rng([seed, number]))
            except (ImageError, OSError) as error:
                writer.fail(name, str(error))
                continue
            if cut_patches is None:
                writer.leave_out(name, "no drop found")
                continue
            # All scales of one picture count as one plate, so that they are held out together.
            writer.add(plate=row.image, source=listing.stem, image=name, outcome=row.outcome.value, patches=cut_patches)
    return writer.failed


def window_label(outcome: Outcome, part: float, contours: float) -> int:
    """Label a window of a drop that shows `outcome` all over.

    Parameters
    ----------
    part
        Fraction of the window that lies in the drop, 0..1.
    contours
        Length of the contours in it (`contours.lengths`).
    """
    if outcome.group is Group.CLEAR:
        return PRIORITY[outcome if part > 0.985 else Outcome.RIM]
    if part < 0.02:
        return PRIORITY[Outcome.RIM]
    return PRIORITY[outcome] if part >= 0.5 and contours >= TEXTURE else NO_LABEL


def _patches(
    row: Row, path: Path, segment: Callable[[Pixels], Mask], count: int, rng: np.random.Generator
) -> tuple[Pixels, npt.NDArray[np.uint8]] | None:
    image = read_image(path.read_bytes())
    if row.stretch != 1:
        image = resize(image, image.shape[0], round(image.shape[1] * row.stretch))
    levels = Levels.of(image)
    mask = segment(image)
    drop = find_drop(mask, *image.shape[:2]).box
    if drop is None:
        return None
    factor = to_reference(row.um)
    view = classifier_view(image, levels, factor)
    height, width = view.shape[:2]
    inside = (
        resize(np.repeat(largest_region(mask >= INSIDE)[:, :, None], 3, 2).astype(np.uint8) * 255, height, width)[
            :, :, 0
        ]
        > 127
    )
    box = drop.scaled(factor)
    seen = contour_map(view)
    pixels, labels = [], []
    for _ in range(count):
        row_start, col_start = (
            _start(rng, *span) for span in ((box.row, box.height, height), (box.col, box.width, width))
        )
        pixels.append(cut(view, [Box(row_start, col_start, PATCH, PATCH)])[0])
        windows = [Box(row_start + i, col_start + j, CHOP, CHOP) for i in PATCH_STARTS for j in PATCH_STARTS]
        labels.append(
            [_label(row.outcome, inside, *pair) for pair in zip(windows, lengths(seen, windows), strict=True)]
        )
    side = len(PATCH_STARTS)
    return np.array(pixels), np.array(labels, np.uint8).reshape(-1, side, side)


def _start(rng: np.random.Generator, start: int, length: int, whole: int) -> int:
    """Choose the start of a patch along one side: somewhere over the drop, inside the picture."""
    low, high = start - PATCH // 4, start + length - math.ceil(PATCH * 0.75)
    return int(np.clip(rng.integers(min(low, high), max(low, high) + 1), 0, max(whole - PATCH, 0)))


def _label(outcome: Outcome, inside: Bool, window: Box, contours: float) -> int:
    part = inside[window.row : window.row + CHOP, window.col : window.col + CHOP]
    return window_label(outcome, float(part.mean()), contours) if part.shape == (CHOP, CHOP) else NO_LABEL
