"""Hand-drawn drop masks, as drawing programs save them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from .format import SetError

Bool = npt.NDArray[np.bool_]


def read_mask(path: Path, *, inverted: bool = False) -> Bool:
    """Read a mask saved by a drawing program: ``(h, w)``, True in the drop.

    The file may be grey, palette, black-and-white, colour or 16-bit, with values 0 and 255 or 0 and 1; transparent
    pixels are outside the drop. In a picture of one colour on a transparent background, the alpha channel is the
    mask. The half-tones of a soft brush are rounded to the nearer side.

    Parameters
    ----------
    inverted
        Whether the drop is the dark, or transparent, part.

    Raises
    ------
    SetError
        If the file is not an image, or no drop can be recognised in it.
    """
    try:
        with Image.open(path) as image:
            values, alpha = _light(image)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise SetError(f"the mask {path} is not an image ({error}); export it as PNG") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise SetError(f"cannot read the mask {path}: {error}; export it again as PNG") from error
    seen = values * alpha
    if np.ptp(seen) == 0 and np.ptp(alpha) > 0:  # one colour, perhaps black, on a transparent background
        seen = alpha
    low, high = float(seen.min()), float(seen.max())
    if low == high and low > 0:
        raise SetError(
            f"the mask {path} has only one colour; paint the drop white and the rest black (all black: no drop)"
        )
    drop = seen > (low + high) / 2
    if inverted:
        drop = ~drop
    if drop[0].all() and drop[-1].all() and drop[:, 0].all() and drop[:, -1].all():
        raise SetError(
            f"the mask {path} shows a drop along the whole border; if the drop is dark on white, use --inverted"
        )
    return drop


def _light(image: Image.Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the brightness and the opacity (0..1) of each pixel."""
    if image.mode.startswith(("I", "F")):
        grey = np.asarray(image, np.float32)
        return grey, np.ones_like(grey)
    pixels = np.asarray(image.convert("RGBA"), np.float32)
    return pixels[:, :, :3].max(axis=2), pixels[:, :, 3] / np.float32(255)
