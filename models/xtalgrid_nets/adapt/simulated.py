"""Labs that no training saw: rendered wells with a camera, plates and outcome habits of their own.

They show what an adaptation gains where the truth is known and wells are as many as one likes. A lab differs from the
rendered wells of the training in three ways: a `Look`, which the renderer does not have and training does not imitate;
how often each outcome occurs; and habits, as people of one lab call light precipitate clear, and those of another
spherulites crystals.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_synth.evaluation_plates import MINSTREL_HALF, OPTIMISATION, RENDERER, ROCK, Camera
from xtalgrid_synth.field import Field
from xtalgrid_synth.grounds import PlateType
from xtalgrid_synth.plate import SCREEN, image_name
from xtalgrid_synth.well import render_well

WELLS_OF_PLATE = 24
_COLUMNS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a lab's camera and plates make of a rendered picture.

    Attributes
    ----------
    gains
        Of red, green and blue; equal ones after `grey`.
    gamma
        Exponent of the brightness, 0..1.
    haze
        Part of the light that is stray, 0..1.
    vignette
        Loss of light in the corners, 0..1.
    blur, sharpen
        Radius in pixels, and strength in percent.
    noise
        Standard deviation, in steps of 256.
    pattern, period
        Depth, 0..1, and distance in µm of lines moulded into the plate or printed on its film.
    quality
        JPEG's.
    """

    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    grey: bool = False
    gamma: float = 1.0
    haze: float = 0.0
    vignette: float = 0.0
    blur: float = 0.0
    sharpen: int = 0
    noise: float = 0.0
    pattern: float = 0.0
    period: float = 200.0
    quality: int = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedLab:
    """A lab; `habits` says which group its people give an outcome, and how often (0..1)."""

    name: str
    seed: int
    camera: Camera
    plates: tuple[PlateType, ...]
    look: Look
    outcomes: Mapping[Outcome, float]
    habits: Mapping[Outcome, tuple[Group, float]]


LABS: tuple[SimulatedLab, ...] = (
    SimulatedLab(
        name="green light",
        seed=710_000_001,
        camera=MINSTREL_HALF,
        plates=("disc", "bevel"),
        look=Look(gains=(0.6, 1.05, 0.65), haze=0.12, vignette=0.35, pattern=0.02, period=90, noise=1.5),
        outcomes={**SCREEN, Outcome.PRECIPITATE: 0.22, Outcome.PRECIPITATE_GOOD: 0.14},
        habits={Outcome.PRECIPITATE_GOOD: (Group.CLEAR, 0.9)},
    ),
    SimulatedLab(
        name="grey camera",
        seed=720_000_001,
        camera=ROCK,
        plates=("ring", "disc"),
        look=Look(grey=True, gamma=1.3, noise=5, quality=70),
        outcomes={**SCREEN, Outcome.PRECIPITATE: 0.12, Outcome.SPHERULITES: 0.1, Outcome.CLEAR: 0.42},
        habits={Outcome.SPHERULITES: (Group.CRYSTAL, 0.9)},
    ),
    SimulatedLab(
        name="soft focus",
        seed=730_000_001,
        camera=MINSTREL_HALF,
        plates=("micro", "frame"),
        look=Look(gains=(1.0, 0.85, 0.55), gamma=0.75, blur=1.6, vignette=0.25, quality=75),
        outcomes={**SCREEN, Outcome.NULL_EXPERIMENT: 0.0, Outcome.PHASE_SEPARATION: 0.13},
        habits={Outcome.PHASE_SEPARATION: (Group.PRECIPITATE, 0.9)},
    ),
    SimulatedLab(
        name="sharpened, many crystals",
        seed=740_000_001,
        camera=MINSTREL_HALF,
        plates=("frame", "bevel"),
        look=Look(gains=(1.0, 0.95, 1.05), gamma=0.85, sharpen=120, blur=0.8, pattern=0.03, period=260, quality=60),
        outcomes={**OPTIMISATION, Outcome.NULL_EXPERIMENT: 0.0, Outcome.CLEAR_WITH_FEATURES: 3000},
        habits={
            Outcome.OVERNUCLEATED: (Group.PRECIPITATE, 0.8),
            Outcome.CLEAR_WITH_FEATURES: (Group.OTHER, 0.7),
        },
    ),
)


def render_lab(lab: SimulatedLab, folder: Path, wells: int) -> Path:
    """Render a lab's first `wells`, and write the table of them, ``folder/NAME/wells.csv``.

    A well is the same however many are rendered, and images that exist are kept.

    Raises
    ------
    ConfigError
        If they are of another version of the renderer.
    """
    place = folder / lab.name.replace(" ", "-").replace(",", "")
    version = place / "renderer.txt"
    if version.is_file() and version.read_text(encoding="utf-8") != RENDERER:
        raise ConfigError(f"{place}: has images of another version of the renderer; give another folder, or remove it")
    if not place.is_dir():
        place.mkdir(parents=True)
        write_atomically(version, RENDERER.encode())
    lines = [csv_line(("source", "plate", "image", "shows", "label"))]
    for number in range(wells):
        rng = np.random.default_rng([lab.seed, number])
        shares = np.array([*lab.outcomes.values()], float)
        outcome = [*lab.outcomes][int(rng.choice(len(shares), p=shares / shares.sum()))]
        habit, often = lab.habits.get(outcome, (outcome.group, 1.0))
        label = habit if rng.random() < often else outcome.group
        plate, position = divmod(number, WELLS_OF_PLATE)
        row, column = divmod(position, _COLUMNS)
        barcode = f"SL{lab.seed // 10_000_000:02d}{plate:04d}"
        path = place / barcode / image_name(barcode, 1, date(2024, 1, 1), row + 1, column + 1, 1)
        lines.append(csv_line((lab.name, barcode, f"{barcode}/{path.name}", outcome, label)))
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _picture(lab, outcome, number, plate, rng))
    write_atomically(place / "wells.csv", b"".join(lines))
    return place / "wells.csv"


def _picture(lab: SimulatedLab, outcome: Outcome, number: int, plate: int, rng: np.random.Generator) -> bytes:
    well = render_well(
        outcome,
        seed=lab.seed * 1000 + number,
        plate_type=lab.plates[plate % len(lab.plates)],
        **lab.camera._asdict(),
    )
    light = float(np.random.default_rng([lab.seed, 1, plate]).uniform(0.9, 1.08))  # no two plates are lit alike
    picture = apply_look(well.image, lab.look, lab.camera.pixel_size_um, light, rng)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=lab.look.quality)
    return stream.getvalue()


def apply_look(
    image: npt.NDArray[np.uint8], look: Look, um: float, light: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return ``(H, W, 3)`` uint8 as a lab's camera sees it; `um` is the size of a pixel, `light` a factor."""
    picture = Image.fromarray(image)
    if look.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(look.blur))
    if look.sharpen:
        picture = picture.filter(ImageFilter.UnsharpMask(radius=2.0, percent=look.sharpen, threshold=0))
    x: Field = np.asarray(picture, np.float32) / 255
    if look.grey:
        x = np.repeat(x.mean(axis=2, keepdims=True), 3, axis=2)
    height, width = x.shape[:2]
    row, col = np.mgrid[0:height, 0:width].astype(np.float32)
    away = ((row / height - 0.5) ** 2 + (col / width - 0.5) ** 2) * 2
    field: Field = light * (1 - look.vignette * away)
    if look.pattern:
        turn = 2 * np.pi * um / look.period
        field *= 1 - look.pattern * (np.sin(turn * (row + 0.6 * col)) > 0.8)
    hazy: Field = ((1 - look.haze) * x + look.haze * 0.6) ** look.gamma
    lit = hazy * np.array(look.gains, np.float32) * field[:, :, None]
    grain = rng.normal(0, look.noise / 255, (height, width, 1 if look.grey else 3)) if look.noise else 0.0
    return np.asarray(np.clip((lit + grain) * 255 + 0.5, 0, 255), np.uint8)
