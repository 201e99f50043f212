"""Draw a scored well: a frame in the outcome's colour and line style, the drop's outline, and the best chops.

Every line is drawn over a wider one of contrasting brightness, so that it is visible on white, grey and black wells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont

from .best_chops import shown_chops
from .images import Pixels
from .outcomes import Outcome, OutcomeStyle, ink
from .wire import Answer, Drop, Failed

_FRAME_WIDTH = 1 / 60
"""Width of the outer frame as a fraction of the image's shorter side."""

SUFFIX = "_ART.jpg"
"""The framed image of ``A01.jpg`` is ``A01_ART.jpg``; files with this suffix are never scored."""

Point = tuple[float, float]


def frame(image: Pixels, answer: Answer) -> Image.Image:
    """Draw the score into an image of the well, at the original size.

    Parameters
    ----------
    image
        The original, ``(H, W, 3)``.
    answer
        Its score or failure. Boxes that extend past the image's edge are clipped.
    """
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    unit = max(2, round(min(picture.size) * _FRAME_WIDTH))
    if isinstance(answer, Failed):
        _outer_frame(draw, picture.size, Outcome.FAILED.style, unit)
        _label(draw, (unit * 1.5, unit * 1.5), f"! failed: {answer.reason}", Outcome.FAILED.style.colour, unit * 2)
        return picture
    _outline(draw, answer.drop, max(1, unit // 6))
    chops = shown_chops(answer)
    for chop in reversed(chops):  # the best one is drawn last, on top
        row, col, height, width = chop.box
        corners = [(col, row), (col + width, row), (col + width, row + height), (col, row + height)]
        _line(draw, [*corners, corners[0]], chop.outcome.style, max(2, unit // 5))
    for chop in reversed(chops):
        row, col, _, _ = chop.box
        text = f"{chop.outcome.style.letter} {percent(chop.probability)}"
        _label(draw, (max(col, unit), max(row, unit)), text, chop.outcome.style.colour, max(10, round(unit * 1.2)))
    _outer_frame(draw, picture.size, answer.outcome.style, unit)
    title = f"{answer.outcome.style.letter}  {answer.outcome} {percent(answer.probability)}"
    _label(draw, (unit * 1.5, unit * 1.5), title, answer.outcome.style.colour, unit * 2)
    return picture


def percent(probability: float) -> str:
    """Format a probability for people: 100 % only if it is exactly 1, 0 % only if it is exactly 0."""
    if 0 < probability < 0.01:
        return "<1 %"
    return f"{math.floor(probability * 100 + 1e-9)} %"


def thumbnail(image: Image.Image, side: int) -> Image.Image:
    """Return a copy of an image, reduced so that its longer side is at most `side` pixels."""
    copy = image.copy()
    copy.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return copy


def _outer_frame(draw: ImageDraw.ImageDraw, size: tuple[int, int], style: OutcomeStyle, unit: int) -> None:
    width, height = size
    half = unit / 2
    corners = [(half, half), (width - half, half), (width - half, height - half), (half, height - half)]
    ground = style.ink if style.dash else style.colour
    draw.line([*corners, corners[0], corners[1]], fill=ground, width=unit, joint="curve")
    _strokes(draw, [*corners, corners[0]], style.colour, unit, style.dash)


def _outline(draw: ImageDraw.ImageDraw, drop: Drop, width: int) -> None:
    if len(drop.outline) > 2:
        points = [(float(col), float(row)) for row, col in drop.outline]
        _strokes(draw, [*points, points[0]], "#ffffff", width, (2, 6))
        _strokes(draw, [*points[1:], points[0], points[1]], "#202020", width, (2, 6))


def _line(draw: ImageDraw.ImageDraw, points: Sequence[Point], style: OutcomeStyle, width: int) -> None:
    draw.line(points, fill=style.ink, width=width + 2 * max(1, width // 4))
    _strokes(draw, points, style.colour, width, style.dash)


def _strokes(draw: ImageDraw.ImageDraw, points: Sequence[Point], colour: str, width: int, dash: Iterable[int]) -> None:
    """Draw a line through points, solid or dashed; dashes continue around corners."""
    lengths = [length * width * 2.0 for length in dash]
    if not lengths:
        draw.line(points, fill=colour, width=width)
        return
    pattern = itertools.cycle(zip(lengths, itertools.cycle((True, False))))
    left, on = next(pattern)
    for start, end in itertools.pairwise(points):
        length = math.dist(start, end)
        position = 0.0
        while position < length:
            stop = min(position + left, length)
            if on:
                ends = [_between(start, end, at / length) for at in (position, stop)]
                draw.line(ends, fill=colour, width=width)
            left -= stop - position
            position = stop
            if left < 1e-6:  # a remainder from rounding would never be used up
                left, on = next(pattern)


def _between(start: Point, end: Point, part: float) -> Point:
    return start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part


def _label(draw: ImageDraw.ImageDraw, at: Point, text: str, colour: str, size: int) -> None:
    font = ImageFont.load_default(size)
    pad = size / 4
    left, top, right, bottom = draw.textbbox(at, text, font=font)
    draw.rectangle((left - pad, top - pad, right + pad, bottom + pad), fill=colour, outline=ink(colour))
    draw.text(at, text, fill=ink(colour), font=font)
