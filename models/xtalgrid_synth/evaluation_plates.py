"""The rendered plates for evaluating models: test plates, and validation plates for choosing rules and calibrating.

Their settings are frozen, so that figures of different models can be compared: they are measured on the same images.
Training sets share no seed with them: training renders wells with seeds below 10⁹, and the drops' seeds here are above
8 · 10¹¹.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.outcomes import Outcome

from .grounds import PlateType
from .plate import SCREEN, draw_outcomes, render_plate

SETTINGS = "settings.json"
"""In each plate's folder: what its images were rendered with."""

RENDERER = "2026-11-30"
"""Version of the renderer; change it whenever the images change (tests/synth/test_same_images.py fails then)."""

WELLS = 150
"""Drops per plate, as in the paper: 2,400 on 16 plates (section 3.1)."""


class Camera(NamedTuple):
    """Size of the image in pixels, and of a pixel in µm. The worker knows these sizes, so none has to be configured."""

    width: int
    height: int
    pixel_size_um: float


MINSTREL_UV = Camera(2452, 2056, 1.131)
MINSTREL = Camera(2560, 1920, 1.131)
MINSTREL_HALF = Camera(1280, 960, 2.262)
ROCK = Camera(1224, 1024, 2.838)
ROCK_FULL = Camera(2448, 2048, 1.419)

OPTIMISATION: dict[Outcome, float] = {
    Outcome.HARVESTABLE: 3428,
    Outcome.BAD_FORM: 2123,
    Outcome.OVERNUCLEATED: 2873,
    Outcome.PRECIPITATE: 10994,
    Outcome.PRECIPITATE_BAD: 1142,
    Outcome.PRECIPITATE_GOOD: 1459,
    Outcome.NULL_EXPERIMENT: 515,
    Outcome.OTHER: 788,
    Outcome.SPHERULITES: 189,
    Outcome.PHASE_SEPARATION: 1946,
    Outcome.CLEAR: 7613,
    Outcome.CLEAR_WITH_FEATURES: 802,
}
"""Images of each class in the paper's Table 1: a quarter are crystals, as on plates that optimise a known condition."""


@dataclass(frozen=True, slots=True)
class PlateSettings:
    """All that a plate's images depend on, apart from the renderer."""

    barcode: str
    seed: int
    plate_type: PlateType
    camera: Camera
    optimisation: bool = False
    """Whether outcomes are drawn from `OPTIMISATION`, with many crystals, or from `plate.SCREEN`."""

    def outcomes(self, wells: int = WELLS) -> list[Outcome]:
        """Draw the outcomes of the first `wells` drops (1 to 288)."""
        shares = dict(OPTIMISATION if self.optimisation else SCREEN)
        if self.plate_type in ("micro", "inside"):  # here an empty well looks like a clear drop
            shares[Outcome.NULL_EXPERIMENT] = 0
        return draw_outcomes(np.random.default_rng(self.seed), 288, shares)[:wells]


TEST_PLATES: tuple[PlateSettings, ...] = (
    PlateSettings("TE000001", 900_000_001, "ring", MINSTREL_UV),
    PlateSettings("TE000002", 900_000_002, "disc", ROCK),
    PlateSettings("TE000003", 900_000_003, "bevel", MINSTREL_HALF),
    PlateSettings("TE000004", 900_000_004, "micro", MINSTREL_HALF),
    PlateSettings("TE000005", 900_000_005, "disc", MINSTREL, optimisation=True),
    PlateSettings("TE000006", 900_000_006, "ring", MINSTREL_HALF),
    PlateSettings("TE000007", 900_000_007, "bevel", ROCK),
    PlateSettings("TE000008", 900_000_008, "micro", MINSTREL_UV),
    PlateSettings("TE000009", 900_000_009, "disc", ROCK),
    PlateSettings("TE000010", 900_000_010, "ring", MINSTREL_HALF, optimisation=True),
    PlateSettings("TE000011", 900_000_011, "disc", MINSTREL_HALF),
    PlateSettings("TE000012", 900_000_012, "inside", MINSTREL_HALF),
    PlateSettings("TE000013", 900_000_013, "bevel", ROCK_FULL, optimisation=True),
    PlateSettings("TE000014", 900_000_014, "frame", ROCK),
    PlateSettings("TE000015", 900_000_015, "micro", MINSTREL_HALF, optimisation=True),
    PlateSettings("TE000016", 900_000_016, "disc", ROCK),
)
"""For judging a finished model."""

VALIDATION_PLATES: tuple[PlateSettings, ...] = (
    PlateSettings("VA000001", 800_000_001, "ring", MINSTREL_HALF),
    PlateSettings("VA000002", 800_000_002, "disc", ROCK),
    PlateSettings("VA000003", 800_000_003, "bevel", MINSTREL_HALF, optimisation=True),
    PlateSettings("VA000004", 800_000_004, "micro", MINSTREL_HALF),
    PlateSettings("VA000005", 800_000_005, "disc", MINSTREL_UV),
    PlateSettings("VA000006", 800_000_006, "ring", MINSTREL),
    PlateSettings("VA000007", 800_000_007, "inside", ROCK),
    PlateSettings("VA000008", 800_000_008, "disc", MINSTREL_HALF, optimisation=True),
)
"""For choosing rules and thresholds and for calibrating, never for judging."""


def render_evaluation_plates(
    folder: Path,
    plates: Iterable[int] = range(len(TEST_PLATES)),
    wells: int = WELLS,
    jobs: int = 2,
    settings: Sequence[PlateSettings] = TEST_PLATES,
) -> list[Path]:
    """Render plates as `render_plate` does: images in ``folder/BARCODE/1/``, outcomes in ``folder/BARCODE/truth.csv``.

    Parameters
    ----------
    folder
        Made if missing. Images in it are kept, so that a run that was stopped can go on.
    plates
        Which of `settings`, counted from 0.
    wells
        Drops per plate, 1 to 288. A smaller number gives the first drops of a larger one.
    jobs
        How many processes render at once.
    settings
        `TEST_PLATES` or `VALIDATION_PLATES`.

    Returns
    -------
    list of Path
        The images, plate by plate, in the order of the drops.

    Raises
    ------
    ConfigError
        If a plate's folder holds images of other settings or of another version of the renderer.
    ValueError
        If a plate can't have as many drops as `wells`.
    """
    if not 1 <= wells <= 288:
        raise ValueError(f"wells is {wells}; a plate has 1 to 288 drops")
    chosen = [settings[i] for i in plates]
    for plate in chosen:
        _claim(folder / plate.barcode, plate)
    render = partial(_render_one, folder, wells)
    if jobs == 1:
        return [path for plate in chosen for path in render(plate)]
    with ProcessPoolExecutor(jobs) as pool:  # the slow, large images first, so that all processes end together
        order = sorted(chosen, key=lambda plate: -plate.camera.width)
        files = dict(zip([plate.barcode for plate in order], pool.map(render, order), strict=True))
    return [path for plate in chosen for path in files[plate.barcode]]


def _render_one(folder: Path, wells: int, plate: PlateSettings) -> list[Path]:
    return render_plate(
        folder,
        barcode=plate.barcode,
        seed=plate.seed,
        wells=plate.outcomes(wells),
        plate_type=plate.plate_type,
        keep=True,
        **plate.camera._asdict(),
    )


def _claim(folder: Path, plate: PlateSettings) -> None:
    """Write the plate's settings into its folder, or check that they are the ones written there."""
    record = {**asdict(plate), "camera": plate.camera._asdict(), "renderer": RENDERER}
    path = folder / SETTINGS
    if path.is_file():
        if path.read_bytes() != _json(record):
            raise ConfigError(
                f"{folder} contains a plate with other settings or from another version of the renderer;"
                " give another folder, or remove this one"
            )
        return
    if folder.is_dir() and any(folder.glob("*/*.jpg")):
        raise ConfigError(
            f"{folder} contains images but no {SETTINGS}, so their settings are unknown; give another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _json(record))


def _json(record: dict[str, object]) -> bytes:
    return json.dumps(record, indent=2).encode() + b"\n"
