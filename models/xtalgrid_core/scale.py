"""Pixel sizes: every image is brought to the reference scale before scoring or training."""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE_UM = 1.13
"""Micrometres per pixel at the reference scale: that of the Minstrel imager's 2560×1920 images."""

GUESSED = "guessed"

_FIELD_OF_VIEW_UM = 2560 * REFERENCE_UM
"""Typical width of an image of one well, for unknown cameras."""

LEAST_UM, MOST_UM = 0.05, 50.0
"""Pixel sizes of well images, in µm; others are mistakes."""

# (width, height) → µm per pixel. Minstrel: measured with a ruler; half-size images show the same field of view.
# Rock Imager: the value used by published pipelines for these images.
KNOWN_IMAGERS: dict[tuple[int, int], tuple[str, float]] = {
    (2560, 1920): ("Rigaku Minstrel", 1.131),
    (2452, 2056): ("Rigaku Minstrel HT UV", 1.131),
    (1280, 960): ("Rigaku Minstrel, half size", 2.262),
    (1224, 1024): ("Formulatrix Rock Imager", 2.838),
    (2448, 2048): ("Formulatrix Rock Imager, full size", 1.419),
}


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Micrometres per pixel, and the origin of the value: ``configured``, an imager's name, or `GUESSED`."""

    um: float
    origin: str

    @property
    def is_guess(self) -> bool:
        """Whether neither the configuration nor the size of the image tells it."""
        return self.origin == GUESSED

    @property
    def to_reference(self) -> float:
        """Factor to the reference scale; see `to_reference`."""
        return to_reference(self.um)


def to_reference(um: float) -> float:
    """Return the factor by which an image of this pixel size must be enlarged to reach the reference scale.

    It is 1 if they agree within 1 %, where resampling would only blur the image.
    """
    factor = um / REFERENCE_UM
    return 1.0 if abs(factor - 1) <= 0.01 else factor


def pixel_size(width: int, height: int, configured_um: float | None = None) -> PixelSize:
    """Return the pixel size of an image: as configured, else that of a known imager, else a guess.

    The guess assumes that the image's width is the usual field of view of a whole well, 2.9 mm.

    Raises
    ------
    ValueError
        If the configured size is not between 0.05 and 50 µm.
    """
    if configured_um is not None:
        if not LEAST_UM <= configured_um <= MOST_UM:
            raise ValueError(
                f"pixel_size_um is {configured_um}; a well image has between {LEAST_UM} and {MOST_UM:g} µm per pixel"
            )
        return PixelSize(configured_um, "configured")
    if (width, height) in KNOWN_IMAGERS:
        name, um = KNOWN_IMAGERS[width, height]
        return PixelSize(um, name)
    return PixelSize(min(max(_FIELD_OF_VIEW_UM / width, LEAST_UM), MOST_UM), GUESSED)
