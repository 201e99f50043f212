"""The plate that ``demo`` renders: the only place where the server uses the renderer."""

from __future__ import annotations

from pathlib import Path

from xtalgrid_synth import render_plate

from .config import Config

BARCODE = "DEMO000001"


def render_demo_plate(config: Config, wells: int) -> Path:
    """Render a plate of wells with known outcomes under ``home/demo`` and return the folder of its images.

    The same wells every time; what is there already is not rendered again.
    """
    folder = config.home / "demo"
    images = folder / BARCODE / "1"
    if not images.is_dir() or len(list(images.glob("*.jpg"))) != wells:
        render_plate(folder, barcode=BARCODE, seed=2026, wells=wells)
    return images
