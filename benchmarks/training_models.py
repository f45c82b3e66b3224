"""Models that training is measured on, built here with random weights: ResNet-18 and a transformer of two layers."""

from __future__ import annotations

import numpy as np

from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph

CLASSES, WIDTH, HEADS, TOKENS = 10, 128, 4, 64


class Weights:
    """Random weights of a Builder, the same for the same seed."""

    def __init__(self, g: Builder, seed: int = 0) -> None:
        self.g, self.rng = g, np.random.default_rng(seed)

    def __call__(self, *shape: int) -> str:
        fan = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
        return self.g.const((self.rng.normal(size=shape) * np.sqrt(2 / fan)).astype(np.float32))

    def full(self, value: float, *shape: int) -> str:
        return self.g.const(np.full(shape, value, np.float32))


def resnet18(batch: int, size: int) -> Graph:
    """ResNet-18 (He et al., 2016) for pictures of `size` pixels."""
    g = Builder()
    weights = Weights(g)

    def conv(x: str, channels: int, kernel: int, stride: int = 1) -> str:
        pad = kernel // 2
        y = g.Conv(x, weights(channels, g.shape(x)[1], kernel, kernel), pads=[pad] * 4, strides=[stride] * 2)
        ones, zeros = (lambda: weights.full(1, channels)), (lambda: weights.full(0, channels))
        return g.BatchNormalization(y, ones(), zeros(), zeros(), ones())

    x = g.input("input", "float32", (batch, 3, size, size))
    y = g.MaxPool(g.Relu(conv(x, 64, 7, 2)), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for channels, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        beside = conv(y, channels, 1, stride) if stride > 1 else y
        y = g.Relu(g.Add(conv(g.Relu(conv(y, channels, 3, stride)), channels, 3), beside))
    y = g.Flatten(g.GlobalAveragePool(y))
    return g.graph([g.Gemm(y, weights(512, CLASSES), weights.full(0, CLASSES))], name="resnet18")


def transformer(batch: int, tokens: int = TOKENS, layers: int = 2) -> Graph:
    """An encoder as BERT's: attention and a feed-forward part with GELU, each with a residual and a normalisation."""
    g = Builder()
    weights = Weights(g)
    shape = g.const([batch, tokens, HEADS, WIDTH // HEADS], "int64")

    def linear(x: str, width: int) -> str:
        return g.Add(g.MatMul(x, weights(g.shape(x)[-1], width)), weights.full(0, width))

    def norm(x: str) -> str:
        return g.LayerNormalization(x, weights.full(1, WIDTH), weights.full(0, WIDTH), axis=-1)

    def heads(x: str, perm: tuple[int, ...]) -> str:
        return g.Transpose(g.Reshape(linear(x, WIDTH), shape), perm=perm)

    y = g.input("input", "float32", (batch, tokens, WIDTH))
    for _ in range(layers):
        q, k, v = heads(y, (0, 2, 1, 3)), heads(y, (0, 2, 3, 1)), heads(y, (0, 2, 1, 3))
        scores = g.Mul(g.MatMul(q, k), g.const((WIDTH / HEADS) ** -0.5))
        seen = g.Transpose(g.MatMul(g.Softmax(scores, axis=-1), v), perm=(0, 2, 1, 3))
        y = norm(g.Add(y, linear(g.Reshape(seen, g.const([batch, tokens, WIDTH], "int64")), WIDTH)))
        y = norm(g.Add(y, linear(g.Gelu(linear(y, 4 * WIDTH)), WIDTH)))
    first = g.ReduceMean(y, g.const([1], "int64"), keepdims=0)
    return g.graph([linear(first, CLASSES)], name="transformer")


MODELS = {"resnet18": lambda batch: resnet18(batch, 64), "transformer": transformer}
