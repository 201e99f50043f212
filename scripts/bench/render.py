"""Measure how many wells per second one core renders, by camera.

    python scripts/bench/render.py [--wells N]

Each size gets the same outcomes and seeds. Seconds are CPU seconds of this process, so that other programs disturb them
little.
"""

from __future__ import annotations

import argparse
import io
import platform
import time

from PIL import Image

from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_synth import RenderedWell, render_uv, render_well

SIZES = ((2452, 2056, 1.131), (2560, 1920, 1.131), (1280, 960, 2.262), (1224, 1024, 2.838), (640, 480, 4.524))
OUTCOMES = [outcome for outcome in CLASSES if outcome is not Outcome.RIM]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wells", type=int, default=24, help="wells of each size, all classes in turn (default: 24)")
    wells = parser.parse_args().wells
    if wells < 1:
        parser.error("--wells must be at least 1")
    print(f"{wells} wells of each size, one core, Python {platform.python_version()}, {platform.machine()}\n")
    print("| pixels | picture, s | pictures per second | UV mate, s | as JPEG, s |")
    print("|---|---|---|---|---|")
    for width, height, um in SIZES:
        began = time.process_time()
        rendered: list[RenderedWell] = [
            render_well(OUTCOMES[i % len(OUTCOMES)], seed=i, width=width, height=height, pixel_size_um=um)
            for i in range(wells)
        ]
        drawn = time.process_time()
        for i, well in enumerate(rendered):
            render_uv(well, seed=i)
        glowed = time.process_time()
        for well in rendered:
            Image.fromarray(well.image).save(io.BytesIO(), "JPEG", quality=88)
        saved = time.process_time()
        picture, mate, jpeg = ((b - a) / wells for a, b in ((began, drawn), (drawn, glowed), (glowed, saved)))
        print(f"| {width}×{height} | {picture:.2f} | {1 / picture:.1f} | {mate:.2f} | {jpeg:.3f} |", flush=True)


if __name__ == "__main__":
    main()
