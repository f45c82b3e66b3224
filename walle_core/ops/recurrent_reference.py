"""NumPy references of RNN, GRU and LSTM, step by step; `walle_core.ops.recurrent` says the shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import widened
from walle_core.ops.recurrent_settings import activations, directions_of

Step = Callable[[Any, Sequence[Any]], Sequence[Any]]


def _scan(
    step: Step, pre: Any, states: Sequence[Any], lengths: Any, backward: bool
) -> tuple[Any, Sequence[Any]]:
    """Runs a cell over pre [T, N, G*H]; returns h [T, N, H] (zeros after a sequence's end) and the last states."""
    steps, batch = pre.shape[:2]
    t, n = np.arange(steps)[:, None], np.arange(batch)[None]
    order = np.where(t < lengths, lengths - 1 - t, t) if backward else np.broadcast_to(t, (steps, batch))
    pre = pre[order, n]
    out = np.zeros((steps, batch, states[0].shape[-1]), pre.dtype)
    for i in range(steps):
        live = (i < lengths)[:, None]
        new = step(pre[i], states)
        out[i] = np.where(live, new[0], 0)
        states = [np.where(live, b, a) for a, b in zip(states, new, strict=True)]
    return out[order, n], states


def _layer(
    cell: str, make: Callable[..., Step], arrays: Sequence[Any], states: int, attributes: Mapping[str, Any]
) -> tuple[Any, ...]:
    x, w, r, b, lengths, *rest = arrays
    if attributes["layout"]:
        x = x.swapaxes(0, 1)
        rest = [v if v is None or v.ndim == 2 else v.swapaxes(0, 1) for v in rest]
    reverse = directions_of(attributes["direction"])
    functions = activations(
        cell, len(reverse), *(attributes[f"activation{k}"] for k in ("s", "_alpha", "_beta"))
    )
    steps, batch, hidden = x.shape[0], x.shape[1], r.shape[2]
    lengths = np.full(batch, steps) if lengths is None else lengths.astype(np.int64)
    limit = attributes["clip"]
    ys, lasts = [], []
    for d, backward in enumerate(reverse):
        bias = np.zeros(2 * w.shape[1], x.dtype) if b is None else b[d]
        clipped = [(lambda v, f=f: f(v if not limit else np.clip(v, -limit, limit))) for f in functions[d]]
        step = make(r[d], bias[w.shape[1] :], clipped, rest[states] if len(rest) > states else None, d)
        first = [np.zeros((batch, hidden), x.dtype) if rest[i] is None else rest[i][d] for i in range(states)]
        y, last = _scan(step, x @ w[d].T + bias[: w.shape[1]], first, lengths, backward)
        ys.append(y)
        lasts.append(last)
    results = [np.stack(ys, axis=1), *(np.stack([last[i] for last in lasts]) for i in range(states))]
    if attributes["layout"]:
        results = [results[0].transpose(2, 0, 1, 3), *(v.swapaxes(0, 1) for v in results[1:])]
    return tuple(results)


@widened
def rnn(
    x: Any, w: Any, r: Any, b: Any = None, sequence_lens: Any = None, initial_h: Any = None, **attributes: Any
) -> Any:
    """Y and Y_h of a simple recurrent layer."""

    def make(rec: Any, bias: Any, f: Any, _p: Any, _d: int) -> Step:
        return lambda pre, s: [f[0](pre + s[0] @ rec.T + bias)]

    return _layer("RNN", make, (x, w, r, b, sequence_lens, initial_h), 1, attributes)


@widened
def gru(
    x: Any, w: Any, r: Any, b: Any = None, sequence_lens: Any = None, initial_h: Any = None, **attributes: Any
) -> Any:
    """Y and Y_h of a gated recurrent layer."""

    def make(rec: Any, bias: Any, f: Any, _p: Any, _d: int) -> Step:
        n = rec.shape[1]

        def step(pre: Any, s: Sequence[Any]) -> Sequence[Any]:
            h = s[0]
            gates = pre[:, : 2 * n] + h @ rec[: 2 * n].T + bias[: 2 * n]
            z, reset = f[0](gates[:, :n]), f[0](gates[:, n:])
            if attributes["linear_before_reset"]:
                inner = reset * (h @ rec[2 * n :].T + bias[2 * n :])
            else:
                inner = (reset * h) @ rec[2 * n :].T + bias[2 * n :]
            return [(1 - z) * f[1](pre[:, 2 * n :] + inner) + z * h]

        return step

    return _layer("GRU", make, (x, w, r, b, sequence_lens, initial_h), 1, attributes)


@widened
def lstm(
    x: Any, w: Any, r: Any, b: Any = None, sequence_lens: Any = None, initial_h: Any = None, initial_c: Any = None,
    p: Any = None, **attributes: Any,
) -> Any:  # fmt: skip
    """Y, Y_h and Y_c of a long short-term memory layer."""

    def make(rec: Any, bias: Any, f: Any, peep: Any, d: int) -> Step:
        n = rec.shape[1]
        pi, po, pf = (0, 0, 0) if peep is None else np.split(peep[d], 3)

        def step(pre: Any, s: Sequence[Any]) -> Sequence[Any]:
            h, c = s
            i, o, g, k = np.split(pre + h @ rec.T + bias, 4, axis=1)
            i = f[0](i + pi * c)
            g = 1 - i if attributes["input_forget"] else f[0](g + pf * c)
            c = g * c + i * f[1](k)
            return [f[0](o + po * c) * f[2](c), c]

        assert n * 4 == rec.shape[0]
        return step

    return _layer("LSTM", make, (x, w, r, b, sequence_lens, initial_h, initial_c, p), 2, attributes)
