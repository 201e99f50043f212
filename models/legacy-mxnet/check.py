"""Compare xtalgrid's readers and writers of MXNet's files with MXNet 1.9.1 itself.

    .venv/bin/python models/legacy-mxnet/check.py FOLDER [--python python3.11]

FOLDER gets an environment with MXNet (once, 250 MB) and the files of both sides. The exit code is 1 if anything
differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from xtalgrid_core.images import network_input
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_nets.mxnet.checkpoints import import_checkpoint
from xtalgrid_nets.mxnet.packs import pack
from xtalgrid_nets.mxnet.recordio import (
    MAGIC,
    ImageRecord,
    pack_image,
    read_index,
    read_list,
    read_record,
    read_records,
    record_bytes,
    unpack_image,
)
from xtalgrid_nets.sets.writing import ChopSetWriter

HERE = Path(__file__).parent
SETTINGS = {
    "mean": [123.675, 116.28, 103.53],  # gluon's, which is not xtalgrid's
    "std": [58.393, 57.12, 57.375],
    "bgr": False,
    "labels": [[7.0], [3.5], [1.0, 2.0, 3.0], [0.25, -4.0]],
}
MOST = 1e-5
"""Maximum difference from MXNet's probabilities."""


def environment(folder: Path, python: str) -> Path:
    """Return the Python of MXNet's environment; create it if it is missing."""
    interpreter = folder / "env" / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(folder / "env")], check=True)
        subprocess.run(
            [interpreter, "-m", "pip", "install", "--quiet", "-r", str(HERE / "requirements.txt")], check=True
        )
    return interpreter


def payloads() -> list[bytes]:
    """Make records of all lengths around the padding, with the magic number where it must be cut out and where not."""
    rng = np.random.default_rng(1)
    magic = MAGIC.to_bytes(4, "little")
    records = [rng.bytes(length) for length in range(10)]
    records += [
        magic,
        magic * 2,
        b"abcd" + magic,
        magic + b"abcd",
        b"ab" + magic + b"cd",
        b"abcd" + magic + b"e" + magic,
    ]
    return [*records, magic * 3 + b"xyz", rng.bytes(70_001)]


def chops() -> np.ndarray:
    """Make eight chops with some content."""
    rng = np.random.default_rng(2)
    small = rng.integers(0, 256, (8, 12, 12, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((256, 256), Image.Resampling.BICUBIC)) for each in small])


def prepare(folder: Path) -> None:
    """Write the input files of both sides."""
    (folder / "settings.json").write_text(json.dumps(SETTINGS))
    np.save(folder / "chops.npy", chops())
    np.savez(folder / "payloads.npz", *[np.frombuffer(payload, np.uint8) for payload in payloads()])
    for number, chop in enumerate(chops()):
        path = folder / "pictures" / f"class{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chop).save(path, quality=95)


def compare_records(folder: Path) -> list[tuple[str, bool, str]]:
    """Compare RecordIO packs that were written and read by both sides."""
    expected = payloads()
    places, stored = [], b""
    for payload in expected:
        places.append(len(stored))
        stored += record_bytes(payload)
    (folder / "ours.rec").write_bytes(stored)
    (folder / "ours.idx").write_text("".join(f"{number}\t{place}\n" for number, place in enumerate(places)))
    theirs = folder / "theirs.rec"
    index = read_index(folder / "theirs.idx")
    images = [unpack_image(payload) for payload in read_records(folder / "images.rec")]
    labels = [np.array(each, np.float32) for each in SETTINGS["labels"]]
    again = [pack_image(ImageRecord(image.number, image.labels, image.image)) for image in images]
    files = read_list(folder / "im2rec.lst")
    packed = {image.number: image.image for image in map(unpack_image, read_records(folder / "im2rec.rec"))}
    return [
        (".rec written here is MXNet's", theirs.read_bytes() == stored, f"{len(stored):,} bytes"),
        (
            ".idx written here is MXNet's",
            (folder / "theirs.idx").read_bytes() == (folder / "ours.idx").read_bytes(),
            "",
        ),
        ("MXNet's records read here", list(read_records(theirs)) == expected, f"{len(expected)} records"),
        ("MXNet's records by .idx", [read_record(theirs, index[i]) for i in range(len(expected))] == expected, ""),
        ("labels, one and several", all(np.array_equal(a.labels, b) for a, b in zip(images, labels, strict=True)), ""),
        ("image heads written here", again == list(read_records(folder / "images.rec")), ""),
        (
            "im2rec's pack read here",
            len(packed) == 8
            and all(packed[n] == (folder / "pictures" / path).read_bytes() for n, path in files.items()),
            f"{len(packed)} files",
        ),
    ]


def write_set(folder: Path) -> None:
    """Make a training set and pack it."""
    if not (folder / "set" / "dataset.json").exists():
        with ChopSetWriter(folder / "set", "check", {}) as writer:
            for number, chop in enumerate(chops()):
                labels = np.array([number % len(CLASSES)], np.uint8)
                writer.add(plate="p", source="s", image=str(number), outcome="", chops=(chop[None], labels))
    pack(folder / "set", folder / "set")


def compare_reading(folder: Path) -> list[tuple[str, bool, str]]:
    """Compare what MXNet has read from our packs."""
    read = np.load(folder / "read.npz")
    seen = np.load(folder / "set.npz")
    pixels = seen["chops"].transpose(0, 2, 3, 1).round().astype(np.uint8)
    return [
        ("MXNet reads our records", [read[name].tobytes() for name in read.files] == payloads(), ""),
        ("ImageRecordIter reads our chops", np.array_equal(pixels, chops()), f"{len(pixels)} chops, every pixel"),
        ("and their labels", seen["labels"].tolist() == [n % len(CLASSES) for n in range(8)], ""),
    ]


def compare_networks(folder: Path) -> list[tuple[str, bool, str]]:
    """Compare the probabilities of imported checkpoints."""
    rows = []
    x = torch.from_numpy(network_input(chops()))
    for name in ("gluon1_0", "gluon1_1", "elu"):
        expected = np.load(folder / f"{name}.npy")
        files = folder / f"{name}-symbol.json", folder / f"{name}-0000.params"
        net, ours = import_checkpoint(*files, mean=SETTINGS["mean"], std=SETTINGS["std"])
        with torch.inference_mode():
            difference = np.abs(torch.softmax(net(x), 1).numpy() - expected).max()
        spread = np.ptp(expected, axis=0).max()
        rows.append(
            (ours, difference <= MOST, f"largest difference {difference:.1e}; probabilities spread {spread:.2f}")
        )
        if name != "elu":
            net, ours = import_checkpoint(*files, mean=SETTINGS["mean"], std=SETTINGS["std"], pool="mean")
            with torch.inference_mode():
                difference = np.abs(torch.softmax(net(x), 1).numpy() - expected).max()
            rows.append((f"{ours}: different, as expected", difference > MOST, f"largest difference {difference:.1e}"))
    return rows


def main() -> int:
    """Run both sides, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="python3.11", help="Python 3.11 for the environment")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    python = environment(folder, options.python)
    prepare(folder)
    subprocess.run([python, str(HERE / "with_mxnet.py"), "make", str(folder)], check=True)
    rows = compare_records(folder) + compare_networks(folder)
    write_set(folder)
    subprocess.run([python, str(HERE / "with_mxnet.py"), "read", str(folder)], check=True)
    rows += compare_reading(folder)
    for what, good, detail in rows:
        print(f"{'ok' if good else 'DIFFERS':<8} {what:<42} {detail}")  # noqa: T201
    return 0 if all(good for _, good, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
