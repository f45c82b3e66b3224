"""Einsum: sums of products over named axes, as matrix products of two operands at a time."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import widened
from walle_core.ops.rules import check_equal_dtypes, check_kinds, rule, text
from walle_core.types import TensorSpec

Labels = tuple[
    str, ...
]  # one per axis: a letter, or "0", "1", ... for the axes under an ellipsis, last axis "0"


def parse(equation: str | bytes, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """Labels of every operand and of the result. Raises ValueError that quotes the equation."""
    line = text(equation).replace(" ", "")
    left, arrow, right = line.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"equation {line!r} has {len(terms)} terms for {len(ranks)} operands")
    operands = [_labels(term, rank, line) for term, rank in zip(terms, ranks, strict=True)]
    dots = max((sum(x.isdigit() for x in labels) for labels in operands), default=0)
    ellipsis = tuple(str(i) for i in range(dots - 1, -1, -1))
    seen = [x for labels in operands for x in labels]
    if arrow:
        before, found, after = right.partition("...")
        result = (*before, *(ellipsis if found else ()), *after)
    else:
        result = (*ellipsis, *sorted(x for x in set(seen) if not x.isdigit() and seen.count(x) == 1))
    unknown = [x for x in result if x not in seen]
    if unknown or len(set(result)) != len(result):
        raise ValueError(
            f"result axes {result} of equation {line!r} must be distinct and occur in an operand"
        )
    return operands, result


def _labels(term: str, rank: int, line: str) -> Labels:
    before, found, after = term.partition("...")
    letters = before + after
    if not all(c.isascii() and c.isalpha() for c in letters):
        raise ValueError(f"equation {line!r} may hold letters, ',', '...' and one '->' only")
    hidden = rank - len(letters)
    if hidden < 0 or (hidden and not found):
        raise ValueError(f"term {term!r} of equation {line!r} does not name the {rank} axes of its operand")
    return (*before, *(str(i) for i in range(hidden - 1, -1, -1)), *after)


def sizes_of(
    operands: Sequence[Labels], shapes: Sequence[Sequence[int]], equation: str | bytes
) -> dict[str, int]:
    """Size of every label; size 1 broadcasts. Raises ValueError where sizes differ."""
    sizes: dict[str, int] = {}
    for labels, shape in zip(operands, shapes, strict=True):
        for label, size in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            if size != known and 1 not in (size, known):
                raise ValueError(
                    f"axis {label!r} of equation {text(equation)!r} is both {known} and {size} long"
                )
            sizes[label] = size if known == 1 else known
    return sizes


@rule
def _infer(ctx: OpContext) -> list[TensorSpec]:
    count = len(ctx.inputs)
    check_kinds(ctx, "fiu", *range(count))
    shapes = [ctx.shape(i) for i in range(count)]
    operands, result = parse(ctx.attrs["equation"], [len(s) for s in shapes])
    sizes = sizes_of(operands, shapes, ctx.attrs["equation"])
    return [TensorSpec(check_equal_dtypes(ctx, *range(count)), tuple(sizes[x] for x in result))]


def _flops(ctx: OpContext, _outs: Sequence[TensorSpec]) -> float:
    shapes = [ctx.shape(i) for i in range(len(ctx.inputs))]
    operands, _ = parse(ctx.attrs["equation"], [len(s) for s in shapes])
    return float(len(shapes) * prod(sizes_of(operands, shapes, ctx.attrs["equation"]).values()))


@widened
def _einsum(*operands: Any, equation: str) -> Any:
    parse(equation, [x.ndim for x in operands])
    return np.einsum(text(equation).replace(" ", ""), *operands).astype(operands[0].dtype)


@composite(
    "Einsum", "matmul", reference=_einsum, infer=_infer, flops=_flops, ulp=32, domain=(-1, 1),
    samples=(
        Sample(((3, 4), (4, 5)), {"equation": "ij,jk->ik"}),
        Sample(((2, 3, 4), (2, 4, 5)), {"equation": "bij, bjk -> bik"}),
        Sample(((3, 4),), {"equation": "...i->..."}),
        Sample(((3, 4), (4,)), {"equation": "...i,...i"}),
        Sample(((4, 4),), {"equation": "ii"}),
        Sample(((2, 4, 4),), {"equation": "...ii->...i"}),
        Sample(((3,), (4,), (5,)), {"equation": "a,b,c->cab"}),
    ),
)  # fmt: skip
def einsum_graph(g: Any, *operands: str, equation: str) -> Any:
    """Sum of products over the axes that the equation does not keep."""
    terms, result = parse(equation, [len(g.shape(x)) for x in operands])
    sizes = sizes_of(terms, [g.shape(x) for x in operands], equation)
    pending = [_simple(g, x, labels, sizes) for x, labels in zip(operands, terms, strict=True)]
    y, labels = pending[0]
    for index, (other, more) in enumerate(pending[1:], 1):
        y, labels = _sum_out(
            g, y, labels, {*result, *more, *(x for _, rest in pending[index + 1 :] for x in rest)}
        )
        needed = {*result, *(x for _, rest in pending[index + 1 :] for x in rest)}
        other, more = _sum_out(g, other, more, {*needed, *labels})
        y, labels = _multiply(g, (y, labels), (other, more), needed, sizes)
    y, labels = _sum_out(g, y, labels, set(result))
    return g.Transpose(y, perm=tuple(labels.index(x) for x in result))


def _simple(g: Any, x: str, labels: Labels, sizes: dict[str, int]) -> tuple[str, Labels]:
    """The operand without broadcast axes of size 1 and with each label once (the diagonal of repeated ones)."""
    shape = g.shape(x)
    kept = [i for i, label in enumerate(labels) if shape[i] != 1 or sizes[label] == 1]
    if len(kept) < len(labels):
        x, labels = reshape(g, x, *(shape[i] for i in kept)), tuple(labels[i] for i in kept)
    while repeated := next((label for label in labels if labels.count(label) > 1), None):
        one, two = [i for i, label in enumerate(labels) if label == repeated][:2]
        rest = [i for i in range(len(labels)) if i not in (one, two)]
        n, others = g.shape(x)[one], [g.shape(x)[i] for i in rest]
        flat = reshape(g, g.Transpose(x, perm=(*rest, one, two)), *others, n * n)
        bounds = ([0], [n * n], [len(rest)], [n + 1])
        x = g.Slice(flat, *(g.const(v, "int64") for v in bounds))
        labels = (*(labels[i] for i in rest), repeated)
    return x, labels


def _sum_out(g: Any, x: str, labels: Labels, needed: set[str]) -> tuple[str, Labels]:
    gone = [i for i, label in enumerate(labels) if label not in needed]
    if not gone:
        return x, labels
    return g.ReduceSum(x, g.const(gone, "int64"), keepdims=0), tuple(v for v in labels if v in needed)


def _multiply(
    g: Any, left: tuple[str, Labels], right: tuple[str, Labels], needed: set[str], sizes: dict[str, int]
) -> tuple[str, Labels]:
    """Product of two operands; the labels they share and nothing else needs are summed."""
    (a, la), (b, lb) = left, right
    batch = tuple(x for x in la if x in lb and x in needed)
    summed = tuple(x for x in la if x in lb and x not in needed)
    rows, columns = tuple(x for x in la if x not in lb), tuple(x for x in lb if x not in la)

    def size(labels: Labels) -> int:
        return prod(sizes[x] for x in labels)

    a = g.Transpose(a, perm=tuple(la.index(x) for x in (*batch, *rows, *summed)))
    b = g.Transpose(b, perm=tuple(lb.index(x) for x in (*batch, *summed, *columns)))
    a = reshape(g, a, size(batch), size(rows), size(summed))
    b = reshape(g, b, size(batch), size(summed), size(columns))
    y = g.MatMul(a, b) if summed else g.Mul(a, b)
    labels = (*batch, *rows, *columns)
    return reshape(g, y, *(sizes[x] for x in labels)), labels
