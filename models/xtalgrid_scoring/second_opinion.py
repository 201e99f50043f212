"""A second opinion on a well: the published MARCO network.

It sees the central square of the image, not levelled, at 599×599 pixels, as the graph of its makers prepares it.
`xtalgrid_core.weights` describes its input and output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from xtalgrid_core.dense import Float, softmax
from xtalgrid_core.images import Pixels

SIDE = 599
"""Pixels of a side of the picture that the network sees."""

_ROWS = 32
"""Rows of the result made at once: they stay in the processor's cache, which halves the time."""

Network = Callable[[Float], Float]
"""Maps N pictures made by `network_input` to their logits, ``(N, 4)``."""


def network_input(image: Pixels) -> Float:
    """Bring an image, ``(H, W, 3)``, into the network's form, ``(1, 3, SIDE, SIDE)`` float32, 0..255.

    The central square is resized as TensorFlow's `ResizeBilinear` did it in 2018: pixel i of the result lies at
    i · side / `SIDE` and is interpolated between its two neighbours in each direction. This leaves a much smaller image
    sharper than `images.resize` does.
    """
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    at = np.arange(SIDE, dtype=np.float32) * np.float32(side / SIDE)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, side - 1)
    part = (at - low).astype(np.float32)[:, None, None]
    picture = np.empty((1, 3, SIDE, SIDE), np.float32)
    for start in range(0, SIDE, _ROWS):
        rows = slice(start, start + _ROWS)
        above, below = (
            _between(np.take(lines, left + low, axis=1), np.take(lines, left + high, axis=1), part[:, 0])
            for lines in (image[top + low[rows]], image[top + high[rows]])
        )
        picture[0, :, rows] = _between(above, below, part[rows]).transpose(2, 0, 1)
    return picture


def _between(first: npt.NDArray[Any], second: npt.NDArray[Any], part: Float) -> Float:
    """Interpolate linearly between two arrays, `part` of the way from the first to the second."""
    start = first.astype(np.float32)
    result: Float = second - start
    result *= part
    result += start
    return result


def probabilities(network: Network, image: Pixels) -> Float:
    """Return the probabilities of the four groups, ``(4,)``, of an image, ``(H, W, 3)``; see `outcomes.SCORED_GROUPS`.

    Raises
    ------
    ArithmeticError
        If the network returns another shape, or values that are not finite.
    """
    logits = network(network_input(image))
    if logits.shape != (1, 4) or not np.isfinite(logits).all():
        raise ArithmeticError(
            f"the second opinion returned {logits.shape} values, some perhaps not finite; expected 4 finite ones"
        )
    groups: Float = softmax(logits)[0]
    return groups
