"""Make shippable weights of a trained classifier, and judge them beside the packaged ones, source by source.

    python scripts/dev/judge_weights.py --classifier STATE.pt --work FOLDER --real REAL

exports the state into FOLDER/weights, beside the packaged segmenter, and judges it and the packaged weights on rendered
validation and test plates and on real wells that trained neither. It prints both side by side, and which real sources
are worse. The pooling stays unless --calibrate fits it to the validation plates anew. Nothing in the package changes:
copy FOLDER/weights there if you ship them.

Plates are rendered once. After an interruption the same command goes on; FOLDER/made_of.json says what the weights
there were made of, and others need a folder of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGED = ROOT / "models" / "xtalgrid_core" / "weights"
TRAINED = ROOT / "docs" / "records" / "real_images.csv"
CRYSTAL_SHIFT = "3"
"""What the packaged weights were exported with (`xtalgrid-train export --crystal-shift`)."""


def main() -> None:
    """Make and judge the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", required=True, help="trained state")
    parser.add_argument("--keep", default="0", help="share of the packaged classifier in the new one, 0 to 1")
    parser.add_argument("--work", type=Path, required=True, help="work folder")
    parser.add_argument("--plates", type=Path, help="folder with TEST and VALIDATION (default: the work folder)")
    parser.add_argument("--real", type=Path, help="folder of the real images with labels.csv (default: none)")
    parser.add_argument("--wells", default="150", help="wells of each plate (default 150)")
    parser.add_argument(
        "--calibrate", action="store_true", help="fit the pooling anew (default: keep the packaged one)"
    )
    parser.add_argument("--jobs", default="1", help="processes (default 1)")
    given = parser.parse_args()
    work, plates = given.work.absolute(), (given.plates or given.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    test, validation = str(plates / "TEST"), str(plates / "VALIDATION")
    run("sets", "render-test", validation, "--validation", "--wells", given.wells, "--jobs", given.jobs)
    run("sets", "render-test", test, "--wells", given.wells, "--jobs", given.jobs)

    weights = export(work, Path(given.classifier), given.keep, given.calibrate)
    if given.calibrate:
        run("judge", "calibrate", validation, "--work", str(work), "--weights", str(weights), "--jobs", given.jobs)
    reports = []
    for name, folder in (("now", PACKAGED), ("new", weights)):
        out = work / name
        real = ["--real", str(given.real.absolute()), "--trained", str(TRAINED)] if given.real else []
        wells = ["--plates", validation, "--plates", test, *real]
        run("judge", "evaluate", str(out), "--weights", str(folder), *wells, "--jobs", given.jobs)
        reports.append(json.loads((out / "report.json").read_text(encoding="utf-8")))
    print(beside(*reports))


def export(work: Path, classifier: Path, keep: str, calibrate: bool) -> Path:
    """Export the state beside the packaged segmenter, whole or not at all, unless that is done; return the folder."""
    weights, part, record = work / "weights", work / "weights.part", work / "made_of.json"
    made_of = {
        "classifier": hashlib.sha256(classifier.read_bytes()).hexdigest(),
        "packaged": hashlib.sha256((PACKAGED / "manifest.json").read_bytes()).hexdigest(),
        "keep": float(keep),
        "calibrated": calibrate,
    }
    if weights.is_dir():
        if not record.is_file() or json.loads(record.read_text(encoding="utf-8")) != made_of:
            sys.exit(f"{weights}: made of another state, share or package; give another --work, or remove this folder")
        return weights
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(PACKAGED, part)
    words = ["--out", str(part), "--crystal-shift", CRYSTAL_SHIFT, "--keep", keep]
    run("export", "--classifier", str(classifier), *words)
    record.write_text(json.dumps(made_of, indent=1) + "\n", encoding="utf-8")
    part.rename(weights)
    return weights


def run(*arguments: str) -> None:
    """Run a command of xtalgrid-train."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "models")}
    command = [sys.executable, "-c", "from xtalgrid_nets.cli import main; main()", "--threads", "1", *arguments]
    done = subprocess.run(command, env=environment)
    if done.returncode:
        sys.exit(f"xtalgrid-train {' '.join(arguments[:2])}: exit code {done.returncode}")


def beside(now: dict[str, Any], new: dict[str, Any]) -> str:
    """Return a table of both reports' sources, and which real ones are worse."""
    lines = ["| source | sure | right: now, new | crystals found | false crystals |", "|---|---|---|---|---|"]
    worse = []
    for before, after in zip(now["sources"], new["sources"], strict=True):
        if not before["sure"]:
            continue
        counts = [
            (next(iter(each["table3"].values()))["weighted_mean"], each["crystals_called"], each["others_opened"])
            for each in (before, after)
        ]
        cells = [f"{a['hits']}, {b['hits']} of {a['of']}" if a["of"] else "–" for a, b in zip(*counts, strict=True)]
        lines.append(f"| {before['source']} | {before['sure']} | {' | '.join(cells)} |")
        if before["kind"] == "real" and counts[1][0]["hits"] < counts[0][0]["hits"]:
            worse.append(before["source"])
    return "\n".join([*lines, "", f"Worse: {', '.join(worse) or 'no real source'}."])


if __name__ == "__main__":
    main()
