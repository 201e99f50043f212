"""Train every network of the papers for the same CPU minutes, and judge them: Tables 2 and 3 on equal terms.

    python scripts/dev/network_tables.py --minutes 40 --real FOLDER --mxnet PYTHON

All train by the recipe `compared` on the same chops: of 1,200 rendered wells, and of the real wells that may train
(docs/records). They are judged on the chops of the rendered wells that are held out (Table 2), and on wells of the 16
rendered test plates, window by window (Table 3). It takes half a day of one core, by default at the lowest priority.
Killed at any time, the same command goes on; one network that fails does not stop the others. WORK/networks.json has
the results so far: copy it to docs/evaluation/, and run `make docs`.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs" / "records"
MXNET = ROOT / "models" / "legacy-mxnet" / "train.py"

SEED = 60_000_000
"""Of the first rendered well; no other training has these seeds."""

WELLS = 1200
"""Rendered wells to train on, seven or eight chops of each; one in ten is held out for Table 2."""

TRAINING = 1000
"""Chops of the training wells to judge on as well."""

TEST_WELLS, STEP = 15, 192
"""Wells of each test plate, and step of the windows in pixels: VGG-16 takes half a second for a window of 256 pixels.

The paper has 150 wells of each plate and a step of 50. Windows overlap by 64 pixels or more, so that a crystal up to
this size is wholly in one of them.
"""


class Row(NamedTuple):
    """A row of the tables: its name, the network, and whether it starts from ImageNet's weights or is MXNet's."""

    name: str
    network: str
    start: str = "random"


ROWS = (
    Row("SqueezeNet 1.1", "squeezenet1.1"),
    Row("SqueezeNet 1.1, from ImageNet", "squeezenet1.1", "ImageNet"),
    Row("SqueezeNet 1.0", "squeezenet1.0"),
    Row("SqueezeNet 1.0 with ELU, in MXNet", "squeezenet1.0-elu-mxnet"),
    Row("AlexNet", "alexnet"),
    Row("ResNet-50", "resnet50"),
    Row("VGG-16", "vgg16"),
    Row("MARCO's Inception", "inception-marco"),
    Row("CrystalNet", "crystalnet"),
    Row("Lean CrystalNet", "lean-crystalnet"),
    Row("Merck's ResNet-32", "resnet32-merck"),
    Row("Merck's ResNet-56", "resnet56-merck"),
)


class Failed(Exception):
    """A command ended with an error; the message names it."""


class Stopped(Exception):
    """SIGTERM or Ctrl-C: the command in progress has ended, and nothing else begins."""


class Work:
    """The work folder, in which all commands run, so that records name sets without their place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"{folder}: another run, or the last command of one, is at work in this folder")
        self._running: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()
        if self._running is not None:
            os.killpg(self._running.pid, signal.SIGTERM)  # a training writes a checkpoint first

    def command(self, *words: str) -> None:
        """Run a command of xtalgrid-train."""
        python = [sys.executable, "-c", "from xtalgrid_nets.cli import main; main()", "--threads", "1"]
        self.run(*python, *words, name=f"xtalgrid-train {shlex.join(words)}")

    def run(self, *words: str, name: str = "") -> None:
        """Run a program.

        Raises
        ------
        Failed
            If it ends with an error.
        Stopped
            If a signal came.
        """
        print(f"$ {name or shlex.join(words)}", flush=True)
        if not self._stop.is_set():
            process = subprocess.Popen(words, cwd=self.folder, pass_fds=[self._lock.fileno()], process_group=0)
            self._running = process
            if self._stop.is_set():  # the signal came while it started
                process.terminate()
            code = process.wait()
            self._running = None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it began and left behind, when it was killed itself
        if self._stop.is_set():
            raise Stopped
        if code:
            raise Failed(f"exit code {code}: {name or shlex.join(words)}")

    def has(self, name: str) -> bool:
        """Tell whether a file is there."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> Any:
        """Read a JSON file; None if it isn't there yet."""
        return json.loads((self.folder / name).read_text(encoding="utf-8")) if self.has(name) else None


def main() -> None:
    """Go on with the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40, help="CPU minutes of each training (default 40)")
    parser.add_argument("--real", type=absolute, help="folder of the real images: marco_tiles/, more/ (default: none)")
    parser.add_argument("--imagenet", type=absolute, help="SqueezeNet 1.1's ImageNet weights, .npz (default: left out)")
    parser.add_argument(
        "--mxnet", type=absolute, help="Python of models/legacy-mxnet's environment (default: left out)"
    )
    parser.add_argument("--work", type=absolute, default=ROOT.parent / "network-tables", help="work folder")
    parser.add_argument("--only", nargs="+", metavar="NETWORK", help="train these networks alone")
    parser.add_argument("--nice", type=int, default=19, help="priority, 0 (high) to 19 (low, the default)")
    given = parser.parse_args()
    os.nice(given.nice)
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT / "models"))
    work = Work(given.work)
    failed = []
    try:
        sets = make_sets(work, given.real)
        for row in chosen(given.only, given.imagenet, given.mxnet):
            try:
                train(work, row, sets, given.minutes, given.imagenet, given.mxnet)
                judge(work, run_folder(row, given.minutes))
            except Failed as error:
                failed.append(f"{row.name}: {error}")
            write_results(work, sets, given.minutes)
    except Failed as error:
        sys.exit(str(error))
    except Stopped:
        sys.exit("stopped; the same command goes on")
    if failed:
        sys.exit("\n".join(failed))
    print(f"all done: {work.folder / 'networks.json'}")


def absolute(text: str) -> Path:
    """Read a path of the command line: the commands run in the work folder."""
    return Path(text).absolute()


def chosen(only: list[str] | None, imagenet: Path | None, mxnet: Path | None) -> list[Row]:
    """Return the rows to train: those asked for, without those whose weights or environment are missing."""
    rows = [row for row in ROWS if only is None or row.network in only]
    rows = [row for row in rows if imagenet is not None or row.start == "random"]
    return [row for row in rows if mxnet is not None or not row.network.endswith("mxnet")]


def make_sets(work: Work, real: Path | None) -> list[str]:
    """Render the wells to train on and the test plates, and cut the real wells into chops, once."""
    if not work.has("rendered/dataset.json"):
        words = ["--wells", str(WELLS), "--views", "0", "--seed", str(SEED), "--jobs", "1"]
        work.command("sets", "render", "rendered", *words)
    sets = ["rendered"]
    if real is not None:
        images = work.folder / "images"  # by this name, records don't say where the images lie
        images.unlink(missing_ok=True)
        images.symlink_to(real)
        if not work.has("marco_tiles/dataset.json"):
            (work.folder / "marco_tiles.csv").write_bytes((RECORDS / "marco_tiles.csv").read_bytes())
            words = ["--images", "images/marco_tiles", "--jobs", "1"]
            work.command("sets", "dataset", "marco_tiles.csv", "marco_tiles", *words)
        if not work.has("real_wells/dataset.json"):
            with (RECORDS / "real_images.csv").open(encoding="utf-8", newline="") as stream:
                rows = [row for row in csv.DictReader(stream) if row["use"] == "train" and row["label"]]
            with (work.folder / "real_wells.csv").open("w", encoding="utf-8", newline="") as stream:
                table = csv.DictWriter(stream, rows[0])
                table.writeheader()
                table.writerows(rows)
            words = ["--images", "images", "--groups", "--jobs", "1"]
            work.command("sets", "dataset", "real_wells.csv", "real_wells", *words)
        sets += ["marco_tiles", "real_wells"]
    work.command("sets", "render-test", "TEST", "--wells", str(TEST_WELLS), "--jobs", "1")
    return sets


def run_folder(row: Row, minutes: float) -> str:
    """Name the folder of a training; those of other minutes are other trainings."""
    return f"{row.network}{'' if row.start == 'random' else f'-{row.start}'}-{minutes:g}"


def train(work: Work, row: Row, sets: list[str], minutes: float, imagenet: Path | None, mxnet: Path | None) -> None:
    """Train a network, or go on with it."""
    run = run_folder(row, minutes)
    record = work.read(f"{run}/record.json") or {}
    if list(record.get("data", sets)) != sets:
        raise Failed(f"{run}: was trained on {', '.join(record['data'])}, not on {', '.join(sets)}; remove this folder")
    if record.get("finished"):
        return
    if row.network.endswith("mxnet"):
        train_mxnet(work, run, sets, minutes, mxnet)
        return
    words = ["--set", f"network={row.network}", "--minutes", f"{minutes:g}", "--cpu-time", "--loaders", "0"]
    words += [word for name in sets for word in ("--data", name)]
    if work.has(f"{run}/checkpoint.pt"):
        words += ["--resume"]
    elif row.start == "ImageNet":
        words += ["--start", str(imagenet)]
    work.command("fit", "compared", "--out", run, "--device", "cpu", *words)
    (work.folder / run / "checkpoint.pt").unlink()  # three times as large as the network


def train_mxnet(work: Work, run: str, sets: list[str], minutes: float, mxnet: Path | None) -> None:
    """Train the paper's network in MXNet's environment on packs of the same chops."""
    packs = []
    for name in sets:
        if not work.has(f"packs/{name}.rec"):  # written last
            work.command("sets", "recordio", "pack", name, f"packs/{name}", "--part", "training")
        packs += ["--pack", f"packs/{name}"]
    work.run(str(mxnet), str(MXNET), *packs, "--out", run, "--minutes", f"{minutes:g}")


def judge(work: Work, run: str) -> None:
    """Judge a trained network on chops and wells, and throw away what that no longer needs."""
    if work.has(f"{run}/net-symbol.json") and not work.has(f"{run}/state.pt"):
        files = [f"{run}/net-symbol.json", f"{run}/net-0000.params", f"{run}/state.pt"]
        work.command("import", "mxnet", *files, "--classes", ",".join(classes(work)))
    if not work.has(f"{run}/chops.json"):
        words = ["--training", str(TRAINING), "--out", run]
        work.command("judge", "evaluate-chops", "rendered", f"{run}/state.pt", *words)
    if not work.has(f"{run}/success.json"):
        words = ["--plates", "TEST", "--state", f"{run}/state.pt", "--step", str(STEP), "--jobs", "1"]
        work.command("judge", "windows", f"{run}/windows", *words)
        work.command("judge", "success", f"{run}/windows", "--json", f"{run}/success.json")


def classes(work: Work) -> list[str]:
    """Return the classes in the order of the packs' labels."""
    return list(work.read("rendered/dataset.json")["counts"]["chops_by_class"])


def write_results(work: Work, sets: list[str], minutes: float) -> None:
    """Write WORK/networks.json: how all was made, and a row for each network, with nothing in it until it is judged."""
    made = {name: work.read(f"{name}/dataset.json") for name in sets}
    results = {
        "command": "python scripts/dev/network_tables.py",
        "minutes": minutes,
        "sets": {
            name: {
                "chops": record["counts"]["chops"],
                "arguments": record["arguments"],
                "sha256": record["arrays"]["chops.npy"]["sha256"],
            }
            for name, record in made.items()
        },
        "test": {
            "wells_a_plate": TEST_WELLS,
            "step": STEP,
            "renderer": work.read("TEST/TE000001/settings.json")["renderer"],
        },
        "rows": [result(work, row, minutes) for row in ROWS],
    }
    new = work.folder / "networks.json.new"
    new.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(work.folder / "networks.json")


def result(work: Work, row: Row, minutes: float) -> dict[str, Any]:
    """Return a row of the results."""
    run = run_folder(row, minutes)
    record, judged, success = (work.read(f"{run}/{name}.json") for name in ("record", "chops", "success"))
    found: dict[str, Any] = {**row._asdict(), "trained": None}
    if not (record and judged and success):
        return found
    keys = ("step", "seconds", "epochs", "seconds_an_epoch", "precision", "device", "began", "code", "versions")
    found["trained"] = {"seed": 0, "machine": machine(), **{key: record[key] for key in keys if key in record}}
    found |= {key: judged[0][key] for key in ("parameters", "size_mb")}
    found["chops"] = {part["part"]: part for part in judged[0]["parts"]}
    return {**found, "success": success}


def machine() -> str:
    """Name the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
