"""Recurrent layers: RNN, GRU and LSTM, by the equations of the ONNX specification.

Shapes (layout 0): X [T, N, I], W [D, G*H, I], R [D, G*H, H], B [D, 2*G*H] (input half, recurrent half), initial states
and Y_h, Y_c [D, N, H], Y [T, D, N, H]; layout 1 puts N first everywhere. D is 2 when bidirectional; G is the gates of a
cell: 1, 3 (z, r, h) or 4 (i, o, f, c). A sequence shorter than T yields zeros after its end; its last state is Y_h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.pieces import reshape
from walle_core.ops.recurrent_reference import gru, lstm, rnn
from walle_core.ops.recurrent_settings import GATES, Activation, activations, directions_of
from walle_core.ops.rules import require, rule
from walle_core.types import TensorSpec


@rule
def _infer(ctx: OpContext) -> Sequence[TensorSpec]:
    x, w, r = ctx.shape(0), ctx.shape(1), ctx.shape(2)
    require(len(x) == len(w) == len(r) == 3, "X, W and R must have rank 3")
    reverse, gates = directions_of(ctx.attrs["direction"]), GATES[ctx.op]
    activations(ctx.op, len(reverse), *(ctx.attrs[f"activation{k}"] for k in ("s", "_alpha", "_beta")))
    steps, batch, inputs = (x[1], x[0], x[2]) if ctx.attrs["layout"] else x
    d, h = len(reverse), r[2]
    require(ctx.attrs["hidden_size"] in (None, h), f"hidden_size {ctx.attrs['hidden_size']} is not R's {h}")
    require(w == (d, gates * h, inputs), f"W must be {(d, gates * h, inputs)}, not {w}")
    require(r == (d, gates * h, h), f"R must be {(d, gates * h, h)}, not {r}")
    state = (batch, d, h) if ctx.attrs["layout"] else (d, batch, h)
    wanted = {3: (d, 2 * gates * h), 4: (batch,), 5: state, 6: state, 7: (d, 3 * h)}
    for index, shape in wanted.items():
        if ctx.has(index):
            require(ctx.shape(index) == shape, f"input {index} must be {shape}, not {ctx.shape(index)}")
    y = (batch, steps, d, h) if ctx.attrs["layout"] else (steps, d, batch, h)
    kind = ctx.dtype(0)
    return [
        TensorSpec(kind, y),
        TensorSpec(kind, state),
        *([TensorSpec(kind, state)] if ctx.op == "LSTM" else []),
    ]


def _flops(ctx: OpContext, _outputs: Sequence[TensorSpec]) -> float:
    x, w, r = ctx.shape(0), ctx.shape(1), ctx.shape(2)
    return float(2 * x[0] * x[1] * (w[0] * w[1] * w[2] + r[0] * r[1] * r[2]))


# Decomposition: the input products of all steps at once, then the steps one after the other.


def _activate(g: Any, f: Activation, x: str, clip: float | None) -> str:
    """Appends an activation, its operand clipped first."""
    if clip:
        x = g.Min(g.Max(x, g.const(-clip, like=x)), g.const(clip, like=x))
    a, b = f.alpha, f.beta
    match f.name:
        case "LeakyRelu" | "ThresholdedRelu" | "Elu":
            return str(g.op(f.name, x, alpha=a))
        case "HardSigmoid":
            return str(g.HardSigmoid(x, alpha=a, beta=b))
        case "Affine":
            return str(g.Add(g.Mul(x, g.const(a, like=x)), g.const(b, like=x)))
        case "ScaledTanh":
            return str(g.Mul(g.Tanh(g.Mul(x, g.const(b, like=x))), g.const(a, like=x)))
    return str(g.op(f.name, x))


def _part(g: Any, x: str, axis: int, begin: int, end: int) -> str:
    """Appends x[begin:end] along an axis."""
    if g.shape(x)[axis] == end - begin:
        return x
    return str(g.Slice(x, *(g.const([v], "int64") for v in (begin, end, axis))))


def _row(g: Any, x: str, index: int) -> str:
    """Appends x[index] along the first axis."""
    return reshape(g, _part(g, x, 0, index, index + 1), *g.shape(x)[1:])


def _parts(g: Any, x: str, count: int) -> list[str]:
    """Appends the equal parts of x along the last axis."""
    rank, size = len(g.shape(x)), g.shape(x)[-1] // count
    return [_part(g, x, rank - 1, i * size, (i + 1) * size) for i in range(count)]


def _zeros(g: Any, like: str, *sizes: int) -> str:
    """Appends zeros."""
    return str(g.Expand(g.const(0.0, like=like), g.const(list(sizes), "int64")))


Cell = Callable[[Any, str, list[str]], list[str]]


def _unroll(
    g: Any,
    cell: str,
    make: Callable[..., Cell],
    inputs: Sequence[str | None],
    states: int,
    attributes: dict[str, Any],
) -> tuple[str, ...]:
    """Appends a whole layer; `make(r, bias, activate, peephole)` returns the cell of one direction."""
    x, w, r, b, lengths, *rest = inputs
    assert x is not None and w is not None and r is not None
    batch_first = attributes["layout"]
    if batch_first:
        x = str(g.Transpose(x, perm=(1, 0, 2)))
        rest = [g.Transpose(v, perm=(1, 0, 2)) if v and i < states else v for i, v in enumerate(rest)]
    reverse = directions_of(attributes["direction"])
    functions = activations(
        cell, len(reverse), *(attributes[f"activation{k}"] for k in ("s", "_alpha", "_beta"))
    )
    steps, batch, _ = g.shape(x)
    rows, hidden = g.shape(w)[1], g.shape(r)[2]
    if lengths and lengths in g.constants and all(n >= steps for n in g.ints(lengths)):
        lengths = None
    live = []
    if lengths:
        column = reshape(g, g.Cast(lengths, to=7), batch, 1)
        live = [g.Less(g.const([[i]], "int64"), column) for i in range(steps)]
    ys, lasts = [], []
    for d, backward in enumerate(reverse):
        turn = (
            (lambda v: g.ReverseSequence(v, g.Cast(lengths, to=7), time_axis=0, batch_axis=1))
            if lengths
            else None
        )
        bias = _row(g, b, d) if b else None
        pre = g.MatMul(turn(x) if turn and backward else x, g.Transpose(_row(g, w, d), perm=(1, 0)))
        pre = g.Add(pre, _part(g, bias, 0, 0, rows)) if bias else pre

        def activate(index: int, v: str, functions: list[Activation] = functions[d]) -> str:
            return _activate(g, functions[index], v, attributes["clip"])

        recurrent = g.Transpose(_row(g, r, d), perm=(1, 0))
        weight = rest[states] if len(rest) > states else None
        peephole = _row(g, weight, d) if weight else None
        step = make(recurrent, _part(g, bias, 0, rows, 2 * rows) if bias else None, activate, peephole)
        state = [_row(g, v, d) if v else _zeros(g, x, batch, hidden) for v in rest[:states]]
        zero = _zeros(g, x, batch, hidden) if lengths else ""
        out: list[str] = [""] * steps
        for i in range(steps):
            t = steps - 1 - i if backward and not lengths else i
            new = step(g, _row(g, pre, t), state)
            out[t] = g.Where(live[i], new[0], zero) if lengths else new[0]
            state = [g.Where(live[i], n, s) for n, s in zip(new, state, strict=True)] if lengths else new
        y = (
            g.Concat(*(reshape(g, v, 1, batch, hidden) for v in out), axis=0)
            if out
            else _zeros(g, x, 0, batch, hidden)
        )
        ys.append(reshape(g, turn(y) if turn and backward else y, steps, 1, batch, hidden))
        lasts.append([reshape(g, s, 1, batch, hidden) for s in state])
    joined = [g.Concat(*ys, axis=1)] + [g.Concat(*(last[i] for last in lasts), axis=0) for i in range(states)]
    if batch_first:
        joined = [
            g.Transpose(joined[0], perm=(2, 0, 1, 3)),
            *(g.Transpose(v, perm=(1, 0, 2)) for v in joined[1:]),
        ]
    return tuple(joined)


def _plus(g: Any, x: str, y: str | None) -> str:
    return str(g.Add(x, y)) if y else x


_SIZES = ((3, 2, 4), (1, 5, 4), (1, 5, 5), (1, 10), [3, 1], (1, 2, 5))
_TYPES = ("float32", "float32", "float32", "float32", "int32", "float32", "float32", "float32")


def _samples(gates: int, extra: tuple[Any, ...] = ()) -> tuple[Sample, ...]:
    x, (_, h, i), _, _, lengths, state = _SIZES
    one = (x, (1, gates * h, i), (1, gates * h, h))
    two = (x, (2, gates * h, i), (2, gates * h, h), (2, 2 * gates * h), lengths, (2, 2, h), *extra)
    flipped = ((2, 3, 4), one[1], one[2], (1, 2 * gates * h))
    return (
        Sample(one, {"hidden_size": h}),
        Sample(two, {"direction": "bidirectional"}, _TYPES[: len(two)]),
        Sample(flipped, {"direction": "reverse", "layout": 1, "clip": 0.5}),
    )


@composite(
    "RNN", "recurrent", reference=rnn, infer=_infer, flops=_flops, ulp=64, domain=(-1, 1), samples=_samples(1),
    dtypes=("float32", "float64"),
)  # fmt: skip
def _rnn(
    g: Any, x: str, w: str, r: str, b: str | None = None, sequence_lens: str | None = None,
    initial_h: str | None = None, *, activations: Any = None, activation_alpha: Any = None, activation_beta: Any = None,
    clip: float | None = None, direction: str = "forward", hidden_size: int | None = None, layout: int = 0,
) -> Any:  # fmt: skip
    """Simple recurrent layer: h = f(x W + h R + b)."""

    def make(rec: str, bias: str | None, f: Callable[[int, str], str], _p: str | None) -> Cell:
        return lambda g, pre, s: [f(0, g.Add(pre, _plus(g, g.MatMul(s[0], rec), bias)))]

    return _unroll(g, "RNN", make, (x, w, r, b, sequence_lens, initial_h), 1, _settings(locals()))


@composite(
    "GRU", "recurrent", reference=gru, infer=_infer, flops=_flops, ulp=64, domain=(-1, 1), samples=_samples(3),
    dtypes=("float32", "float64"),
)  # fmt: skip
def _gru(
    g: Any, x: str, w: str, r: str, b: str | None = None, sequence_lens: str | None = None,
    initial_h: str | None = None, *, activations: Any = None, activation_alpha: Any = None, activation_beta: Any = None,
    clip: float | None = None, direction: str = "forward", hidden_size: int | None = None, layout: int = 0,
    linear_before_reset: int = 0,
) -> Any:  # fmt: skip
    """Gated recurrent layer: update, reset and hidden gates."""

    def make(rec: str, bias: str | None, f: Callable[[int, str], str], _p: str | None) -> Cell:
        n = g.shape(rec)[0]
        gates, inner = _part(g, rec, 1, 0, 2 * n), _part(g, rec, 1, 2 * n, 3 * n)
        gate_bias, inner_bias = (
            (_part(g, bias, 0, 0, 2 * n), _part(g, bias, 0, 2 * n, 3 * n)) if bias else (None, None)
        )

        def step(g: Any, pre: str, s: list[str]) -> list[str]:
            h = s[0]
            both = g.Add(_part(g, pre, 1, 0, 2 * n), _plus(g, g.MatMul(h, gates), gate_bias))
            z, reset = (f(0, v) for v in _parts(g, both, 2))
            if linear_before_reset:
                hidden = g.Mul(reset, _plus(g, g.MatMul(h, inner), inner_bias))
            else:
                hidden = _plus(g, g.MatMul(g.Mul(reset, h), inner), inner_bias)
            new = f(1, g.Add(_part(g, pre, 1, 2 * n, 3 * n), hidden))
            return [g.Add(g.Mul(g.Sub(g.const(1.0, like=z), z), new), g.Mul(z, h))]

        return step

    return _unroll(g, "GRU", make, (x, w, r, b, sequence_lens, initial_h), 1, _settings(locals()))


@composite(
    "LSTM", "recurrent", reference=lstm, infer=_infer, flops=_flops, ulp=64, domain=(-1, 1),
    samples=_samples(4, ((2, 2, 5), (2, 15))), dtypes=("float32", "float64"),
)  # fmt: skip
def _lstm(
    g: Any, x: str, w: str, r: str, b: str | None = None, sequence_lens: str | None = None,
    initial_h: str | None = None, initial_c: str | None = None, p: str | None = None, *, activations: Any = None,
    activation_alpha: Any = None, activation_beta: Any = None, clip: float | None = None, direction: str = "forward",
    hidden_size: int | None = None, input_forget: int = 0, layout: int = 0,
) -> Any:  # fmt: skip
    """Long short-term memory layer: input, output, forget and cell gates, with optional peepholes."""

    def make(rec: str, bias: str | None, f: Callable[[int, str], str], peephole: str | None) -> Cell:
        look = _parts(g, peephole, 3) if peephole else None

        def seen(v: str, c: str, index: int) -> str:
            return str(g.Add(v, g.Mul(look[index], c))) if look else v

        def step(g: Any, pre: str, s: list[str]) -> list[str]:
            h, c = s
            i, o, k, new = _parts(g, g.Add(pre, _plus(g, g.MatMul(h, rec), bias)), 4)
            i = f(0, seen(i, c, 0))
            k = g.Sub(g.const(1.0, like=i), i) if input_forget else f(0, seen(k, c, 2))
            c = g.Add(g.Mul(k, c), g.Mul(i, f(1, new)))
            return [g.Mul(f(0, seen(o, c, 1)), f(2, c)), c]

        return step

    return _unroll(
        g, "LSTM", make, (x, w, r, b, sequence_lens, initial_h, initial_c, p), 2, _settings(locals())
    )


def _settings(scope: dict[str, Any]) -> dict[str, Any]:
    names = ("activations", "activation_alpha", "activation_beta", "clip", "direction", "layout")
    return {name: scope[name] for name in names}
