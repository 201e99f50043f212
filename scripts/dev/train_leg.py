"""Train the classifier for one more leg of the long training, and leave its record in docs/records.

    python scripts/dev/train_leg.py --minutes 100 --real FOLDER

A leg renders new wells (their seed follows from its number), lets MARCO's network and the shipped weights comment on
them, and trains on them and on the real wells that may train (docs/records). It goes on from the checkpoint of the leg
before if the work folder has it, else, or with --from-shipped, from the shipped weights. After an interruption the same
command goes on with the same leg. By default it takes one core at the lowest priority, at which it stands still while
others keep the machine busy.

The work folder holds sets, checkpoints and trained states, and is not committed. What a leg adds to docs/records is.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs" / "records"
FIRST_SEED, SEEDS = 40_000_000, 100_000
"""The seed of the first leg's wells, and the distance to the next leg's."""

MORE_WELLS = 700
"""Wells of the outcomes given with `--more`."""

CRYSTAL_WELLS = 500
"""Crystal wells that `--in-precipitate` adds."""

CRYSTALS = ("crystals harvestable", "crystals bad form", "crystals overnucleated")

CRYSTAL_SHIFT = 3.0
"""What the shipped weights were exported with (`xtalgrid-train export --crystal-shift`)."""

RESERVED = 3.0
"""Minutes kept for validation, records and export."""


def main() -> None:
    """Run one leg."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=90, help="longest time of the leg, in all (default 90)")
    parser.add_argument("--real", type=Path, help="folder of the real images: marco_tiles/, more/ (default: none)")
    parser.add_argument("--work", type=Path, default=ROOT.parent / "xtalgrid-training", help="work folder")
    parser.add_argument("--wells", type=int, default=800, help="wells to render (default 800)")
    parser.add_argument(
        "--more", action="append", default=[], metavar="OUTCOME", help="also render 700 wells of these outcomes alone"
    )
    parser.add_argument(
        "--in-precipitate", action="store_true", help="also render 500 wells of crystals in precipitate"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes that render (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads that train (default 1)")
    parser.add_argument("--from-shipped", action="store_true", help="begin from the shipped weights")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="as of fit")
    parser.add_argument("--nice", type=int, default=19, help="priority, 0 (high) to 19 (low, the default)")
    given = parser.parse_args()
    began = time.monotonic()
    os.nice(given.nice)
    os.environ.update(OMP_NUM_THREADS=str(given.threads), PYTHONPATH=str(ROOT / "models"))
    work = given.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    number = 1 + max((record.get("leg", 0) for record in records()), default=0)
    leg = f"leg-{number:02}"

    first = FIRST_SEED + number * SEEDS
    sets = [*real_sets(work, given.real), rendered(work, f"rendered-{number:02}", first, given.wells, given.jobs)]
    if given.more:
        only = [word for outcome in given.more for word in ("--only", outcome)]
        sets.append(rendered(work, f"rendered-{number:02}-more", first + SEEDS // 2, MORE_WELLS, given.jobs, only))
    if given.in_precipitate:
        only = [*(word for outcome in CRYSTALS for word in ("--only", outcome)), "--in-precipitate"]
        name, seed = f"rendered-{number:02}-precipitate", first + SEEDS * 3 // 4
        sets.append(rendered(work, name, seed, CRYSTAL_WELLS, given.jobs, only))
    for name in sets:
        run(work, "sets", "teach", name, "--marco", marco(work))
    left = given.minutes - (time.monotonic() - began) / 60 - RESERVED
    if left <= 0:
        sys.exit(f"no time left to train after {given.minutes - RESERVED:.0f} minutes of preparation; start it again")
    fit = ["fit", "leg", "--out", leg, "--minutes", f"{left:.2f}", "--device", "cpu", "--loaders", "0"]
    fit += [argument for name in sets for argument in ("--data", name)]
    fit += [argument for change in given.changes for argument in ("--set", change)]
    before = f"leg-{number - 1:02}"
    if (work / leg / "checkpoint.pt").is_file():
        fit += ["--resume"]
    elif (work / before / "checkpoint.pt").is_file() and not given.from_shipped:
        fit += ["--after", before]
    else:
        fit += ["--start", start(work)]
    run(work, *fit, threads=given.threads)

    shutil.copytree(ROOT / "models" / "xtalgrid_core" / "weights", work / leg / "weights", dirs_exist_ok=True)
    state, out = str(work / leg / "state.pt"), str(work / leg / "weights")
    run(work, "export", "--classifier", state, "--out", out, "--crystal-shift", str(CRYSTAL_SHIFT))
    print(f"record: {keep_record(work / leg, number)}\nweights: {out}; judge them as docs/models.md says")


def records() -> list[dict[str, Any]]:
    """Return the records of all committed trainings."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in RECORDS.glob("*/record.json")]


def run(work: Path, *arguments: str, threads: int = 1) -> None:
    """Run a command of xtalgrid-train in the work folder, so that records name sets without their place."""
    command = [sys.executable, "-c", "from xtalgrid_nets.cli import main; main()", "--threads", str(threads)]
    done = subprocess.run([*command, *arguments], cwd=work)
    if done.returncode:
        sys.exit(f"xtalgrid-train {arguments[0]}: exit code {done.returncode}; the same command goes on with the leg")


def marco(work: Path) -> str:
    """Install MARCO's network, once."""
    if not (work / "marco" / "manifest.json").is_file():
        run(work, "import", "marco", "--out", "marco")
    return "marco"


def start(work: Path) -> str:
    """Make a trained state of the shipped classifier, without the shift of its export."""
    from xtalgrid_core.weights import PACKAGED, default_models, find_model
    from xtalgrid_nets.export import shift_crystals
    from xtalgrid_nets.states import SQUEEZENET, from_onnx, save_trained

    entry, _ = find_model(default_models(variant="fp32")[1], "classifier", [])
    net = from_onnx(PACKAGED / entry.file, SQUEEZENET)
    shift_crystals(net, -CRYSTAL_SHIFT)
    name = f"classifier-{entry.sha256[:12]}.pt"
    save_trained(work / name, net, SQUEEZENET, {"from": entry.sha256})
    return name


def rendered(work: Path, name: str, seed: int, wells: int, jobs: int, only: Sequence[str] = ()) -> str:
    """Render wells of the leg; an interrupted rendering goes on."""
    if (work / name / "dataset.json").is_file():
        made = json.loads((work / name / "dataset.json").read_text(encoding="utf-8"))["arguments"]
        asked = wells, seed, sorted(word for word in only if not word.startswith("--")), "--in-precipitate" in only
        if (made["wells"], made["seed"], sorted(made.get("only", [])), made.get("in_precipitate", False)) != asked:
            sys.exit(f"{work / name}: holds {made['wells']} wells of other options; give those, or remove this folder")
    else:
        words = ["--wells", str(wells), "--views", "0", "--seed", str(seed), "--jobs", str(jobs), *only]
        run(work, "sets", "render", name, *words)
    return name


def real_sets(work: Path, real: Path | None) -> list[str]:
    """Build, once, the sets of real wells that may train."""
    if real is None:
        return []
    images = work / "images"  # by this name, records don't say where the images lie
    images.unlink(missing_ok=True)
    images.symlink_to(real.absolute())
    if not (work / "marco_tiles" / "dataset.json").is_file():
        listing = str(RECORDS / "marco_tiles.csv")
        run(work, "sets", "uniform", listing, "marco_tiles", "--images", "images/marco_tiles")
    if not (work / "real_wells" / "dataset.json").is_file():
        with (RECORDS / "real_images.csv").open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["use"] == "train" and row["label"]]
        with (work / "real_wells.csv").open("w", encoding="utf-8", newline="") as stream:
            table = csv.DictWriter(stream, rows[0])
            table.writeheader()
            table.writerows(rows)
        run(work, "sets", "dataset", "real_wells.csv", "real_wells", "--images", "images", "--groups")
    return ["marco_tiles", "real_wells"]


def keep_record(run_folder: Path, number: int) -> Path:
    """Copy recipe, record and curves of a finished leg to docs/records."""
    record = json.loads((run_folder / "record.json").read_text(encoding="utf-8"))
    name = f"{datetime.now(UTC):%Y-%m-%d}-classifier-leg-{number:02}"
    folder = RECORDS / name
    folder.mkdir(exist_ok=True)
    for file in ("recipe.toml", "curves.csv"):
        shutil.copyfile(run_folder / file, folder / file)
    record |= {"leg": number}
    part = folder / "record.json.part"  # a record that is there is whole: the next leg's number follows from it
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / "record.json")
    return folder


if __name__ == "__main__":
    main()
