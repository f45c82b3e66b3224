"""Sessions in several threads: same results as alone, whether they share a session, a graph or nothing."""

import threading

import numpy as np
import pytest

import walle_core as walle
from walle_core.graph.builder import Builder

ROUNDS = 30


def network(seed):
    rng = np.random.RandomState(seed)
    g = Builder()
    x = g.input("x", "float32", (1, 8, 16, 16))
    for _ in range(4):
        w = walle.Tensor.wrap(rng.uniform(-1, 1, (8, 8, 3, 3)).astype(np.float32))
        x = g.Relu(g.Conv(x, g.const(w), pads=(1, 1, 1, 1)))
    y = g.MatMul(
        g.Reshape(x, g.const([1, -1], "int64")),
        g.const(walle.Tensor.wrap(rng.uniform(-1, 1, (2048, 10)).astype(np.float32))),
    )
    return g.graph([y])


def run_together(sessions, feeds):
    """Outputs of every round of every thread; starts them at once."""
    gate, made = threading.Barrier(len(sessions)), [[] for _ in sessions]
    failed = []

    def work(index):
        try:
            gate.wait()
            for _ in range(ROUNDS):
                (out,) = sessions[index].run([feeds[index]]).values()
                made[index].append(np.array(out))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return made


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_results_are_those_of_a_run_alone(backend, threads, shared):
    graphs = [network(seed) for seed in range(4)]
    if shared:
        graphs = [graphs[0]] * 4
    rng = np.random.RandomState(9)
    feeds = [rng.uniform(-1, 1, (1, 8, 16, 16)).astype(np.float32) for _ in graphs]
    sessions = [walle.Session(g, backend=backend, threads=threads) for g in graphs]
    if shared:
        sessions = [sessions[0]] * 4
    alone = [np.array(next(iter(s.run([x]).values()))) for s, x in zip(sessions, feeds, strict=True)]
    for want, got in zip(alone, run_together(sessions, feeds), strict=True):
        for each in got:
            np.testing.assert_array_equal(each, want)
