"""Concatenations whose parts are written in place, against the reference backend; and those that must be copied."""

import numpy as np
import pytest

from walle_core import Session, Tensor
from walle_core.engines import backends
from walle_core.graph.builder import Builder
from walle_core.plugins import load_plugins

TABLES = [
    name for name, found in backends().items() if found and hasattr(load_plugins().backends[name], "kernels")
]
RNG = np.random.default_rng(0)


def weights(*shape):
    return RNG.standard_normal(shape, dtype=np.float32) * np.float32(1 / np.sqrt(np.prod(shape[1:])))


def conv(g, x, k, c, size=1, group=1, **attributes):
    w, bias = (
        g.const(Tensor.wrap(weights(k, c // group, size, size))),
        g.const(Tensor.wrap(weights(k, 1)[:, 0])),
    )
    attributes |= {"kernel_shape": (size, size), "pads": (size // 2,) * 4, "group": group}
    return g.Relu(g.Conv(x, w, bias, **attributes))


def branches(g, x, c):
    """One part per kernel: product, Winograd, direct, depthwise, pooling."""
    return [
        conv(g, x, 24, c),
        conv(g, x, 40, c, 3),
        conv(g, x, 7, c, 5),
        conv(g, x, c, c, 3, group=c),
        g.MaxPool(x, kernel_shape=(3, 3), pads=(1, 1, 1, 1)),
    ]


def check(graph, table, threads, copies):
    """Compares with the reference and counts the rasters that are left beside those of the graph's own ends."""
    x = RNG.standard_normal((2, 16, 9, 11), dtype=np.float32)
    session = Session(graph, backend=table, threads=threads)
    got = session.run({"x": x})
    want = Session(graph, backend="reference").run({"x": x})
    for name, value in want.items():
        np.testing.assert_allclose(np.asarray(got[name]), np.asarray(value), rtol=1e-4, atol=1e-4)
    steps = [row for row in session.describe() if row["kernel"].startswith("raster/4")]
    assert len(steps) == copies, [row["name"] for row in steps]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("table", TABLES)
class TestConcatenation:
    def test_every_kernel_writes_its_slice(self, table, threads):
        g = Builder()
        x = g.input("x", "float32", (2, 16, 9, 11))
        y = conv(g, g.Concat(*branches(g, x, 16), axis=1), 8, 24 + 40 + 7 + 16 + 16)
        check(g.graph([y]), table, threads, copies=2)  # the layout of the input and of the output

    def test_a_part_with_other_readers_is_copied(self, table, threads):
        g = Builder()
        x = g.input("x", "float32", (2, 16, 9, 11))
        a, b = conv(g, x, 24, 16), conv(g, x, 40, 16, 3)
        y = conv(g, g.Concat(a, b, axis=1), 24, 64)
        check(g.graph([g.Add(y, a)]), table, threads, copies=3)

    def test_the_same_part_twice_is_copied(self, table, threads):
        g = Builder()
        x = g.input("x", "float32", (2, 16, 9, 11))
        a, b = conv(g, x, 24, 16), conv(g, x, 40, 16, 3)
        y = conv(g, g.Concat(a, b, a, axis=1), 8, 88)
        check(g.graph([y]), table, threads, copies=3)

    def test_a_concatenation_inside_another(self, table, threads):
        g = Builder()
        x = g.input("x", "float32", (2, 16, 9, 11))
        inner = g.Concat(conv(g, x, 24, 16), conv(g, x, 40, 16, 3), axis=1)
        y = conv(g, g.Concat(conv(g, inner, 8, 64), inner, axis=1), 8, 72)
        check(g.graph([y]), table, threads, copies=4)
