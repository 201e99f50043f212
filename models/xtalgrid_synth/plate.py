"""A plate's images in a folder, under the names a Rigaku imager gives them, with the truth beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date as Date
from pathlib import Path

import numpy as np
from PIL import Image

from xtalgrid_core.files import replacing, write_atomically
from xtalgrid_core.outcomes import Outcome

from .grounds import PlateType
from .well import render_well

_COLUMNS = 12
_SUBWELLS = 3

SCREEN: dict[Outcome, float] = {
    Outcome.HARVESTABLE: 0.05,
    Outcome.BAD_FORM: 0.03,
    Outcome.OVERNUCLEATED: 0.03,
    Outcome.PRECIPITATE: 0.3,
    Outcome.PRECIPITATE_BAD: 0.04,
    Outcome.PRECIPITATE_GOOD: 0.05,
    Outcome.NULL_EXPERIMENT: 0.03,
    Outcome.OTHER: 0.04,
    Outcome.SPHERULITES: 0.02,
    Outcome.PHASE_SEPARATION: 0.05,
    Outcome.CLEAR: 0.32,
    Outcome.CLEAR_WITH_FEATURES: 0.04,
}
"""How often each outcome turns up on a screening plate: the paper's Table 1 with fewer crystals, since people score drops with
crystals more often than the others."""


def draw_outcomes(rng: np.random.Generator, count: int, shares: Mapping[Outcome, float]) -> list[Outcome]:
    """Draw the outcomes of `count` drops; `shares` need not add up to one."""
    names = list(shares)
    weights = np.array([shares[name] for name in names])
    return [names[i] for i in rng.choice(len(names), count, p=weights / weights.sum())]


def render_plate(
    folder: Path,
    *,
    barcode: str,
    seed: int,
    wells: int | Sequence[Outcome],
    inspection: int = 1,
    date: Date | None = None,
    width: int = 2452,
    height: int = 2056,
    pixel_size_um: float = 1.131,
    plate_type: PlateType | None = None,
    keep: bool = False,
) -> list[Path]:
    """Render images of one inspection of a plate (96 wells of 3 drops) into ``folder/barcode/inspection/``.

    Parameters
    ----------
    folder
        Where plates lie, one folder for each barcode.
    barcode
        Eight letters and digits, e.g. ``CI022987``.
    seed
        The same seed gives the same images; drop number `i` is `render_well` of seed ``1000 * seed + i``.
    wells
        The outcomes in the order of the drops (row by row, three drops a well), or how many to draw by `SCREEN`.
    inspection
        Its number, from 1.
    date
        Of the inspection (default 1 January 2024).
    width, height, pixel_size_um
        See `render_well`.
    plate_type
        One of `grounds.PlateType` (default: ring, disc or bevel, drawn at random).
    keep
        Leave images that are there already as they are, so that a killed run goes on where it was. No image is ever half written.

    Returns
    -------
    The JPEG files, in the order of the drops. ``folder/barcode/truth.csv`` gets a line for each (written anew for inspection 1).
    """
    rng = np.random.default_rng(seed)
    outcomes = draw_outcomes(rng, wells, SCREEN) if isinstance(wells, int) else list(wells)
    if not 1 <= len(outcomes) <= 96 * _SUBWELLS:
        raise ValueError(f"{len(outcomes)} drops; a plate has 1 to {96 * _SUBWELLS}")
    target = Path(folder) / barcode / str(inspection)
    target.mkdir(parents=True, exist_ok=True)
    usual: tuple[PlateType, ...] = ("ring", "disc", "bevel")
    plate_type = plate_type or usual[int(rng.integers(3))]
    files: list[Path] = []
    truth: list[tuple[str, int, str, str]] = []
    for index, outcome in enumerate(outcomes):
        well, subwell = divmod(index, _SUBWELLS)
        row, column = divmod(well, _COLUMNS)
        name = image_name(barcode, inspection, date or Date(2024, 1, 1), row + 1, column + 1, subwell + 1)
        if not (keep and (target / name).is_file()):
            rendered = render_well(
                outcome,
                seed=seed * 1000 + index,  # a drop keeps its look when fewer or more are rendered
                width=width,
                height=height,
                pixel_size_um=pixel_size_um,
                plate_type=plate_type,
            )
            with replacing(target / name) as stream:
                Image.fromarray(rendered.image).save(stream, "JPEG", quality=88)
        files.append(target / name)
        truth.append((name, inspection, f"{'ABCDEFGH'[row]}{column + 1}{'abc'[subwell]}", outcome.value))
    _write_truth(target.parent / "truth.csv", truth, fresh=inspection == 1)
    return files


def image_name(
    barcode: str, inspection: int, date: Date, row: int, column: int, subwell: int, profile: str = "HF"
) -> str:
    """A file name of 18 fields, as Rigaku's imagers write them; rows, columns and subwells count from 1."""
    project = barcode[:2]
    return (
        f"RMM3_01_222_ROBO_Test1_Clon1_{project}_{barcode:0>12}_{inspection:03d}_{date:%y%m%d}_{row:02d}_{column:02d}_{subwell:02d}"
        f"_{profile}_99_030_001_RDI.jpg"
    )


def _write_truth(path: Path, lines: list[tuple[str, int, str, str]], fresh: bool) -> None:
    text = io.StringIO(newline="")
    if fresh or not path.exists():
        csv.writer(text).writerow(("image", "inspection", "drop", "outcome"))
    else:
        text.write(path.read_bytes().decode("utf-8"))
    csv.writer(text).writerows(lines)
    write_atomically(path, text.getvalue().encode("utf-8"))
