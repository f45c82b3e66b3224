"""Algorithms that round more than plain sums: allowed by default within 1e-3, left out on request."""

import numpy as np
import pytest

from walle_core import Session, Tensor
from walle_core.engines import backends
from walle_core.graph.builder import Builder
from walle_core.plugins import load_plugins

TABLES = [
    name for name, found in backends().items() if found and hasattr(load_plugins().backends[name], "kernels")
]


def deep(size, channels, layers):
    rng = np.random.default_rng(3)
    g = Builder()
    x = y = g.input("x", "float32", (1, channels, size, size))
    for _ in range(layers):
        w = rng.standard_normal((channels, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        y = g.Relu(
            g.Conv(y, g.const(Tensor.wrap(w.astype(np.float32))), kernel_shape=(3, 3), pads=(1, 1, 1, 1))
        )
    del x
    return g.graph([y])


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("size", "channels"), [(96, 32), (28, 64)])
def test_approximate_algorithms_are_taken_only_if_allowed(name, size, channels):
    graph = deep(size, channels, 6)
    x = {"x": np.random.default_rng(4).standard_normal((1, channels, size, size), dtype=np.float32)}
    (want,) = Session(graph, backend="reference").run(x).values()
    scale = np.abs(np.asarray(want)).max()
    seen = set()
    for exact, limit in ((False, 1e-3), (True, 1e-5)):
        session = Session(graph, backend=name, threads=1, exact=exact)
        (got,) = session.run(x).values()
        assert np.abs(np.asarray(got) - np.asarray(want)).max() <= limit * scale
        algorithms = {row["algorithm"] for row in session.describe()}
        seen |= {(exact, "winograd" in a) for a in algorithms}
    assert (False, True) in seen and (True, True) not in seen
