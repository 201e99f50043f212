"""Train the paper's network with MXNet on RecordIO packs, for CPU minutes, beside `xtalgrid-train fit compared`.

    env/bin/python train.py --pack PREFIX --pack PREFIX --out RUN --minutes 40

It imports nothing of xtalgrid. The recipe is that of compared.toml: Adam, a cosine after a short warm-up, uniform
draws, chops turned by quarters and mirrored. Killed, the same command goes on from the last checkpoint. In the end RUN
holds ``net-symbol.json`` and ``net-0000.params`` for `xtalgrid-train import mxnet`, and ``record.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MXNET_CPU_WORKER_NTHREADS="1")

import mxnet as mx
import numpy as np
from paper_network import middle, paper_network

CLASSES = 13
BATCH, RATE, WARMUP = 16, 3e-4, 0.05
MEAN = (123.0, 117.0, 104.0)  # of red, green and blue, as `xtalgrid_core.images.MEAN_RGB`
CHECKPOINT_EVERY = 50
SEED = 0


class Packs:
    """The chops of several packs, drawn as batches: the same for the same step."""

    def __init__(self, prefixes: list[Path]) -> None:
        packs = [mx.recordio.MXIndexedRecordIO(f"{prefix}.idx", f"{prefix}.rec", "r") for prefix in prefixes]
        self._chops = [(pack, key) for pack in packs for key in pack.keys]

    def __len__(self) -> int:
        return len(self._chops)

    def batch(self, step: int) -> mx.io.DataBatch:
        """Draw, turn and mirror a batch."""
        random = np.random.default_rng([SEED, step])
        chops, labels = [], []
        for index in np.sort(random.integers(len(self), size=BATCH)):
            pack, key = self._chops[index]
            head, chop = mx.recordio.unpack_img(pack.read_idx(key))
            chop = np.rot90(chop[:, :, ::-1], random.integers(4))  # OpenCV has blue first
            chops.append(chop[:, ::-1] if random.integers(2) else chop)
            labels.append(float(np.ravel(head.label)[0]))
        pixels = (middle(np.stack(chops)).astype(np.float32) - MEAN).transpose(0, 3, 1, 2)
        return mx.io.DataBatch([mx.nd.array(pixels)], [mx.nd.array(labels)])


def factor(progress: float) -> float:
    """Return the factor on the learning rate, as the schedule ``cosine`` of xtalgrid's recipes."""
    if progress < WARMUP:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / WARMUP)) / 2
    return (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP))) / 2


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, action="append", required=True, help="prefix of a pack; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--minutes", type=float, required=True, help="CPU minutes, over all interruptions")
    given = parser.parse_args()
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    packs, limit = Packs(given.pack), 60 * given.minutes
    mx.random.seed(SEED)
    np.random.seed(SEED)  # MXNet's initializers draw from it

    state = out / "progress.json"
    done = json.loads(state.read_text()) if state.is_file() else {"step": 0, "seconds": 0.0}
    module = mx.mod.Module(paper_network(CLASSES))
    module.bind([("data", (BATCH, 3, 227, 227))], [("softmax_label", (BATCH,))])
    if done["step"]:
        _, arguments, _ = mx.model.load_checkpoint(str(out / done["checkpoint"]), 0)
        module.set_params(arguments, {})
    else:
        module.init_params(mx.init.Xavier())
    adam = mx.optimizer.create("adam", learning_rate=RATE, rescale_grad=1 / BATCH, begin_num_update=done["step"])
    module.init_optimizer(optimizer=adam)
    if done["step"]:
        module.load_optimizer_states(str(out / f"{done['checkpoint']}-0000.states"))

    def save(step: int, seconds: float) -> None:
        name = f"step-{step}"
        module.save_checkpoint(str(out / name), 0, save_optimizer_states=True)
        beside = state.with_suffix(".new")
        beside.write_text(json.dumps({"step": step, "seconds": seconds, "checkpoint": name}))
        beside.replace(state)
        for file in out.glob("step-*"):
            if not file.name.startswith(f"{name}-"):
                file.unlink()

    step, seconds, loss = done["step"], done["seconds"], []
    began = time.process_time() - seconds
    with (out / "curves.csv").open("a", encoding="utf-8") as curves:
        while seconds < limit:
            adam.lr = RATE * factor(seconds / limit)
            batch = packs.batch(step)
            module.forward(batch)
            p = module.get_outputs()[0].asnumpy()[np.arange(BATCH), batch.label[0].asnumpy().astype(int)]
            loss.append(-np.log(np.maximum(p, 1e-12)).mean())
            module.backward()
            module.update()
            mx.nd.waitall()  # or the time would be that of the steps asked for
            step += 1
            seconds = time.process_time() - began
            if step % CHECKPOINT_EVERY == 0:
                curves.write(f"{step},{seconds:.1f},{adam.lr:.4g},{np.mean(loss):.5f}\n")
                curves.flush()
                loss = []
                save(step, seconds)
    save(step, seconds)
    module.save_checkpoint(str(out / "net"), 0)
    epochs = step * BATCH / len(packs)
    record = {
        "finished": True,
        "step": step,
        "seconds": round(seconds, 1),
        "clock": "cpu",
        "epochs": round(epochs, 3),
        "seconds_an_epoch": round(seconds / epochs, 1),
        "device": "1 CPU thread",
        "precision": "float32",
        "start": None,
        "versions": {"mxnet": mx.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    (out / "record.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
