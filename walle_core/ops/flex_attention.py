"""FlexAttention: attention whose scores and probabilities pass through graphs of the model."""

from __future__ import annotations

import math
from typing import Any

from walle_core.ops import find
from walle_core.ops.attention import Heads, repeat_heads
from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.rules import ONNX_NUMBERS, check_equal_dtypes, check_kinds, onnx_dtype, require, rule
from walle_core.types import TensorSpec


@rule
def _infer_flex(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    if any(len(ctx.shape(i)) != 4 for i in range(3)):
        raise ValueError("Q, K and V must be [batch, heads, length, size]")
    h = Heads.of(ctx.shape(0), ctx.shape(1), ctx.shape(2), None, None, None)
    return [TensorSpec(check_equal_dtypes(ctx, 0, 1, 2), (h.batch, h.q_heads, h.queries, h.v_size))]


@composite(
    "ai.onnx.preview.FlexAttention", "attention", infer=_infer_flex, ulp=64, domain=(-2, 2),
    samples=(Sample(((2, 4, 4, 8), (2, 2, 6, 8), (2, 2, 6, 10))),),
    flops=lambda ctx, outs: float(outs[0].size * ctx.shape(1)[2] * 4),
)  # fmt: skip
def flex_attention(
    g: Any, q: str, k: str, v: str, *, score_mod: Any = None, prob_mod: Any = None,
    scale: float | None = None, softmax_precision: int | None = None,
) -> Any:  # fmt: skip
    """Attention whose scores and probabilities pass through graphs of the model."""
    h = Heads.of(g.shape(q), g.shape(k), g.shape(v), None, None, None)
    default = "float64" if g.dtype(q).name == "float64" else "float32"
    precision = default if softmax_precision is None else onnx_dtype(softmax_precision)

    def wide(x: str) -> str:
        return x if g.dtype(x).name == precision else str(g.Cast(x, to=ONNX_NUMBERS[precision]))

    columns = g.Transpose(wide(k), perm=(0, 1, 3, 2))
    scores = g.MatMul(wide(q), repeat_heads(g, columns, h))
    scores = g.Mul(scores, g.const(1 / math.sqrt(h.size) if scale is None else scale, like=scores))
    scores = inlined(g, score_mod, scores) if score_mod else scores
    weights = g.Softmax(scores, axis=-1)
    weights = inlined(g, prob_mod, weights) if prob_mod else weights
    y = g.MatMul(wide(weights), repeat_heads(g, wide(v), h))
    return y if g.dtype(y) == g.dtype(q) else g.CastLike(y, q)


def inlined(g: Any, graph: Any, x: str) -> str:
    """Appends the nodes of a graph with one input and one output; its result must be like `x`.

    Nodes that depend on shapes and constants only are evaluated, as the shapes of others may hang on them.
    """
    require(
        len(graph.inputs) == 1 and len(graph.outputs) == 1, f"{graph.name} must have one input and one output"
    )
    names = {graph.inputs[0]: x, "": ""}
    names.update({name: g.const(value, value.dtype) for name, value in graph.constants.items()})
    for node in graph.nodes:
        operands = [names.get(n, n) for n in node.inputs]
        made = _folded(g, node, operands)
        if made is None:
            made = g.op(node.op, *operands, outputs=len(node.outputs), **node.attrs)
        names.update(zip(node.outputs, [made] if isinstance(made, str) else made, strict=True))
    y = str(names.get(graph.outputs[0], graph.outputs[0]))
    require(g.spec(y) == g.spec(x), f"{graph.name} must keep {g.spec(x)}, makes {g.spec(y)}")
    return y


def _folded(g: Any, node: Any, operands: list[str]) -> str | None:
    """The result of a node that is known already, as a constant; None if it is not."""
    op = find(node.op)
    if op is None or op.reference is None or len(node.outputs) != 1 or not op.deterministic:
        return None
    if node.op in ("Shape", "Size"):
        values = [np.broadcast_to(np.int8(0), g.shape(operands[0]))]
    elif all(n in g.constants or not n for n in operands):
        values = [np.asarray(g.constants[n]) if n else None for n in operands]
    else:
        return None
    attributes = {k: np.asarray(v) if hasattr(v, "__array__") else v for k, v in op.bind(node.attrs).items()}
    result = op.reference(*values, **attributes)
    result = np.asarray(result[0] if isinstance(result, tuple) else result)
    return str(g.const(result, result.dtype.name))
