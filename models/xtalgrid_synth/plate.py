"""A plate's images in a folder, named as a Rigaku imager names them, with their outcomes in a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date as Date
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from xtalgrid_core.files import replacing, write_atomically
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.wells import well_name

from .grounds import PlateType
from .uv import draw_nature, render_uv
from .well import render_well

_COLUMNS = 12
_SUBWELLS = 3

UV_PROFILE = "UV"
"""Marks UV images in the file name's field for the light. Each lab's imager has its own code there."""

_Line = tuple[str, int, str, str]  # of truth.csv or uv.csv

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
"""How often each outcome occurs on a screening plate.

These are the shares of the paper's Table 1 with fewer crystals, since people score drops with crystals more often than
others.
"""


def draw_outcomes(rng: np.random.Generator, count: int, shares: Mapping[Outcome, float]) -> list[Outcome]:
    """Draw the outcomes of `count` drops; `shares` need not add up to 1."""
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
    uv: bool = False,
) -> list[Path]:
    """Render one inspection of a plate (96 wells of 3 drops) into ``folder/barcode/inspection/``.

    Parameters
    ----------
    folder
        Holds a folder for each barcode.
    barcode
        Eight letters and digits, e.g. ``CI022987``.
    seed
        The same seed gives the same images: drop number `i` is `render_well` of seed ``1000 * seed + i``.
    wells
        The outcomes in the order of the drops (row by row, three drops a well), or how many drops to draw with
        `SCREEN`.
    inspection
        Its number, counted from 1.
    date
        The inspection's (default: 1 January 2024).
    width, height, pixel_size_um
        See `render_well`.
    plate_type
        One of `grounds.PlateType` (default: ring, disc or bevel, drawn at random).
    keep
        Don't render images that exist, so that a run that was stopped can go on. Images are never left half written.
    uv
        Render each drop's UV image too (`uv.render_uv`), beside its image. ``uv.csv`` beside ``truth.csv`` says which
        belong together, and the nature of the crystals.

    Returns
    -------
    list of Path
        The JPEG files without the UV images, in the order of the drops. ``folder/barcode/truth.csv`` has a line for
        each; inspection 1 begins the file anew.

    Raises
    ------
    ValueError
        If there are no drops, or more than the plate has.
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
    truth: list[_Line] = []
    mates: list[_Line] = []
    for index, outcome in enumerate(outcomes):
        well, subwell = divmod(index, _SUBWELLS)
        row, column = divmod(well, _COLUMNS)
        place = (barcode, inspection, date or Date(2024, 1, 1), row + 1, column + 1, subwell + 1)
        name, mate = image_name(*place), image_name(*place, profile=UV_PROFILE)
        drop = seed * 1000 + index  # so a drop looks the same however many are rendered
        missing = [file for file in ([name, mate] if uv else [name]) if not (keep and (target / file).is_file())]
        if missing:
            rendered = render_well(
                outcome, seed=drop, width=width, height=height, pixel_size_um=pixel_size_um, plate_type=plate_type
            )
            if name in missing:
                _save(rendered.image, target / name)
            if mate in missing:
                _save(render_uv(rendered, seed=drop).image, target / mate)
        files.append(target / name)
        truth.append((name, inspection, well_name(row + 1, column + 1, subwell + 1), outcome.value))
        mates.append((name, inspection, mate, draw_nature(outcome, drop) or ""))
    fresh = inspection == 1
    _write_lines(target.parent / "truth.csv", ("image", "inspection", "drop", "outcome"), truth, fresh)
    if uv:
        _write_lines(target.parent / "uv.csv", ("image", "inspection", "uv_image", "crystals"), mates, fresh)
    return files


def image_name(
    barcode: str, inspection: int, date: Date, row: int, column: int, subwell: int, profile: str = "HF"
) -> str:
    """Make a file name of 18 fields, as Rigaku's imagers do; rows, columns and subwells count from 1."""
    project = barcode[:2]
    return (
        f"RMM3_01_222_ROBO_Test1_Clon1_{project}_{barcode:0>12}_{inspection:03d}_{date:%y%m%d}"
        f"_{column:02d}_{row:02d}_{subwell:02d}_{profile}_99_030_001_RDI.jpg"
    )


def _save(image: npt.NDArray[np.uint8], path: Path) -> None:
    with replacing(path) as stream:
        Image.fromarray(image).save(stream, "JPEG", quality=88)


def _write_lines(path: Path, header: tuple[str, ...], lines: list[_Line], fresh: bool) -> None:
    """Put an inspection's lines into a CSV file, for those that it had of it; one that is `fresh` gets no others."""
    before = [] if fresh or not path.exists() else path.read_text(encoding="utf-8").splitlines()[1:]
    others = [line for line in csv.reader(before) if line[1] != str(lines[0][1])]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *others, *lines])
    write_atomically(path, text.getvalue().encode("utf-8"))
