"""Products whose groups share tiles: the kernel of GPUs, on whatever devices there are, against NumPy."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

import walle_core as walle
from walle_core.backends.device.backend import DeviceBackend
from walle_core.graph.builder import Builder
from walle_core.graph.lower import lower
from walle_core.plan import simplify
from walle_core.plugins import load_plugins

RNG = np.random.default_rng(11)


def devices():
    found = [b for b in load_plugins().backends.values() if isinstance(b, DeviceBackend)]
    return [b for b in found if b.opened is not None]


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def built(name):
    g = Builder()
    shapes = {"product": (70, 45), "batch": (3, 33, 20), "two inputs": (2, 40, 17)}
    shape = shapes.get(name, (2, 18, 12, 11) if name != "few channels" else (1, 3, 30, 31))
    x = g.input("x", "float32", shape)
    conv = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    match name:
        case "product":
            y = g.Relu(g.Add(g.MatMul(x, g.const(f32(45, 67))), g.const(f32(67))))
        case "batch":
            y = g.MatMul(x, g.const(f32(20, 64)))
        case "two inputs":
            y = g.MatMul(x, g.input("w", "float32", (2, 17, 50)))
        case "convolution":
            y = g.Relu(g.Conv(x, g.const(f32(40, 18, 3, 3)), g.const(f32(40)), **conv))
        case "strides":
            y = g.Conv(x, g.const(f32(40, 18, 3, 3)), **conv, strides=(2, 1), dilations=(1, 2))
        case "residual":
            y = g.Add(g.Conv(x, g.const(f32(18, 18, 3, 3)), **conv), x)
        case "groups":
            y = g.Conv(x, g.const(f32(40, 9, 3, 3)), **conv, group=2)
        case "few channels":
            y = g.Conv(x, g.const(f32(24, 3, 5, 5)), kernel_shape=(5, 5), pads=(2, 1, 2, 3), strides=(2, 2))
    return g.graph([y])


NAMES = ("product", "batch", "two inputs", "convolution", "strides", "residual", "groups", "few channels")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [32, 64])
def test_shared_tiles(name, rows, monkeypatch):
    if not devices():
        pytest.skip("skipped: no device that runs the kernels of walle_core.backends.device")
    graph = simplify(built(name))
    feeds = {n: f32(*graph.specs[n].sizes) for n in graph.inputs}
    (wanted,) = walle.Session(graph, backend="reference").run(feeds).values()
    for backend in devices():
        monkeypatch.setattr(backend.opened, "limits", attrs.evolve(backend.opened.limits, tiles=True))
        taken = []

        def pick(node, specs, constants, backend=backend, taken=taken):
            offers = backend.candidates(node, specs, constants)
            shared = [c for c in offers if f"shared {rows}x" in c.algorithm]
            taken.extend(shared)
            return next(iter(shared or offers), None)

        lowered = lower(graph, pick, backend.traits, lambda node, given: None)
        assert taken, backend.name
        made = backend.prepare(lowered.graph, lowered.choices, 1, "high")
        (y,) = made.run([walle.Tensor.of(feeds[n]) for n in lowered.graph.inputs])
        assert any("product_shared" in row["kernel"] for row in made.describe())
        np.testing.assert_allclose(
            np.asarray(y), np.asarray(wanted), rtol=1e-4, atol=1e-4, err_msg=backend.name
        )
