"""Training steps: optimisers against their formulas, losses, modes, errors, and what must be equal bit by bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numeric import check, values_of

import walle_core as walle
from walle_core import Tensor, train
from walle_core.errors import DivergedError, GradientError, InputError
from walle_core.graph.builder import Builder
from walle_core.train import modes
from walle_core.train.losses import Loss


def perceptron(seed=0, batch=8, dropout=0.0):
    rng = np.random.default_rng(seed)
    g = Builder()
    x = g.input("x", "float32", (batch, 5))
    weights = [g.const(rng.normal(size=s).astype(np.float32) * 0.5) for s in ((5, 7), (7,), (7, 3), (3,))]
    y = g.Tanh(g.Add(g.MatMul(x, weights[0]), weights[1]))
    if dropout:
        y = g.op("Dropout", y, g.const(dropout), g.const(False, "bool"), name="drop")
    y = g.Add(g.MatMul(y, weights[2]), weights[3])
    return g.graph([y]), weights


def batch(seed=0, n=8):
    rng = np.random.default_rng(seed)
    return {"x": rng.normal(size=(n, 5)).astype(np.float32)}, rng.integers(0, 3, n)


def expected(optimizer, steps):
    """Weights after steps by the textbook formulas, in float64 from the engine's own gradients."""
    graph, weights = perceptron()
    values = {n: np.array(graph.constants[n], np.float64) for n in weights}
    slots = {n: [np.zeros_like(v) for _ in range(2)] for n, v in values.items()}
    for t in range(1, steps + 1):
        inputs, target = batch(t)
        grads = gradients_of(graph, values, inputs, target)
        for n, g in grads.items():
            w, (m, v) = values[n], slots[n]
            if isinstance(optimizer, train.SGD):
                g = g + optimizer.weight_decay * w
                m = optimizer.momentum * m + g
                step = g + optimizer.momentum * m if optimizer.nesterov else m
                values[n] = w - optimizer.lr * step
            else:
                if isinstance(optimizer, train.AdamW):
                    w = w - optimizer.lr * optimizer.weight_decay * w
                else:
                    g = g + optimizer.weight_decay * w
                m = optimizer.beta1 * m + (1 - optimizer.beta1) * g
                v = optimizer.beta2 * v + (1 - optimizer.beta2) * g * g
                root = np.sqrt(v / (1 - optimizer.beta2**t)) + optimizer.epsilon
                values[n] = w - optimizer.lr * m / (1 - optimizer.beta1**t) / root
            slots[n] = [m, v]
    return values


def gradients_of(graph, values, inputs, target):
    """Gradients of the mean cross entropy of the perceptron, written out."""
    names = list(values)
    w1, b1, w2, b2 = (values[n] for n in names)
    x = inputs["x"].astype(np.float64)
    h = np.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    d = (p - np.eye(3)[target]) / len(x)
    back = (d @ w2.T) * (1 - h * h)
    return dict(zip(names, (x.T @ back, back.sum(0), h.T @ d, d.sum(0)), strict=True))


@pytest.mark.parametrize(
    "optimizer",
    [
        train.SGD(0.1), train.SGD(0.1, momentum=0.9), train.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        train.Adam(0.01), train.Adam(0.01, weight_decay=0.1), train.AdamW(0.01, weight_decay=0.1),
    ],
    ids=repr,
)  # fmt: skip
def test_optimizers_follow_their_formulas(optimizer):
    graph, _ = perceptron()
    trainer = train.Trainer(graph, train.CrossEntropy(), optimizer)
    for t in range(1, 6):
        trainer.step(*batch(t))
    for name, value in expected(optimizer, 5).items():
        np.testing.assert_allclose(np.asarray(trainer.kept[name]), value, rtol=2e-4, atol=2e-5)


LOSSES: list[tuple[Loss, str]] = [
    (train.CrossEntropy(), "labels"), (train.CrossEntropy(logits=False), "labels"),
    (train.CrossEntropy(smoothing=0.1), "labels"), (train.KLDivergence(2.0), "shares"), (train.MSE(), "numbers"),
    (train.MAE(), "numbers"), (train.Hinge(), "signs"),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=lambda v: repr(v))
def test_losses(loss, kind):
    rng = np.random.default_rng(0)
    g = Builder()
    x = g.input("x", "float64", (4, 3))
    shares = rng.dirichlet(np.ones(3), 4)
    shares[0] = [0, 0, 1]
    target = {
        "labels": np.array([0, 2, 1, 1]), "shares": shares, "numbers": rng.normal(size=(4, 3)),
        "signs": rng.choice([-1.0, 1.0], (4, 3)),
    }[kind]  # fmt: skip
    spec = loss.target(g.specs[x])
    assert spec.sizes == target.shape
    value = loss.append(g, x, g.const(target, spec.dtype))
    scores = rng.uniform(0.1, 0.9, (4, 3))
    graph = g.graph([value])
    check(graph, value, {"x": scores}, rng)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    rows = np.arange(4)
    by_hand = {
        "CrossEntropy(logits=True, smoothing=0.0)": lambda: -logs[rows, target].mean(),
        "CrossEntropy(logits=False, smoothing=0.0)": lambda: -np.log(scores[rows, target]).mean(),
        "CrossEntropy(logits=True, smoothing=0.1)": lambda: (
            -0.9 * logs[rows, target].mean() - 0.1 * logs.mean()
        ),
        "KLDivergence(temperature=2.0)": lambda: _divergence(target, scores / 2) * 4,
        "MSE()": lambda: ((scores - target) ** 2).mean(),
        "MAE()": lambda: abs(scores - target).mean(),
        "Hinge(margin=1.0)": lambda: np.maximum(0, 1 - scores * target).mean(),
    }[repr(loss)]()
    assert float(values_of(graph, {"x": scores}, [value])[0]) == pytest.approx(by_hand, rel=1e-6)


def _divergence(p, z):
    logs = z - np.log(np.exp(z).sum(1, keepdims=True))
    own = np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0)
    return (own - p * logs).sum() / len(p)


def test_schedules():
    cosine = train.Cosine(10, warmup=2, floor=0.1)
    assert [round(cosine(i), 4) for i in (0, 1, 2, 6, 10, 50)] == [0.3333, 0.6667, 1.0, 0.55, 0.1, 0.1]
    assert [train.Steps(3, 0.5)(i) for i in (0, 2, 3, 6)] == [1, 1, 0.5, 0.25]
    assert train.Exponential(0.5)(3) == 0.125
    assert [train.Constant(warmup=3)(i) for i in (0, 3, 9)] == [0.25, 1.0, 1.0]
    with pytest.raises(InputError, match="total"):
        train.Cosine(0)


def test_the_schedule_scales_the_step():
    moved = []
    for schedule in (None, train.Exponential(0.5)):
        graph, weights = perceptron()
        trainer = train.Trainer(graph, train.CrossEntropy(), train.SGD(0.1), schedule=schedule)
        trainer.step(*batch())
        before = np.array(trainer.kept[weights[0]])
        trainer.step(*batch())
        moved.append(np.array(trainer.kept[weights[0]]) - before)
    np.testing.assert_allclose(moved[1], moved[0] / 2, rtol=1e-4, atol=1e-7)


def test_clipping_bounds_the_whole_step():
    graph, weights = perceptron()
    trainer = train.Trainer(graph, train.CrossEntropy(), train.SGD(1.0), clip=0.01)
    trainer.step(*batch())
    moved = [np.array(trainer.kept[n]) - np.array(graph.constants[n]) for n in weights]
    assert trainer.last_norm > 0.01
    assert math.sqrt(sum((m**2).sum() for m in moved)) == pytest.approx(0.01, rel=1e-3)


def trained(seed, threads=2, recompute=False, steps=4, **options):
    graph, _ = perceptron(dropout=0.3)
    trainer = train.Trainer(
        graph, train.CrossEntropy(), train.Adam(), seed=seed, threads=threads, recompute=recompute, **options
    )
    losses = [trainer.step(*batch(t)) for t in range(steps)]
    return losses, {n: t.tobytes() for n, t in trainer.kept.items()}


def test_equal_seeds_give_equal_bits_and_others_do_not():
    first, again, other = trained(1), trained(1), trained(2)
    assert first == again
    assert first[0] != other[0]


def test_values_computed_again_change_nothing():
    plain, again = trained(1), trained(1, recompute=True)
    assert plain[0] == pytest.approx(again[0], rel=1e-5)


def test_recomputation_keeps_less():
    def peak(recompute):
        g = Builder()
        x = g.input("x", "float32", (64, 64))
        y = x
        for _ in range(4):
            y = g.MatMul(y, g.const(np.eye(64, dtype=np.float32)))
            for _ in range(3):
                y = g.Tanh(y)
        trainer = train.Trainer(g.graph([y]), train.MSE(), train.SGD(), recompute=recompute)
        session = trainer.prepare({"x": np.zeros((64, 64), np.float32)})
        reads = set()
        nodes = session.graph.nodes
        first = next(i for i, n in enumerate(nodes) if any(o.startswith("grad/") for o in n.outputs))
        made = {o for n in nodes[:first] for o in n.outputs}
        for node in nodes[first:]:
            reads.update(made.intersection(node.inputs))
        return len(reads)

    assert peak(True) < peak(False)


def test_dropout_keeps_the_mean_and_draws_anew():
    mask = modes.Mask("m", (100, 100), 179)
    drawn = [np.array(mask.draw(0, step)) for step in (0, 1)]
    assert abs(drawn[0].mean() - 179 / 256) < 0.02
    assert (drawn[0] != drawn[1]).any()
    graph, _ = perceptron(dropout=0.3)
    made = modes.training(graph)
    assert [m.name for m in made.masks] == ["drop/mask"]
    assert made.masks[0].kept == 179


def normalised():
    rng = np.random.default_rng(0)
    g = Builder()
    x = g.input("x", "float32", (6, 2, 3, 3))
    parameters = [g.const(v) for v in ([1.0, 2.0], [0.0, 0.5])]
    statistics = [g.const(v) for v in ([0.0, 0.0], [1.0, 1.0])]
    y = g.op("BatchNormalization", x, *parameters, *statistics, name="norm")
    return g.graph([y]), statistics, rng.normal(2, 3, (6, 2, 3, 3)).astype(np.float32)


def test_batch_normalisation_measures_its_batch():
    graph, (mean, var), x = normalised()
    trainer = train.Trainer(graph, train.MSE(), train.SGD(0.0))
    loss = trainer.step({"x": x}, np.zeros_like(x))
    centred = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
    by_hand = ((centred * np.reshape([1, 2], (1, 2, 1, 1)) + np.reshape([0, 0.5], (1, 2, 1, 1))) ** 2).mean()
    assert loss == pytest.approx(by_hand, rel=1e-4)
    made = trainer.graph().constants
    np.testing.assert_allclose(np.asarray(made[mean]), 0.1 * x.mean((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(made[var]), 0.9 + 0.1 * x.var((0, 2, 3)), rtol=1e-4)
    frozen = train.Trainer(graph, train.MSE(), train.SGD(0.0), statistics=False)
    assert frozen.step({"x": x}, np.zeros_like(x)) != pytest.approx(loss, rel=1e-2)
    assert np.asarray(frozen.graph().constants[mean]).tolist() == [0.0, 0.0]


def test_a_loss_that_is_not_finite_names_the_first_operator():
    g = Builder()
    x = g.input("x", "float32", (4, 3))
    y = g.MatMul(x, g.const(np.eye(3, dtype=np.float32)))
    y = g.op("Log", y, name="the_log")
    graph = g.graph([g.Mul(y, y)])
    trainer = train.Trainer(graph, train.MSE(), train.SGD())
    trainer.step({"x": np.ones((4, 3), np.float32)}, np.zeros((4, 3), np.float32))
    before = {n: t.tobytes() for n, t in trainer.kept.items()}
    with pytest.raises(DivergedError, match="Log 'the_log'"):
        trainer.step({"x": np.full((4, 3), -1, np.float32)}, np.zeros((4, 3), np.float32))
    assert {n: t.tobytes() for n, t in trainer.kept.items()} == before
    with pytest.raises(DivergedError, match="'x' holds NaN"):
        trainer.step({"x": np.full((4, 3), np.nan, np.float32)}, np.zeros((4, 3), np.float32))


def test_wrong_requests_say_what_is_wrong():
    graph, weights = perceptron()
    with pytest.raises(InputError, match="clip"):
        train.Trainer(graph, train.CrossEntropy(), train.SGD(), clip=-1.0)
    with pytest.raises(InputError, match="momentum"):
        train.SGD(momentum=1.5)
    nothing = train.Trainer(graph, train.CrossEntropy(), train.SGD(), trained=lambda _: False)
    with pytest.raises(InputError, match="no weights to train"):
        nothing.step(*batch())
    other = train.Trainer(graph, train.CrossEntropy(), train.SGD(), trained=["other"])
    with pytest.raises(InputError, match="'other'"):
        other.step(*batch())
    trainer = train.Trainer(graph, train.CrossEntropy(), train.SGD())
    with pytest.raises(InputError, match=r"takes inputs \['x'\]"):
        trainer.step({"y": batch()[0]["x"]}, batch()[1])
    with pytest.raises(InputError, match="train/target"):
        trainer.step(batch()[0], batch(n=4)[1])
    assert set(train.parameters(graph)) == set(weights)


def test_a_path_without_a_gradient_is_named():
    g = Builder()
    x = g.input("x", "float32", (2, 2, 2))
    y = g.op("Det", g.MatMul(x, g.const(np.eye(2, dtype=np.float32))), name="the_det")
    trainer = train.Trainer(g.graph([y]), train.MSE(), train.SGD())
    with pytest.raises(GradientError, match="Det 'the_det'"):
        trainer.step({"x": np.ones((2, 2, 2), np.float32)}, np.zeros(2, np.float32))


def test_only_the_last_layers_change():
    graph, weights = perceptron()
    names = train.last_layers(graph, 1)
    assert names == weights[2:]
    trainer = train.Trainer(graph, train.CrossEntropy(), train.SGD(0.1), trained=names)
    trainer.step(*batch())
    made = trainer.graph().constants
    same = [made[n].tobytes() == graph.constants[n].tobytes() for n in weights]
    assert same == [True, True, False, False]


def test_batches_of_several_sizes_train_the_same_weights():
    graph, _ = perceptron(batch="N")
    trainer = train.Trainer(graph, train.CrossEntropy(), train.Adam(0.05))
    losses = [trainer.step(*batch(0, n)) for n in (8, 4, 8, 4) * 20]
    assert losses[-2] < losses[0] / 2
    out = walle.Session(trainer.graph()).run({"x": batch(0, 5)[0]["x"]})
    assert next(iter(out.values())).shape == (5, 3)


@pytest.mark.parametrize("transposed", [0, 1])
def test_adapters(transposed):
    rng = np.random.default_rng(0)
    g = Builder()
    x = g.input("x", "float32", (8, 5))
    weight = g.const(rng.normal(size=(3, 5) if transposed else (5, 3)).astype(np.float32))
    graph = g.graph([g.Gemm(x, weight, transB=transposed, alpha=0.5)])
    adapted = train.adapt(graph, rank=2, scale=2.0)
    inputs, target = batch()
    plain = np.asarray(walle.Session(graph).run(inputs)[graph.outputs[0]])
    np.testing.assert_array_equal(
        plain, np.asarray(walle.Session(adapted.graph).run(inputs)[graph.outputs[0]])
    )
    trainer = train.Trainer(adapted.graph, train.CrossEntropy(), train.Adam(0.05), trained=adapted.trained)
    losses = [trainer.step(inputs, target) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert (
        trainer.kept[weight].tobytes() == graph.constants[weight].tobytes()
        if weight in trainer.kept
        else True
    )
    beside = trainer.graph()
    merged = train.merge(beside)
    assert [n.op for n in merged.nodes] == ["Gemm"]
    assert set(merged.constants) == set(graph.constants)
    outputs = [np.asarray(walle.Session(m).run(inputs)[graph.outputs[0]]) for m in (beside, merged)]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="'none' is no matrix"):
        train.adapt(graph, 1, weights=["none"])


def test_a_third_party_composite_trains():
    from walle_core.ops.define import CATALOGUE, composite

    @composite("TestSquarePlus", "test")
    def square_plus(g, x: str):
        """(x + sqrt(x² + 4)) / 2."""
        root = g.Sqrt(g.Add(g.Mul(x, x), g.const(4, like=x)))
        return g.Mul(g.Add(x, root), g.const(0.5, like=x))

    try:
        g = Builder()
        x = g.input("x", "float64", (3, 4))
        result = g.ReduceSum(g.TestSquarePlus(x), keepdims=0)
        rng = np.random.default_rng(0)
        check(g.graph([result]), result, {"x": rng.normal(size=(3, 4))}, rng)
    finally:
        del CATALOGUE["TestSquarePlus"]


def test_tensors_are_inputs_too():
    graph, _ = perceptron()
    trainer = train.Trainer(graph, train.CrossEntropy(), train.SGD())
    inputs, target = batch()
    assert trainer.step({"x": Tensor.of(inputs["x"])}, Tensor.of(target)) > 0
