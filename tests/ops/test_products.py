"""Reductions, matrix products and Einsum against NumPy, and as their parts."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from walle_core.errors import ShapeError

LIMIT = settings(max_examples=60, deadline=None)

REDUCTIONS = {
    "ReduceSum": np.sum,
    "ReduceProd": np.prod,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceMean": np.mean,
    "ReduceSumSquare": lambda x, axis, keepdims: np.sum(x * x, axis, keepdims=keepdims),
    "ReduceL1": lambda x, axis, keepdims: np.sum(np.abs(x), axis, keepdims=keepdims),
    "ReduceL2": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis, keepdims=keepdims)),
    "ReduceLogSumExp": lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis, keepdims=keepdims)),
}


def filled(shape, seed=0, low=-2.0, high=2.0):
    return np.random.RandomState(seed).uniform(low, high, shape)


@st.composite
def reductions(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), max_size=4)))
    axes = draw(
        st.none() | st.lists(st.integers(0, max(0, len(shape) - 1)), unique=True, max_size=len(shape))
    )
    signs = draw(st.lists(st.booleans(), min_size=len(axes or []), max_size=len(axes or [])))
    axes = axes and [a - len(shape) if s else a for a, s in zip(axes, signs, strict=False)]
    return shape, axes, draw(st.integers(0, 1)), draw(st.integers(0, 1))


@LIMIT
@given(st.sampled_from(sorted(REDUCTIONS)), reductions())
def test_reductions(ops, near, name, case):
    shape, axes, keepdims, noop = case
    x = filled(shape)
    over = tuple(axes) if axes else () if noop else tuple(range(x.ndim))
    (y,) = ops.agree(name, x, axes, keepdims=keepdims, noop_with_empty_axes=noop)
    near(y, np.asarray(REDUCTIONS[name](x, axis=over, keepdims=bool(keepdims))))


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_sums_are_accumulated_in_float32(ops, name, dtype):
    x = filled((2, 3000), low=0.9995, high=1.0).astype(dtype)
    (y,) = ops.reference(name, x, [1])
    wide = np.asarray(REDUCTIONS[name](x.astype(np.float64), axis=(1,), keepdims=True))
    assert y.dtype == dtype
    np.testing.assert_allclose(y.astype(np.float64), wide, rtol=1e-2)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_integer_reductions_keep_their_dtype(ops, dtype):
    x = np.arange(1, 7).reshape(2, 3).astype(dtype)
    assert ops.agree("ReduceSum", x, [1], keepdims=0)[0].tolist() == [6, 15]
    assert ops.agree("ReduceMean", x, [1], keepdims=0)[0].tolist() == [2, 5]
    assert ops.agree("ReduceL2", x, [0], keepdims=0)[0].tolist() == [4, 5, 6]


def test_empty_reductions_have_their_neutral_element(ops):
    x = np.zeros((2, 0), np.float32)
    wanted = {
        "ReduceSum": 0,
        "ReduceProd": 1,
        "ReduceMax": -np.inf,
        "ReduceMin": np.inf,
        "ReduceLogSumExp": -np.inf,
    }
    for name, value in wanted.items():
        assert ops.agree(name, x, [1], keepdims=0)[0].tolist() == [value, value]
    assert ops.reference("ReduceMax", x.astype(np.int8), [1])[0].tolist() == [[-128], [-128]]


def test_large_exponents_do_not_overflow(ops):
    x = np.array([[1000.0, 1000.0], [-1000.0, -np.inf]], np.float32)
    wanted = [1000 + np.log(2), -1000.0]
    np.testing.assert_allclose(ops.agree("ReduceLogSumExp", x, [1], keepdims=0)[0], wanted, rtol=1e-6)
    np.testing.assert_allclose(ops.agree("Softmax", x)[0], [[0.5, 0.5], [1, 0]])


@LIMIT
@given(
    st.lists(st.integers(-2, 2), min_size=1, max_size=9), st.booleans(), st.sampled_from(["ArgMax", "ArgMin"])
)
def test_arg_extremes_break_ties(ops, values, last, name):
    best = (max if name == "ArgMax" else min)(values)
    wanted = len(values) - 1 - values[::-1].index(best) if last else values.index(best)
    (y,) = ops.reference(name, np.array(values, np.float32), axis=0, keepdims=0, select_last_index=int(last))
    assert y == wanted
    assert y.dtype == np.int64


@pytest.mark.parametrize("axes", [[3], [-4], [0, 0], [0, -3]])
def test_wrong_axes_are_named(ops, axes):
    with pytest.raises(ShapeError, match="ax"):
        ops.infer("ReduceSum", np.zeros((2, 3, 4), np.float32), axes)


def test_axes_known_only_at_run_time(ops):
    x, axes = filled((2, 3)), np.array([1])
    from walle_core.ops import find

    np.testing.assert_allclose(find("ReduceMean").reference(x, axes, keepdims=0), x.mean(1))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int32, np.uint32, np.int64])
def test_matmul_keeps_its_dtype(ops, dtype):
    a, b = filled((2, 3, 4), low=0, high=3).astype(dtype), filled((4, 5), low=0, high=3).astype(dtype)
    (y,) = ops.reference("MatMul", a, b)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.astype(float), np.matmul(a.astype(float), b.astype(float)), rtol=1e-2)


@LIMIT
@given(
    st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 4)), st.integers(0, 1), st.integers(0, 1),
    st.sampled_from([1.0, 0.5]), st.sampled_from([1.0, -2.0]), st.sampled_from([None, "MN", "N", "M1", ""]),
)  # fmt: skip
def test_gemm(ops, near, sizes, left, right, alpha, beta, bias):
    m, k, n = sizes
    a, b = filled((k, m) if left else (m, k)), filled((n, k) if right else (k, n), 1)
    shapes = {"MN": (m, n), "N": (n,), "M1": (m, 1), "": ()}
    c = None if bias is None else filled(shapes[bias], 2)
    (y,) = ops.agree("Gemm", a, b, c, alpha=alpha, beta=beta, transA=left, transB=right)
    near(
        y,
        alpha * (a.T if left else a) @ (b.T if right else b)
        + (0 if c is None else beta * c)
        + np.zeros((m, n)),
    )


@LIMIT
@given(
    st.integers(0, 1), st.integers(0, 1), st.sampled_from(["", "Relu", "Tanh"]), st.booleans(), st.booleans()
)
def test_fused_matmul(ops, near, left, right, activation, bias, residual):
    a, b = filled((2, 4, 3) if left else (2, 3, 4)), filled((5, 4) if right else (4, 5), 1)
    y = 0.5 * np.matmul(np.swapaxes(a, 1, 2) if left else a, b.T if right else b)
    plus = filled((5,), 2) if bias else None
    rest = filled((2, 3, 5), 3) if residual else None
    y = y + (plus if bias else 0) + (rest if residual else 0)
    y = {"": lambda v: v, "Relu": lambda v: np.maximum(v, 0), "Tanh": np.tanh}[activation](y)
    near(
        ops.parts(
            "FusedMatMul", a, b, plus, rest, transA=left, transB=right, alpha=0.5, activation=activation
        )[0],
        y,
    )


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "message"),
    [
        ("MatMul", [(2, 3), (4, 5)], {}, "inner sizes"),
        ("MatMul", [(), (4, 5)], {}, "scalar"),
        ("MatMul", [(2, 2, 3), (3, 3, 5)], {}, "broadcast"),
        ("Gemm", [(2, 3, 4), (4, 5)], {}, "matrices"),
        ("Gemm", [(2, 3), (3, 5), (2,)], {}, "C"),
        ("FusedMatMul", [(2, 3), (3, 5), (2,)], {}, "bias"),
        ("FusedMatMul", [(2, 3), (3, 5), None, (4, 5)], {}, "residual"),
        ("Einsum", [(2, 3), (4, 5)], {"equation": "ij,jk->ik"}, "'j'"),
        ("Einsum", [(2, 3)], {"equation": "ij,jk->ik"}, "terms"),
        ("Einsum", [(2, 3)], {"equation": "ijk->i"}, "does not name"),
        ("Einsum", [(2, 3)], {"equation": "ij->x"}, "occur"),
        ("Einsum", [(2, 3)], {"equation": "i$->i"}, "letters"),
        ("Einsum", [(2, 3)], {"equation": "ij->ii"}, "distinct"),
    ],
)
def test_products_that_do_not_fit(ops, op, shapes, attributes, message):
    with pytest.raises(ShapeError, match=message):
        ops.infer(op, *[None if s is None else np.zeros(s, np.float32) for s in shapes], **attributes)


def test_operands_of_two_dtypes_are_refused(ops):
    for op in ("MatMul", "Add", "Gemm", "Max"):
        with pytest.raises(ShapeError, match="dtype"):
            ops.infer(op, np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float64))


@st.composite
def equations(draw):
    letters = "abcd"
    size = {c: draw(st.integers(1, 3)) for c in letters}
    terms = draw(st.lists(st.text(letters, max_size=3), min_size=1, max_size=3))
    dots = draw(st.lists(st.booleans(), min_size=len(terms), max_size=len(terms)))
    hidden = draw(st.lists(st.integers(1, 3), max_size=2))
    shapes, written = [], []
    for term, has in zip(terms, dots, strict=False):
        shape = [1 if draw(st.integers(0, 5)) == 0 and term.count(c) == 1 else size[c] for c in term]
        shapes.append((*(hidden if has else ()), *shape))
        written.append(("..." if has else "") + term)
    right = ""
    if draw(st.booleans()):
        kept = draw(st.permutations(sorted(set("".join(terms)))))
        right = (
            "->"
            + ("..." if any(dots) and (hidden or draw(st.booleans())) else "")
            + "".join(kept[: draw(st.integers(0, 4))])
        )
    return ",".join(written) + right, shapes


@settings(max_examples=200, deadline=None)
@given(equations())
def test_einsum(ops, near, case):
    equation, shapes = case
    operands = [filled(s, i) for i, s in enumerate(shapes)]
    try:
        wanted = np.einsum(equation, *operands)
    except ValueError:
        assume(False)
    # terms near 1 may cancel to a result a thousand times smaller; the tolerance belongs to the terms
    near(ops.agree("Einsum", *operands, ulp=4096, equation=equation)[0], np.asarray(wanted), 4096)
