"""A small deep interest network: fitted with NumPy in a second or two, then built for Walle operator by operator.

A candidate looks at each visited item and decides how much that visit tells about it (the attention unit); the visits, weighted by that, and
the candidate go through two layers more. Zhou et al. 2018, "Deep interest network for click-through rate prediction".
"""

from __future__ import annotations

import numpy as np

import walle_core as walle

ITEMS, KINDS, SIZE, VISITS, HIDDEN = 120, 6, 8, 8, 16
LIKED = 2  # kinds of items that a user likes
Weights = dict[str, np.ndarray]


def catalogue(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(embedding of each item, its kind): items of a kind are near each other."""
    kinds = np.arange(ITEMS) % KINDS
    centres = rng.standard_normal((KINDS, SIZE))
    return (centres[kinds] + 0.3 * rng.standard_normal((ITEMS, SIZE))).astype(np.float32), kinds


def people(
    rng: np.random.Generator, kinds: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(visited items [count, VISITS], a candidate each, whether it was clicked): most visits are of what one likes."""
    likes = np.array([rng.choice(KINDS, LIKED, replace=False) for _ in range(count)])
    weight = np.where((likes[:, :, None] == kinds).any(1), 1.0, 0.04)
    history = np.array([rng.choice(ITEMS, VISITS, p=row / row.sum()) for row in weight])
    candidate = rng.integers(0, ITEMS, count)
    return history, candidate, (likes == kinds[candidate][:, None]).any(1).astype(float)


def _forward(w: Weights, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    z = np.concatenate([h, np.broadcast_to(c[:, None], h.shape), h * c[:, None]], axis=2)
    unit = np.maximum(z @ w["unit"] + w["unit_bias"], 0)
    attention = (unit @ w["attend"])[..., 0]
    pooled = (attention[..., None] * h).sum(1)
    f = np.concatenate([pooled, c, pooled * c], axis=1)
    top = np.maximum(f @ w["top"] + w["top_bias"], 0)
    return z, unit, f, top, (top @ w["score"])[:, 0]


def fit(rng: np.random.Generator, items: np.ndarray, kinds: np.ndarray, steps: int = 120) -> Weights:
    """The weights after some steps of Adam on drawn people."""
    shapes = {"unit": (3 * SIZE, HIDDEN), "unit_bias": (HIDDEN,), "attend": (HIDDEN, 1)}
    shapes |= {"top": (3 * SIZE, HIDDEN), "top_bias": (HIDDEN,), "score": (HIDDEN, 1)}
    w = {
        name: rng.standard_normal(shape) * (0.2 if len(shape) > 1 else 0.0) for name, shape in shapes.items()
    }
    first, second = ({name: np.zeros_like(value) for name, value in w.items()} for _ in range(2))
    history, candidate, clicked = people(rng, kinds, 800)
    h, c = items[history], items[candidate]
    for step in range(1, steps + 1):
        z, unit, f, top, score = _forward(w, h, c)
        d_score = ((1 / (1 + np.exp(-score)) - clicked) / len(score))[:, None]
        d_top = d_score @ w["score"].T * (top > 0)
        d_f = d_top @ w["top"].T
        d_pooled = d_f[:, :SIZE] + d_f[:, 2 * SIZE :] * c
        d_attention = (d_pooled[:, None] * h).sum(2, keepdims=True)
        d_unit = d_attention @ w["attend"].T * (unit > 0)
        slopes = {
            "score": top.T @ d_score, "top": f.T @ d_top, "top_bias": d_top.sum(0),
            "attend": np.einsum("ntk,nto->ko", unit, d_attention),
            "unit": np.einsum("ntz,ntk->zk", z, d_unit), "unit_bias": d_unit.sum((0, 1)),
        }  # fmt: skip
        for name, slope in slopes.items():
            first[name] += 0.1 * (slope - first[name])
            second[name] += 0.01 * (slope**2 - second[name])
            rate = 0.02 * np.sqrt(1 - 0.99**step) / (1 - 0.9**step)
            w[name] = w[name] - rate * first[name] / (np.sqrt(second[name]) + 1e-8)
    return w


def accuracy(rng: np.random.Generator, w: Weights, items: np.ndarray, kinds: np.ndarray) -> float:
    """Share of unseen people's clicks that are foretold."""
    history, candidate, clicked = people(rng, kinds, 1000)
    return float(np.mean((_forward(w, items[history], items[candidate])[-1] > 0) == clicked))


def build(w: Weights, items: np.ndarray, candidates: int) -> walle.Graph:
    """The network for Walle: numbers of visited items and of candidates in, a probability for each candidate out."""
    g = walle.Builder()

    def part(name: str, third: int) -> str:  # products with a concatenation, in pieces
        return g.const(w[name][third * SIZE : (third + 1) * SIZE].astype(np.float32))

    def layer(name: str, a: str, c: str, both: str) -> str:
        products = [g.MatMul(value, part(name, third)) for third, value in enumerate((a, c, both))]
        total = g.Add(g.Add(products[0], products[1]), products[2])
        return g.Relu(g.Add(total, g.const(w[f"{name}_bias"].astype(np.float32))))

    table = g.const(items)
    h = g.Gather(table, g.input("history", "int64", (1, VISITS)), axis=0)
    c = g.Gather(table, g.input("candidates", "int64", (candidates,)), axis=0)
    each = g.Unsqueeze(c, g.const([1]))
    unit = layer("unit", h, each, g.Mul(h, each))
    attention = g.MatMul(unit, g.const(w["attend"].astype(np.float32)))
    pooled = g.ReduceSum(g.Mul(attention, h), g.const([1]), keepdims=0)
    top = layer("top", pooled, c, g.Mul(pooled, c))
    return g.graph([g.Sigmoid(g.MatMul(top, g.const(w["score"].astype(np.float32))))], "din")
