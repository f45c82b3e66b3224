"""Every real model on every backend gives what ONNX Runtime gave."""

import numpy as np

import walle_core as walle

RELATIVE = 1e-4  # of an output's scale
# One value on a rounding boundary that goes the other way changes every layer after it: ONNX Runtime's own kernels
# for integers and for floats are further apart than this on mobilenetv2_imagenet_qdq.
QUANTISED = 0.1


def test_outputs_are_those_of_onnxruntime(model, backend):
    graph = walle.load(model.path)
    made = walle.Session(graph, backend=backend, threads=2).run(model.inputs)
    assert set(made) == set(model.outputs)
    relative = QUANTISED if any(n.op == "QuantizeLinear" for n in graph.nodes) else RELATIVE
    for name, want in model.outputs.items():
        got = np.asarray(made[name])
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        assert np.abs(got - want).max(initial=0) <= relative * np.abs(want).max(initial=0), name
        if want.ndim > 1:
            np.testing.assert_array_equal(got.argmax(-1), want.argmax(-1))


def test_arena_is_near_the_lower_bound(model, backend):
    for threads in (1, 2):
        session = walle.Session(walle.load(model.path), backend=backend, threads=threads)
        session.run(model.inputs)
        for part in session.plan.parts:
            arena = getattr(part.executable, "arena", None)
            assert arena is None or arena.nbytes <= 1.1 * arena.lower_bound, (arena.nbytes, arena.lower_bound)
