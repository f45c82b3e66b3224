"""Tiny graphs that reach every kernel, run on the device without the search: for devices that are slow checkers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
from walle_backend_opencl import open_device

import walle_core as walle
from walle_core.backends.device.backend import DeviceBackend
from walle_core.graph.builder import Builder
from walle_core.graph.lower import lower

RNG = np.random.default_rng(5)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def graphs() -> Iterator[tuple[str, Any, list[np.ndarray]]]:
    """(name, graph, inputs)."""

    def one(name: str, build: Callable[..., str], *inputs: np.ndarray) -> tuple[str, Any, list[np.ndarray]]:
        g = Builder()
        names = [g.input(f"x{i}", str(x.dtype), x.shape) for i, x in enumerate(inputs)]
        return name, g.graph([build(g, *names)]), list(inputs)

    yield one("product", lambda g, x: g.MatMul(x, g.const(f32(5, 7))), f32(9, 5))
    yield one("shared tiles", lambda g, x: g.MatMul(x, g.const(f32(18, 17))), f32(17, 18))
    yield one("product of two inputs", lambda g, x, y: g.MatMul(x, y), f32(2, 3, 5), f32(2, 5, 4))
    yield one(
        "convolution",
        lambda g, x: g.Relu(g.Conv(x, g.const(f32(5, 4, 3, 3)), pads=(1,) * 4, kernel_shape=(3, 3))),
        f32(1, 4, 5, 6),
    )
    yield one(
        "depthwise",
        lambda g, x: g.Conv(x, g.const(f32(4, 1, 3, 3)), pads=(1,) * 4, kernel_shape=(3, 3), group=4),
        f32(1, 4, 5, 6),
    )
    for op in ("MaxPool", "AveragePool"):
        yield one(op, lambda g, x, op=op: g.op(op, x, kernel_shape=(2, 2), strides=(2, 2)), f32(1, 3, 5, 6))
    yield one("softmax", lambda g, x: g.Softmax(x, axis=-1), f32(3, 7))
    yield one(
        "normalisation", lambda g, x: g.LayerNormalization(x, g.const(f32(7)), g.const(f32(7))), f32(3, 7)
    )
    yield one("rows", lambda g, x: g.ReduceSum(x, g.const(np.array([1]), "int64"), keepdims=0), f32(3, 7))
    yield one("columns", lambda g, x: g.ReduceMax(x, g.const(np.array([0]), "int64"), keepdims=0), f32(3, 7))
    yield one("largest", lambda g, x: g.ArgMax(x, axis=1), f32(3, 7))
    yield one("running sum", lambda g, x: g.CumSum(x, g.const(np.array(1), "int64")), f32(3, 7))
    yield one("transpose", lambda g, x: g.Transpose(x, perm=(0, 2, 1)), f32(2, 3, 17))
    yield one("join", lambda g, x, y: g.Concat(x, y, axis=1), f32(2, 3), f32(2, 4))
    yield one(
        "gather", lambda g, x: g.Gather(x, g.const(np.array([2, -1, 0]), "int64"), axis=1), f32(2, 3, 4)
    )
    yield one("chain", lambda g, x, y: g.Tanh(g.Add(g.Exp(x), y)), f32(3, 7), f32(1, 7))
    yield one("choice", lambda g, x, y: g.Where(g.Less(x, y), x, y), f32(3, 7), f32(3, 1))
    yield one(
        "integers", lambda g, x: g.Mul(g.Cast(x, to=6), g.const(np.array([3], np.int32), "int32")), f32(3, 7)
    )


def main() -> None:
    """Runs all; every result is that of the NumPy definitions."""
    device = open_device()
    assert device is not None
    backend = DeviceBackend("opencl", "0", lambda: device)
    plain = device.limits
    for name, graph, inputs in graphs():
        shared = name == "shared tiles"  # what a GPU would do
        device.limits = attrs.evolve(plain, tiles=shared)  # type: ignore[misc]

        def pick(node: Any, specs: Any, constants: Any, shared: bool = shared) -> Any:
            offers = backend.candidates(node, specs, constants)
            return next(iter([c for c in offers if "shared" in c.algorithm] if shared else offers), None)

        lowered = lower(graph, pick, backend.traits, lambda node, given: None)
        assert set(lowered.choices) == {n.name for n in lowered.graph.nodes}, name
        made = backend.prepare(lowered.graph, lowered.choices, 1, "high").run(
            [walle.Tensor.of(x) for x in inputs]
        )
        feeds = dict(zip(graph.inputs, inputs, strict=True))
        wanted = walle.Session(graph, backend="reference").run(feeds)
        for a, b in zip(made, wanted.values(), strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-5, atol=2e-6, err_msg=name)
        print(name, flush=True)


if __name__ == "__main__":
    main()
