"""Boxes and outlines as files of annotation tools have them, before their images and meanings are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..ledger.imported_scores import Kind
from .foreign import Place
from .regions import Corner

MOST = 1_048_576
"""Annotations of a file at most."""
MOST_CORNERS = 2000
_LONGEST = 500
_LARGEST = 1e6


@dataclass(frozen=True, slots=True)
class ForeignMark:
    """A box or an outline.

    Attributes
    ----------
    corners
        ``(x, y)`` in units of the file, from the top left of its image; of a box, the top left and bottom right one.
    size
        The image's width and height in the same units; None if the file does not say.
    in_pixels
        Whether these are pixels; else parts, so that the image may have had another size.
    at
        UTC; None if the file does not say.
    """

    place: Place
    label: str
    corners: tuple[Corner, ...]
    size: tuple[float, float] | None
    in_pixels: bool = True
    is_outline: bool = False
    kind: Kind = "person"
    who: str = ""
    at: datetime | None = None
    origin_id: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation of a file by its number there, from 1, or the problem with it; `file` is its own, in a folder."""

    number: int
    mark: ForeignMark | None = None
    problem: str = ""
    file: str = ""


def number(value: Any) -> float:
    """Return a number of a file.

    Raises
    ------
    ValueError
        If it is none, or no length in any image.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{_short(value)} is not a number")
    if not abs(value) <= _LARGEST:  # nor NaN
        raise ValueError(f"{_short(value)} is no place in an image")
    return float(value)


def numbers(values: Any, how_many: int) -> list[float]:
    """Return a list of so many numbers.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(values, list | tuple) or len(values) != how_many:
        raise ValueError(f"{_short(values)} is not {how_many} numbers")
    return [number(value) for value in values]


def corners_of(points: Any) -> tuple[Corner, ...]:
    """Return an outline's corners from a list of pairs.

    Raises
    ------
    ValueError
        If it is none, or has too many.
    """
    if not isinstance(points, list | tuple) or len(points) < 3:
        raise ValueError("an outline needs three corners")
    if len(points) > MOST_CORNERS:
        raise ValueError(f"the outline has {len(points)} corners; simplify it to {MOST_CORNERS} at most")
    return tuple((x, y) for x, y in (numbers(point, 2) for point in points))


def box_corners(x: float, y: float, width: float, height: float) -> tuple[Corner, Corner]:
    """Return a box's corners.

    Raises
    ------
    ValueError
        If it has no size.
    """
    if not (width > 0 and height > 0):
        raise ValueError(f"the box is {width:g} wide and {height:g} high")
    return (x, y), (x + width, y + height)


def size_of(width: Any, height: Any) -> tuple[float, float] | None:
    """Return an image's size; None if it is not there.

    Raises
    ------
    ValueError
        If it is impossible.
    """
    if width is None or height is None:
        return None
    size = number(width), number(height)
    if min(size) < 1:
        raise ValueError(f"the image is {size[0]:g}×{size[1]:g} pixels")
    return size


def text(value: Any) -> str:
    """Return a text on one line, or a number as text; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return "".join(c if c.isprintable() else " " for c in str(value)[:_LONGEST]).strip()


def place_of(path: str, further: Sequence[str] = ()) -> Place:
    """Return the place that an image's path means; `further` are folders that it lies in."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return Place(image="/".join((*further, *parts)))


def _short(value: Any) -> str:
    shown = repr(value)[:60]
    return shown if len(shown) < 60 else shown + "…"
