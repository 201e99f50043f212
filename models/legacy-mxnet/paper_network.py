"""The paper's network as an MXNet symbol: Rosebrock's SqueezeNet 1.0 with ELU, for the middle 227² of a chop."""

from __future__ import annotations

import mxnet as mx
import numpy as np


def middle(chops: np.ndarray) -> np.ndarray:
    """Cut 227² out of the middle of ``(N, 256, 256, 3)``."""
    return chops[:, 14:241, 14:241]


def paper_network(classes: int) -> mx.sym.Symbol:
    """Return the network with its softmax output."""

    def convolved(x: mx.sym.Symbol, filters: int, kernel: int, **options: tuple) -> mx.sym.Symbol:
        x = mx.sym.Convolution(x, num_filter=filters, kernel=(kernel, kernel), **options)
        return mx.sym.LeakyReLU(x, act_type="elu")

    def halved(x: mx.sym.Symbol) -> mx.sym.Symbol:
        return mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max")

    x = halved(convolved(mx.sym.Variable("data"), 96, 7, stride=(2, 2)))
    for index, (squeeze, expand) in enumerate(
        [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
    ):
        x = halved(x) if index in (3, 7) else x
        s = convolved(x, squeeze, 1)
        x = mx.sym.Concat(convolved(s, expand, 1), convolved(s, expand, 3, pad=(1, 1)), dim=1)
    x = convolved(mx.sym.Dropout(x, p=0.5), classes, 1)
    x = mx.sym.Flatten(mx.sym.Pooling(x, kernel=(13, 13), pool_type="avg"))
    return mx.sym.SoftmaxOutput(x, name="softmax")
