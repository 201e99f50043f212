"""The published way to classify chops, as a reference for timing: one by one, in the frameworks that a lab would use.

``seconds_torch`` and ``seconds_mxnet`` give CPU seconds per chop on one thread. Weights are random, which does not
change the time. Called as a program by MXNet's own Python (`models/legacy-mxnet` makes that environment), this file is
the MXNet side, and imports nothing of xtalgrid: ``FOLDER/env/bin/python scripts/bench/published_way.py chops.npy``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def seconds_torch(chops: np.ndarray, network: str = "squeezenet1.1") -> float:
    """Return CPU seconds per chop in eager torch, for chops ``(N, 256, 256, 3)`` uint8, after one uncounted run."""
    import torch

    from xtalgrid_core.images import network_input
    from xtalgrid_nets.networks import build

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = build(network).eval()

    def run(chop: np.ndarray) -> None:
        with torch.inference_mode():
            net(torch.from_numpy(network_input(chop[None])))

    return _each(run, chops)


def seconds_mxnet(chops: np.ndarray, python: Path) -> float:
    """Return the same for gluon's SqueezeNet 1.1, hybridised, in the environment of that Python."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "chops.npy", chops)
        command = [str(python), __file__, f"{folder}/chops.npy"]
        environment = {"OMP_NUM_THREADS": "1", "MXNET_CPU_WORKER_NTHREADS": "1", "PATH": "/usr/bin:/bin"}
        return float(subprocess.check_output(command, text=True, env=environment).split()[-1])


def _each(run: Callable[[np.ndarray], None], chops: np.ndarray) -> float:
    run(chops[0])
    began = time.process_time()
    for chop in chops:
        run(chop)
    return (time.process_time() - began) / len(chops)


def _in_mxnet(path: str) -> float:
    import mxnet as mx
    from mxnet.gluon.model_zoo import vision

    net = vision.squeezenet1_1(classes=13)
    net.initialize(mx.init.Xavier())
    net.hybridize()

    def run(chop: np.ndarray) -> None:
        net(mx.nd.array(chop[None].astype(np.float32).transpose(0, 3, 1, 2) - 110)).asnumpy()

    return _each(run, np.load(path))


if __name__ == "__main__":
    print(_in_mxnet(sys.argv[1]))
