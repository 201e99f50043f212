"""The half of `check.py` that runs inside MXNet's environment: ``with_mxnet.py make|read|fixtures FOLDER``.

It imports nothing of xtalgrid and exchanges files through FOLDER. "fixtures" makes the small files of tests/nets/mxnet.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zlib
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet.gluon.model_zoo import vision
from mxnet.tools import im2rec
from paper_network import middle, paper_network

CLASSES = 13


def preprocessed(chops: np.ndarray, settings: dict) -> mx.nd.NDArray:
    """Preprocess (N, H, W, 3) uint8 RGB as the checkpoints expect it."""
    x = (chops.astype(np.float32) - settings["mean"]) / settings["std"]
    if settings["bgr"]:
        x = x[..., ::-1]
    return mx.nd.array(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def randomised(values: dict) -> dict:
    """Draw weights that keep activations in range, and biases large enough to matter; the same for each name."""
    drawn = {}
    for name, value in values.items():
        deviation = 0.1 if name.endswith("bias") else (2 / np.prod(value.shape[1:])) ** 0.5
        random = np.random.RandomState(zlib.crc32(name.encode()))
        drawn[name] = mx.nd.array(random.normal(0, deviation, value.shape))
    return drawn


def gluon(version: str, folder: Path, chops: np.ndarray, settings: dict) -> None:
    """Export a network of gluon's model zoo."""
    net = getattr(vision, f"squeezenet{version}")(classes=CLASSES, prefix="net_")
    net.initialize()
    x = preprocessed(chops, settings)
    net(x)
    for name, value in randomised({n: p.data() for n, p in net.collect_params().items()}).items():
        net.collect_params()[name].set_data(value)
    net.hybridize()
    np.save(folder / f"gluon{version}.npy", mx.nd.softmax(net(x)).asnumpy())
    net.export(str(folder / f"gluon{version}"))


def elu(folder: Path, chops: np.ndarray, settings: dict) -> None:
    """Save the paper's network from a Module: ELU, 227² chops (here the middle of 256²)."""
    module = mx.mod.Module(paper_network(CLASSES))
    data = preprocessed(middle(chops), settings)
    module.bind([("data", data.shape)], [("softmax_label", (len(chops),))], for_training=False)
    module.init_params()
    module.set_params(randomised(module.get_params()[0]), {})
    module.forward(mx.io.DataBatch([data], [mx.nd.zeros(len(chops))]), is_train=False)
    np.save(folder / "elu.npy", module.get_outputs()[0].asnumpy())
    module.save_checkpoint(str(folder / "elu"), 0)


def make(folder: Path) -> None:
    """Make checkpoints with their probabilities, and packs, with MXNet."""
    settings = json.loads((folder / "settings.json").read_text())
    chops = np.load(folder / "chops.npy")
    for version in ("1_0", "1_1"):
        gluon(version, folder, chops, settings)
    elu(folder, chops, settings)
    payloads = np.load(folder / "payloads.npz")
    pack = mx.recordio.MXIndexedRecordIO(str(folder / "theirs.idx"), str(folder / "theirs.rec"), "w")
    for number, name in enumerate(payloads.files):
        pack.write_idx(number, payloads[name].tobytes())
    pack.close()
    images = mx.recordio.MXRecordIO(str(folder / "images.rec"), "w")
    for number, labels in enumerate(settings["labels"]):
        label = labels[0] if len(labels) == 1 else labels
        images.write(mx.recordio.pack(mx.recordio.IRHeader(0, label, number, 0), b"picture %d" % number))
    images.close()
    tool = [sys.executable, im2rec.__file__, str(folder / "im2rec"), str(folder / "pictures")]
    for step in (["--list", "--recursive", "--no-shuffle"], ["--pass-through"]):
        subprocess.run([*tool, *step], check=True, stdout=subprocess.DEVNULL)


def read(folder: Path) -> None:
    """Read the packs that xtalgrid wrote, and save what MXNet finds in them."""
    pack = mx.recordio.MXIndexedRecordIO(str(folder / "ours.idx"), str(folder / "ours.rec"), "r")
    np.savez(folder / "read.npz", *[np.frombuffer(pack.read_idx(number), np.uint8) for number in pack.keys])
    batches = mx.io.ImageRecordIter(path_imgrec=str(folder / "set.rec"), data_shape=(3, 256, 256), batch_size=1)
    items = [(batch.data[0].asnumpy()[0], batch.label[0].asnumpy()[0]) for batch in batches]
    np.savez(folder / "set.npz", chops=np.stack([f[0] for f in items]), labels=np.stack([f[1] for f in items]))


def fixtures(folder: Path) -> None:
    """Make symbol files, probabilities, arrays and records with MXNet, small enough to keep with the tests."""
    settings = {"mean": [123.675, 116.28, 103.53], "std": [58.393, 57.12, 57.375], "bgr": True}
    chops = np.random.RandomState(0).randint(0, 256, (2, 4, 4, 3)).astype(np.uint8).repeat(64, 1).repeat(64, 2)
    gluon("1_0", folder, chops, settings)
    gluon("1_1", folder, chops, settings)
    elu(folder, chops, settings)
    for name in ("gluon1_0", "gluon1_1", "elu"):
        symbol = folder / f"{name}-symbol.json"
        (folder / f"{name}-symbol.json.gz").write_bytes(gzip.compress(symbol.read_bytes(), mtime=0))
        symbol.unlink()
        (folder / f"{name}-0000.params").unlink()
    arrays = {
        "arg:a": mx.nd.array([[1.5, -2.0, 3.25]]),
        "aux:b": mx.nd.array([1, 2, 3], dtype="int64"),
        "c": mx.nd.array([0.5, 65504.0], dtype="float16"),
        "d": mx.nd.array(np.arange(24).reshape(2, 3, 4), dtype="uint8"),
    }
    mx.nd.save(str(folder / "tiny.params"), arrays)
    magic = b"\x0a\x23\xd7\xce"
    pack = mx.recordio.MXIndexedRecordIO(str(folder / "tiny.idx"), str(folder / "tiny.rec"), "w")
    for number, payload in enumerate([b"", b"abc", magic * 2 + b"x", b"abcd" + magic + b"efg", b"ab" + magic]):
        pack.write_idx(number, payload)
    header = mx.recordio.IRHeader(0, [1.0, 2.5, -3.0], 5, 0)
    pack.write_idx(5, mx.recordio.pack(header, b"picture"))
    pack.write_idx(6, mx.recordio.pack(mx.recordio.IRHeader(0, 7.0, 6, 0), b"another"))
    pack.close()


{"make": make, "read": read, "fixtures": fixtures}[sys.argv[1]](Path(sys.argv[2]))
