"""Show real and rendered wells side by side, to see what the renderer can't do yet.

    python scripts/dev/side_by_side.py REAL OUT.png         real wells (left) and rendered ones (right), by source
                                                            and outcome group
    python scripts/dev/side_by_side.py --rendered OUT.jpg   rendered wells alone: the 12 outcomes by the plate types

REAL is a folder of real wells with a labels.csv (set, image, judgement, confidence). Such pictures belong to others, so
don't publish the sheet.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome
from xtalgrid_synth import render_well
from xtalgrid_synth.grounds import PLATE_TYPES, PlateType

RENDERED = [outcome for outcome in CLASSES if outcome is not Outcome.RIM]
JUDGEMENTS = {*(group.value for group in SCORED_GROUPS), Outcome.NULL_EXPERIMENT.value}
LABEL = 16
FONT = ImageFont.load_default(11)

# The plate that a source's wells look like, by the start of "set/image"; other sources get all plate types in turn.
PLATE_OF_SOURCE: dict[str, PlateType] = {
    "plate_CI": "ring",
    "plate_empty": "disc",
    "wells/J0": "disc",
    "wells/RMM": "bevel",
    "wells/big": "frame",
    "wells/echo": "ring",
    "wells/well.": "ring",
    "wells/marco": "disc",
    "wells/lyso": "micro",
    "wells/pres": "micro",
    "wells/well_": "micro",
}


def picture(outcome: Outcome, seed: int, plate: PlateType, width: int) -> Image.Image:
    """Render a well, a view of 2.9 mm, at twice the size and reduce it to `width` pixels."""
    wide = max(2 * width, 640)
    well = render_well(
        outcome, seed=seed, width=wide, height=wide * 3 // 4, pixel_size_um=2896 / wide, plate_type=plate
    )
    return Image.fromarray(well.image).resize((width, width * 3 // 4), Image.Resampling.LANCZOS)


def grid(rows: list[tuple[str, list[Image.Image]]], columns: int, width: int) -> Image.Image:
    """Lay out rows of pictures, each row under its heading."""
    height = width * 3 // 4
    sheet = Image.new("RGB", (columns * (width + 2), len(rows) * (height + LABEL + 2)), "white")
    pen = ImageDraw.Draw(sheet)
    for y, (label, pictures) in enumerate(rows):
        top = y * (height + LABEL + 2)
        pen.text((3, top + 1), label, fill="black", font=FONT)
        for x, item in enumerate(pictures):
            sheet.paste(item, (x * (width + 2), top + LABEL))
    return sheet


def rendered_sheet(width: int, seed: int) -> Image.Image:
    """Draw a row for each outcome and a column for each plate type."""
    rows: list[tuple[str, list[Image.Image]]] = []
    for y, outcome in enumerate(RENDERED):
        pictures = []
        for x, plate in enumerate(PLATE_TYPES):
            if outcome is Outcome.NULL_EXPERIMENT and plate in ("micro", "inside"):  # looks like a clear drop
                pictures.append(Image.new("RGB", (width, width * 3 // 4), "white"))
            else:
                pictures.append(picture(outcome, seed + y * len(PLATE_TYPES) + x, plate, width))
        rows.append((f"{outcome.value}: {', '.join(PLATE_TYPES)}", pictures))
    return grid(rows, len(PLATE_TYPES), width)


def compared_sheet(real: Path, width: int, seed: int, each: int) -> Image.Image:
    """Draw, for each source and judgement of labels.csv, `each` real wells and as many rendered ones."""
    wells: dict[tuple[str, str], list[Path]] = defaultdict(list)
    with (real / "labels.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = real / row["set"] / row["image"]
            source = row["set"] if row["set"] != "wells" else f"wells/{row['image'][:7]}"
            if row["judgement"] in JUDGEMENTS and path.is_file():
                wells[source, row["judgement"]].append(path)
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, list[Image.Image]]] = []
    for (source, judgement), paths in sorted(wells.items()):
        chosen = [paths[i] for i in sorted(rng.permutation(len(paths))[:each])]
        pictures = [ImageOps.pad(read(path), (width, width * 3 // 4)) for path in chosen]
        pictures += [Image.new("RGB", (width, width * 3 // 4), "white")] * (each - len(pictures))
        outcomes = outcomes_of(judgement)
        plate_type = next((plate for start, plate in PLATE_OF_SOURCE.items() if source.startswith(start)), None)
        for i in range(each):
            outcome = outcomes[(len(rows) + i) % len(outcomes)]
            plate = plate_type or PLATE_TYPES[(len(rows) * each + i) % len(PLATE_TYPES)]
            pictures.append(picture(outcome, seed + 100 * len(rows) + i, plate, width))
        rows.append((f"{source}: {judgement}, {len(paths)} real wells; left real, right rendered", pictures))
    if not rows:
        raise ValueError(f"{real / 'labels.csv'} lists no existing well with a judgement")
    return grid(rows, 2 * each, width)


def outcomes_of(judgement: str) -> list[Outcome]:
    """Return the outcomes to render for a judgement, which names an outcome or a group."""
    if judgement == Group.OTHER.value:  # an empty well has a judgement of its own
        return [o for o in RENDERED if o.group is Group.OTHER and o is not Outcome.NULL_EXPERIMENT]
    return [o for o in RENDERED if judgement in (o.value, o.group.value)]


def read(path: Path) -> Image.Image:
    """Read an image file as RGB."""
    with Image.open(path) as image:
        return image.convert("RGB")


def main() -> None:
    """Make the sheet."""
    parser = argparse.ArgumentParser(description="Make a sheet of real and rendered wells.")
    parser.add_argument("real", type=Path, nargs="?", help="folder of real wells with labels.csv")
    parser.add_argument("out", type=Path, help="the sheet: .png or .jpg")
    parser.add_argument("--rendered", action="store_true", help="rendered wells alone")
    parser.add_argument("--width", type=int, default=240, help="width of a picture in pixels (default: 240)")
    parser.add_argument(
        "--each", type=int, default=4, help="number of real wells of each kind, and of rendered ones (default: 4)"
    )
    parser.add_argument("--seed", type=int, default=600_000_000)
    arguments = parser.parse_args()
    if not arguments.rendered and arguments.real is None:
        parser.error("give REAL, a folder of real wells with labels.csv, or --rendered")
    try:
        if arguments.rendered:
            sheet = rendered_sheet(arguments.width, arguments.seed)
        else:
            sheet = compared_sheet(arguments.real, arguments.width, arguments.seed, arguments.each)
        sheet.save(arguments.out, quality=72)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"side_by_side: {error}")
    print(f"{arguments.out}: {sheet.width}×{sheet.height}")


if __name__ == "__main__":
    main()
