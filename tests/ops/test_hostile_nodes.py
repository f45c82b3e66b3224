"""Shape rules meet operands and attributes that no exporter writes: each ends in a WalleError that names the node."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core.errors import WalleError
from walle_core.graph.decompose import decompose_node
from walle_core.graph.ir import Node
from walle_core.graph.shapes import infer_node
from walle_core.ops import catalogue
from walle_core.types import DTYPES, TensorSpec

FAMILIES = {
    "unary", "binary", "select", "reduce", "matmul", "activation", "convolution", "pooling", "normalization", "softmax",
    "attention", "loss",
}  # fmt: skip
NAMES = sorted(n for n, op in catalogue().items() if op.family in FAMILIES)

SIZES = st.sampled_from([0, 1, 1, 2, 2, 3, 4, 4, 8, (1 << 31) - 1, 1 << 40])
SPECS = st.builds(
    lambda d, s: TensorSpec(DTYPES[d], tuple(s)),
    st.sampled_from(["float32"] * 6 + ["int64", "bool", "int8", "string", "bfloat16"]),
    st.lists(SIZES, max_size=5),
)
NUMBERS = st.sampled_from([-(1 << 63), -7, -1, 0, 1, 1, 2, 2, 3, 1 << 31, 1 << 62])
VALUES = st.one_of(
    NUMBERS,
    st.lists(NUMBERS, max_size=5).map(tuple),
    st.sampled_from(
        [
            "",
            "NCHW",
            "NHWC",
            "SAME_UPPER",
            "VALID",
            "mean",
            "ij,jk->ik",
            "...",
            "->",
            b"\xff",
            0.5,
            float("nan"),
            None,
        ]
    ),
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_bad_node_ends_in_an_error_of_walle(name, data):
    op = catalogue()[name]
    count = max(op.required, len(op.input_names)) + (2 if op.input_names[-1].startswith("*") else 0)
    operands = data.draw(st.lists(SPECS, min_size=op.required, max_size=count))
    keys = (
        data.draw(st.lists(st.sampled_from(sorted(op.params)), unique=True, max_size=4)) if op.params else []
    )
    attributes = {k: data.draw(VALUES) for k in keys}
    names = tuple(f"x{i}" for i in range(len(operands)))
    node = Node(name, names, ("y0", "y1"), attributes, "bad")
    specs = dict(zip(names, operands, strict=True))
    try:
        found = infer_node(node, specs, {})
    except WalleError as error:
        assert "bad" in str(error) or name in str(error)
        return
    for spec in found or []:
        assert all(d >= 0 for d in spec.sizes)
        assert spec.size <= 1 << 40
    if found and op.kind == "composite" and sum(s.size for s in (*operands, *found)) < 1 << 16:
        with contextlib.suppress(WalleError):
            decompose_node(node, op, specs, {})
