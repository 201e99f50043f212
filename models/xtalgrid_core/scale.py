"""How large a pixel is: every image is brought to the reference scale before it is scored or trained on."""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE_UM = 1.13
"""Micrometres a pixel at the reference scale: the Minstrel imager's 2560×1920 images."""

_FIELD_OF_VIEW_UM = 2560 * REFERENCE_UM
"""Width of a usual image of one well, for cameras that are not known."""

# (width, height) → µm a pixel. Minstrel: a lab's ruler; the half-size ones are the same field at half the pixels.
# Rock Imager: the value that published pipelines for these images use.
KNOWN_IMAGERS: dict[tuple[int, int], tuple[str, float]] = {
    (2560, 1920): ("Rigaku Minstrel", 1.131),
    (2452, 2056): ("Rigaku Minstrel HT UV", 1.131),
    (1280, 960): ("Rigaku Minstrel, half size", 2.262),
    (1224, 1024): ("Formulatrix Rock Imager", 2.838),
    (2448, 2048): ("Formulatrix Rock Imager, full size", 1.419),
}


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Micrometres a pixel, and where the figure is from: ``configured``, an imager's name, or ``guessed``."""

    um: float
    origin: str

    @property
    def to_reference(self) -> float:
        """See `to_reference`."""
        return to_reference(self.um)


def to_reference(um: float) -> float:
    """Factor by which the sides of an image of so many µm a pixel are multiplied to reach the reference scale.

    1 within 1 %: resampling would blur the picture and change nothing else.
    """
    factor = um / REFERENCE_UM
    return 1.0 if abs(factor - 1) <= 0.01 else factor


def pixel_size(width: int, height: int, configured_um: float | None = None) -> PixelSize:
    """The pixel size of an image: as configured, else from the size of known imagers, else guessed.

    The guess takes the image's width for a whole well's usual field of view, 2.9 mm.

    Raises
    ------
    ValueError
        When the configured size is not between 0.05 and 50 µm.
    """
    if configured_um is not None:
        if not 0.05 <= configured_um <= 50:
            raise ValueError(f"pixel_size_um is {configured_um}; a well image has between 0.05 and 50 µm a pixel")
        return PixelSize(configured_um, "configured")
    if (width, height) in KNOWN_IMAGERS:
        name, um = KNOWN_IMAGERS[width, height]
        return PixelSize(um, name)
    return PixelSize(min(max(_FIELD_OF_VIEW_UM / width, 0.05), 50), "guessed")
