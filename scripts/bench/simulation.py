"""Compare the model of ``xtalgrid simulate`` with the real local grid; exit with 1 if they differ by more than 15 %.

    python scripts/bench/simulation.py OUT

The real grid scores rendered wells, with its workers side by side. The model is given the seconds for a well (each
worker's own, from its results) and for a unit (from start to first answer, measured once with one worker alone), and
predicts how long the same work takes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from xtalgrid_core import wire
from xtalgrid_server.config import from_string
from xtalgrid_server.simulation.model import DAY, Scenario, simulate
from xtalgrid_server.steps.system import System
from xtalgrid_synth import render_plate

ALLOWED = 0.15


def main() -> None:
    """Run both, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--wells", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--unit", type=int, default=12)
    arguments = parser.parse_args()
    alone, reported = grid_seconds(arguments.out / "one", wells=1, workers=1, unit=1)
    unit_s = alone - sum(reported)
    real, reported = grid_seconds(
        arguments.out / "many", wells=arguments.wells, workers=arguments.workers, unit=arguments.unit
    )
    core_s = sum(reported) / len(reported)
    done = simulate(
        Scenario(
            imagers=0,
            archive=arguments.wells,
            archive_unit=arguments.unit,
            cores=arguments.workers,
            core_s=core_s,
            unit_s=unit_s,
            poll_s=0,
            days=1,
        )
    )
    assert done.archive_days is not None
    model = done.archive_days * DAY
    print(f"{arguments.wells} wells, {arguments.workers} workers, units of {arguments.unit}")
    print(f"{core_s:.3f} s per well, {unit_s:.2f} s per unit in addition")
    print(f"real {real:.1f} s, model {model:.1f} s: {model / real - 1:+.1%}")
    sys.exit(abs(model / real - 1) > ALLOWED)


def grid_seconds(home: Path, wells: int, workers: int, unit: int) -> tuple[float, list[float]]:
    """Return how long the local grid takes for rendered wells, and what its workers report for each."""
    home.mkdir(parents=True)
    render_plate(home / "plate", barcode="BN000001", seed=2026, wells=wells)
    config = from_string(f"[grid]\nworkers = {workers}\n", home=home / "home")
    with System(config) as system:
        imported = system.import_folder(home / "plate" / "BN000001" / "1")
        system.create_work(barcodes=imported.barcodes, wells_per_unit=unit)
        start = time.perf_counter()
        system.work()
        seconds = time.perf_counter() - start
        results = [wire.decode_result(path.read_bytes()) for path in config.spool.glob("units/*/result.json")]
    answers = [image for result in results for image in result.images]
    assert len(answers) == wells
    return seconds, [image.seconds for image in answers if isinstance(image, wire.Scored)]


if __name__ == "__main__":
    main()
