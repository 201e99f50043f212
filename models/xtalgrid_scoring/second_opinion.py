"""What the published MARCO network says of a well: a second opinion, beside the classifier's.

It sees the central square of the picture, as large as the picture's shorter side is, not levelled, at 599×599: what its makers' graph does before the
network. What goes in and comes out of it stands at the head of `xtalgrid_core.weights`.
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
"""Rows of the result that are made at once: what is worked on stays in the processor's cache, which halves the time."""

Network = Callable[[Float], Float]
"""Gives the logits, ``(N, 4)``, of N pictures as `network_input` makes them."""


def network_input(image: Pixels) -> Float:
    """What the network sees of an image, ``(H, W, 3)``: ``(1, 3, SIDE, SIDE)`` float32, 0..255.

    The central square is resized as TensorFlow's `ResizeBilinear` of then did it: pixel i of the result lies at i · side / `SIDE`, and is made of the
    two pixels on either side of it, in each direction. A picture that is made much smaller is therefore sharper than by `images.resize`.
    """
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    at = np.arange(SIDE, dtype=np.float32) * np.float32(side / SIDE)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, side - 1)
    part = (at - low).astype(np.float32)[:, None, None]
    seen = np.empty((1, 3, SIDE, SIDE), np.float32)
    for start in range(0, SIDE, _ROWS):
        rows = slice(start, start + _ROWS)
        above, below = (
            _between(np.take(lines, left + low, axis=1), np.take(lines, left + high, axis=1), part[:, 0])
            for lines in (image[top + low[rows]], image[top + high[rows]])
        )
        seen[0, :, rows] = _between(above, below, part[rows]).transpose(2, 0, 1)
    return seen


def _between(first: npt.NDArray[Any], second: npt.NDArray[Any], part: Float) -> Float:
    """What lies this part of the way from the first to the second."""
    start = first.astype(np.float32)
    way: Float = second - start
    way *= part
    way += start
    return way


def probabilities(network: Network, image: Pixels) -> Float:
    """Probabilities of the four groups, ``(4,)`` in the order of `outcomes.SCORED_GROUPS`, that the network gives an image, ``(H, W, 3)``."""
    logits = network(network_input(image))
    if logits.shape != (1, 4) or not np.isfinite(logits).all():
        raise ArithmeticError(f"the second opinion gave {logits.shape} values, finite or not; expected 4 finite ones")
    found: Float = softmax(logits)[0]
    return found
