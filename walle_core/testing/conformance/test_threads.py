"""The result does not depend on the number of threads, and sessions do not disturb each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph
from walle_core.ops.numpy_lazy import np
from walle_core.session import Session


def network(seed: int) -> Graph:
    """A small network: matrix products, activation, reduction, movement."""
    rng = np.random.RandomState(seed)
    g = Builder()
    x = g.input("x", "float32", (37, 48))
    y = g.Relu(
        g.Add(
            g.MatMul(x, g.const(rng.randn(48, 64).astype(np.float32))),
            g.const(rng.randn(64).astype(np.float32)),
        )
    )
    y = g.Softmax(g.MatMul(y, g.const(rng.randn(64, 33).astype(np.float32))), axis=-1)
    return g.graph([g.Transpose(y, perm=(1, 0)), g.ReduceSum(y, g.const([0], "int64"), keepdims=0)])


def run(session: Session, value: Any) -> list[bytes]:
    return [np.asarray(v).tobytes() for v in session.run([value]).values()]


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_same_bits_for_any_number_of_threads(backend: Any, threads: int) -> None:
    value = np.random.RandomState(1).randn(37, 48).astype(np.float32)
    one = Session(network(0), backend=backend.name, threads=1).run([value])
    many = Session(network(0), backend=backend.name, threads=threads).run([value])
    for a, b in zip(one.values(), many.values(), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)


def test_runs_repeat_exactly(backend: Any) -> None:
    value = np.random.RandomState(2).randn(37, 48).astype(np.float32)
    session = Session(network(0), backend=backend.name, threads=2)
    first = run(session, value)
    assert all(run(session, value) == first for _ in range(10))


def test_sessions_in_parallel(backend: Any) -> None:
    sessions = [Session(network(seed), backend=backend.name, threads=1 + seed % 2) for seed in range(4)]
    value = np.random.RandomState(3).randn(37, 48).astype(np.float32)
    alone = [run(s, value) for s in sessions]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            assert list(pool.map(lambda s: run(s, value), sessions)) == alone


def test_one_session_in_many_threads(backend: Any) -> None:
    session = Session(network(7), backend=backend.name, threads=2)
    values = [np.random.RandomState(i).randn(37, 48).astype(np.float32) for i in range(8)]
    alone = [run(session, v) for v in values]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(lambda v: run(session, v), values)) == alone
