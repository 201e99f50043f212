"""A plate's images in a folder, under the names a Rigaku imager gives them, with the truth beside them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date as Date
from pathlib import Path

import numpy as np
from PIL import Image

from xtalgrid_core.outcomes import Outcome

from .well import render_well

_COLUMNS = 12
_SUBWELLS = 3

_SHARES: dict[Outcome, float] = {
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
"""How often each outcome turns up on a rendered plate: roughly as in the paper's Table 1."""


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
) -> list[Path]:
    """Render images of one inspection of a plate (96 wells of 3 drops) into ``folder/barcode/inspection/``.

    Parameters
    ----------
    folder
        Where plates lie, one folder for each barcode.
    barcode
        Eight letters and digits, e.g. ``CI022987``.
    seed
        The same seed gives the same images.
    wells
        The outcomes in the order of the drops (row by row, three drops a well), or how many to draw by `_SHARES`.
    inspection
        Its number, from 1.
    date
        Of the inspection (default 1 January 2024).

    Returns
    -------
    The JPEG files, in the order of the drops. ``folder/barcode/truth.csv`` gets a line for each (written anew for inspection 1).
    """
    rng = np.random.default_rng(seed)
    if isinstance(wells, int):
        names = list(_SHARES)
        shares = np.array([_SHARES[name] for name in names])
        outcomes = [names[i] for i in rng.choice(len(names), wells, p=shares / shares.sum())]
    else:
        outcomes = list(wells)
    if not 1 <= len(outcomes) <= 96 * _SUBWELLS:
        raise ValueError(f"{len(outcomes)} drops; a plate has 1 to {96 * _SUBWELLS}")
    target = Path(folder) / barcode / str(inspection)
    target.mkdir(parents=True, exist_ok=True)
    plate_type = ("ring", "disc", "bevel")[int(rng.integers(3))]
    files: list[Path] = []
    truth: list[tuple[str, int, str, str]] = []
    for index, outcome in enumerate(outcomes):
        well, subwell = divmod(index, _SUBWELLS)
        row, column = divmod(well, _COLUMNS)
        name = image_name(barcode, inspection, date or Date(2024, 1, 1), row + 1, column + 1, subwell + 1)
        rendered = render_well(
            outcome,
            seed=seed * 1000 + index,  # a drop keeps its look when fewer or more are rendered
            width=width,
            height=height,
            pixel_size_um=pixel_size_um,
            plate_type=plate_type,  # type: ignore[arg-type]
        )
        Image.fromarray(rendered.image).save(target / name, quality=88)
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
    with path.open("w" if fresh or not path.exists() else "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(("image", "inspection", "drop", "outcome"))
        writer.writerows(lines)
