"""Compare the sizes and numbers of rendered crystals and drops with boxes that people drew on real images.

``python -m xtalgrid_synth.statistics BOXES.csv`` prints a table. BOXES.csv has a line for each box: the image, the
class, and the box's centre and size as fractions of the image's sides (``marco_file_stem, class, x_centre, y_centre,
width, height``).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from xtalgrid_core import markdown
from xtalgrid_core.chops import Box
from xtalgrid_core.outcomes import Outcome

from .well import render_well

_QUANTILES = (5, 25, 50, 75, 95)

REAL_DROPS = ("clear", "precipitate")
"""Classes whose boxes hold a whole drop."""


@dataclass(slots=True)
class Boxes:
    """Measurements of one kind of box.

    `sizes` are the boxes' longer sides as fractions of the image's; `counts` the numbers of boxes in the images that
    have any.
    """

    kind: str
    sizes: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def add(self, sizes: Iterable[float]) -> None:
        """Add the sizes of one image's boxes."""
        added = list(sizes)
        if added:
            self.sizes += added
            self.counts.append(len(added))

    def row(self) -> tuple[str, ...]:
        """Return this kind's row of `table`."""
        if not self.sizes:
            return self.kind, "0", "0", "", ""
        sizes = " / ".join(f"{100 * q:.1f}" for q in np.percentile(self.sizes, _QUANTILES))
        counts = " / ".join(f"{q:.0f}" for q in np.percentile(self.counts, _QUANTILES))
        return self.kind, str(len(self.counts)), str(len(self.sizes)), sizes, counts


def real_boxes(path: Path) -> list[Boxes]:
    """Read boxes that people drew: a `Boxes` for each class, and one for whole drops.

    Raises
    ------
    ValueError
        If a column is missing or a size is not a number; the message names file and line.
    """
    images: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"marco_file_stem", "class", "width", "height"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
        for row in reader:
            if not row["width"]:  # an image on which nobody drew a box
                continue
            try:
                size = max(float(row["width"]), float(row["height"]))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}, line {reader.line_num}: width or height is not a number") from error
            images[row["marco_file_stem"]][row["class"]].append(size)
    names = sorted({name for classes in images.values() for name in classes})
    kinds = {name: Boxes(f"real: {name}") for name in names}
    drops = Boxes(f"real: drop ({' or '.join(REAL_DROPS)})")
    for classes in images.values():
        for name, sizes in classes.items():
            kinds[name].add(sizes)
        drops.add(max(classes[name]) for name in REAL_DROPS if name in classes)
    return [*kinds.values(), drops]


def rendered_boxes(wells: int, seed: int) -> list[Boxes]:
    """Render `wells` wells of each crystal class (640×480 pixels, 2.9 mm wide) and measure their crystals and drops."""
    drops = Boxes("rendered: drop")
    kinds = []
    for outcome in (Outcome.HARVESTABLE, Outcome.BAD_FORM, Outcome.OVERNUCLEATED):
        kind = Boxes(f"rendered: {outcome.value}")
        for i in range(wells):
            well = render_well(outcome, seed=seed + i, width=640, height=480, pixel_size_um=4.524)
            height, width = well.drop_mask.shape
            kind.add(max(box.height / height, box.width / width) for box in well.crystal_boxes)
            drop = _around(well.drop_mask)
            drops.add([max(drop.height / height, drop.width / width)])
        kinds.append(kind)
    return [*kinds, drops]


def _around(mask: npt.NDArray[np.bool_]) -> Box:
    """Return the smallest box that holds all true pixels."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)


def table(measured: Iterable[Boxes]) -> list[str]:
    """Format a Markdown table, as lines; sizes are in % of the image's side."""
    quantiles = " / ".join(str(q) for q in _QUANTILES)
    head = (
        "what",
        "images with it",
        "boxes",
        f"longest side, % of the image, quantiles {quantiles} %",
        "boxes per image, the same quantiles",
    )
    return markdown.table(head, [kind.row() for kind in measured])


@click.command()
@click.argument("boxes", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--wells", type=click.IntRange(1), default=100, show_default=True, help="Wells to render of each class.")
@click.option("--seed", default=700_000_000, show_default=True)
def main(boxes: Path, wells: int, seed: int) -> None:
    """Compare rendered crystals and drops with BOXES that people drew on real images."""
    try:
        real = real_boxes(boxes)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(table([*real, *rendered_boxes(wells, seed)])))


if __name__ == "__main__":
    main()
