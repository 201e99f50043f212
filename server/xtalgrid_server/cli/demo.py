"""The plate of ``xtalgrid demo``. Nothing else in the server uses the renderer."""

from __future__ import annotations

import csv
from pathlib import Path

from xtalgrid_synth import render_plate

from ..config import Config

BARCODE = "DEMO000001"


def render_demo_plate(config: Config, wells: int) -> tuple[Path, dict[str, str]]:
    """Render a plate of wells with known outcomes under ``home/demo``.

    The wells are the same every time, and are not rendered again if they exist.

    Returns
    -------
    The folder of the images, and the outcome that each image shows, by its name.
    """
    folder = config.home / "demo"
    images = folder / BARCODE / "1"
    if not images.is_dir() or len(list(images.glob("*.jpg"))) != wells:
        render_plate(folder, barcode=BARCODE, seed=2026, wells=wells)
    with (folder / BARCODE / "truth.csv").open(encoding="utf-8") as stream:
        return images, {line["image"]: line["outcome"] for line in csv.DictReader(stream)}
