"""The side that runs in TensorFlow (see README.md beside this file).

with_tensorflow.py fixtures FILE.npz                  make the small SavedModel of the tests, with its outputs
with_tensorflow.py answers SAVEDMODEL IMAGE…          print the outputs of MARCO's network as JSON lines
with_tensorflow.py ranges SAVEDMODEL IMAGE…           print the largest value of each ReLU, averaged over the images
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
CLASSES = ("Crystals", "Precipitate", "Other", "Clear")
FILES = "ParseExample/ParseExample:0"
"""Tensor that the image files are fed into."""


def fixtures(file: Path) -> None:
    """Write a SavedModel with each kind of layer that MARCO's has, its variables, and its answers to two pictures."""
    rng = np.random.default_rng(0)
    with v1.Graph().as_default(), v1.Session() as session, tempfile.TemporaryDirectory() as scratch:

        def variable(name: str, *shape: int, least: float = -1.0) -> tf.Tensor:
            values = rng.uniform(least, 1.0, shape).astype(np.float32)
            return v1.get_variable(name, initializer=values, use_resource=False)

        def convolution(x: tf.Tensor, name: str, filters: int, kernel: tuple[int, int], **window: Any) -> tf.Tensor:
            with v1.variable_scope(name):
                x = v1.nn.conv2d(x, variable("weights", *kernel, x.shape[-1], filters), **window)
                beta, mean = variable("beta", filters), variable("moving_mean", filters)
                statistics = {"mean": mean, "variance": variable("moving_variance", filters, least=0.1)}
                x, *_ = v1.nn.fused_batch_norm(
                    x, np.ones(filters, np.float32), beta, **statistics, epsilon=0.001, is_training=False
                )
                return tf.nn.relu(x)

        same = {"strides": 1, "padding": "SAME"}
        placeholder = v1.placeholder(tf.float32, (None, 13, 13, 3), name="given")
        x = convolution(placeholder, "first", 4, (3, 3), strides=2, padding="VALID")
        wide = convolution(convolution(x, "wide", 3, (1, 3), **same), "tall", 3, (5, 1), **same)
        mean = convolution(v1.nn.avg_pool(x, 3, **same), "pooled", 2, (1, 1), **same)
        x = v1.nn.max_pool(tf.concat([wide, mean], 3), 3, 1, "VALID")
        x = v1.nn.avg_pool(x, 4, 2, "VALID", name="features")
        logits = tf.nn.bias_add(
            v1.nn.conv2d(x, variable("last", 1, 1, 5, 4), **same), variable("biases", 4), name="logits"
        )
        v1.get_variable("global_step", initializer=np.int64(1 << 40), use_resource=False)
        session.run(v1.global_variables_initializer())
        saved = Path(scratch) / "saved"
        v1.saved_model.simple_save(session, str(saved), {"given": placeholder}, {"logits": logits})
        paths = (saved / "saved_model.pb", *sorted((saved / "variables").iterdir()))
        pictures = rng.uniform(0, 1, (2, 13, 13, 3)).astype(np.float32)
        np.savez_compressed(
            file,
            given=pictures,
            logits=session.run(logits, {placeholder: pictures}),
            **{path.name: np.frombuffer(path.read_bytes(), np.uint8) for path in paths},
            **{f"variable {one.op.name}": session.run(one) for one in v1.global_variables()},
        )


def answers(model: Path, images: list[Path]) -> None:
    """Print the served graph's answer to each file, and to the picture decoded by libjpeg's accurate method."""
    serve = tf.saved_model.load(str(model)).signatures["serving_default"]

    def ask(data: bytes | tf.Tensor) -> list[float]:
        outputs = serve(image_bytes=tf.constant([data]) if isinstance(data, bytes) else data[None])
        scores = dict(zip(outputs["classes"].numpy()[0].tolist(), outputs["scores"].numpy()[0].tolist(), strict=True))
        return [scores[name.encode()] for name in CLASSES]

    for path in images:
        data = path.read_bytes()
        pixels = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")  # PNG files too
        answer = {"image": str(path), "served": ask(data), "accurate": ask(tf.io.encode_png(pixels, compression=0))}
        print(json.dumps(answer), flush=True)  # noqa: T201


def ranges(model: Path, images: list[Path]) -> None:
    """Print the largest value of each ReLU in the graph's order: the mean over the images, to three digits."""
    with v1.Graph().as_default() as graph, v1.Session() as session:
        v1.saved_model.load(session, ["serve"], str(model))
        largest = {
            op.name: tf.reduce_max(op.outputs[0])
            for op in graph.get_operations()
            if op.type == "Relu" and "AuxLogits" not in op.name
        }
        values = [session.run(list(largest.values()), {FILES: [path.read_bytes()]}) for path in images]
    for name, value in zip(largest, np.mean(values, axis=0), strict=True):
        print(f"{value:#.3g}", name)  # noqa: T201


if __name__ == "__main__":
    todo, target, *rest = sys.argv[1:]
    if todo == "fixtures":
        fixtures(Path(target))
    else:
        {"answers": answers, "ranges": ranges}[todo](Path(target), [Path(name) for name in rest])
