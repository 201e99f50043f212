"""Measure the peak memory of a worker that scores the largest image accepted, filled by a drop.

    python scripts/bench/largest.py [--weights FOLDER] [--variant int8] [--second-opinion MARCO/marco.onnx]

The image is rendered small and enlarged. Each kind of file is scored by a process of its own, which has scored a usual
well of 2560×1920 pixels before, because a worker keeps the memory that its networks took.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from xtalgrid_core.images import MAX_PIXELS
from xtalgrid_core.outcomes import Outcome
from xtalgrid_synth import render_well

KINDS = (("JPEG", "RGB", {"quality": 88}), ("TIFF", "CMYK", {"compression": "tiff_lzw"}))

_SCORE = """
import sys
from pathlib import Path
from memory import peak_mb
import xtalgrid
usual, largest, *words = sys.argv[1:]
weights, variant, second = (word or None for word in words)
scorer = xtalgrid.Scorer(weights, variant=variant, second_opinion=second)
scorer.score(Path(usual))
print(f"{peak_mb():.0f} MB after a usual well; ", end="")
score = scorer.score(Path(largest), 1.13)
print(f"{score.outcome}, drop {score.drop.box}: {peak_mb():.0f} MB")
"""


def main() -> None:
    """Print the peak for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="folder of weights (default: the package's own)")
    parser.add_argument("--variant", default="", choices=["fp32", "int8"])
    parser.add_argument("--second-opinion", type=Path, help="ONNX file of `xtalgrid-train import marco`")
    arguments = parser.parse_args()
    weights, second = (str(path.absolute()) if path else "" for path in (arguments.weights, arguments.second_opinion))
    height = int((MAX_PIXELS * 3 / 4) ** 0.5)
    width = MAX_PIXELS // height
    well = render_well(
        Outcome.PRECIPITATE, seed=3, width=width // 4, height=height // 4, pixel_size_um=4.52, plate_type="inside"
    )
    image = Image.fromarray(well.image).resize((width, height), Image.Resampling.BICUBIC)
    with tempfile.TemporaryDirectory() as folder:
        usual = Path(folder) / "usual.jpg"
        image.resize((2560, 1920)).save(usual, quality=88)
        for kind, mode, options in KINDS:
            path = Path(folder) / f"largest.{kind.lower()}"
            image.convert(mode).save(path, kind, **options)
            print(f"{width}×{height} {mode} {kind} of {path.stat().st_size / 1e6:.0f} MB: ", end="", flush=True)
            command = [sys.executable, "-c", _SCORE, str(usual), str(path), weights, arguments.variant, second]
            subprocess.run(command, check=True, cwd=Path(__file__).parent)


if __name__ == "__main__":
    main()
