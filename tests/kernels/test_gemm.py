"""Matrix products through their emit rules, against NumPy in float64, on every table."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core import Tensor
from walle_core.backends.table import gemm
from walle_core.backends.table.cut import TILE_TAPS, TileShape, solve
from walle_core.backends.table.emitter import Emitter, f64
from walle_core.graph.builder import Builder

CASES = settings(max_examples=60, deadline=None)
ACTIVATIONS = {
    "": ({}, lambda x: x),
    "Relu": ({}, lambda x: np.maximum(x, 0)),
    "Clip": ({"act_alpha": -0.5, "act_beta": 0.75}, lambda x: np.clip(x, -0.5, 0.75)),
    "LeakyRelu": ({"act_alpha": 0.1}, lambda x: np.where(x < 0, x * 0.1, x)),
    "Gelu": ({}, lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
    "Tanh": ({}, np.tanh),
}


def run(kernels, graph, inputs, threads=1, rule=0):
    """The output of a graph of one node through one emit rule."""
    (node,) = graph.nodes
    chosen = gemm.rules()[rule]
    (offer,) = chosen.candidates(kernels, node, graph.specs, graph.constants)
    em = Emitter(graph, kernels, threads)
    chosen.emit(em, node, offer)
    program = em.finish()[0].program()
    (out,) = program.run([Tensor.wrap(np.ascontiguousarray(a)) for a in inputs])
    return np.asarray(out)


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def check(kernels, a, b, bias=None, residual=None, constant=True, threads=1, **attributes):
    """Runs one FusedMatMul and compares; errors count against the terms that are summed."""
    g = Builder()
    inputs = [a]
    names = [g.input("a", "float32", a.shape)]
    if constant:
        names.append(g.const(Tensor.wrap(b)))
    else:
        names.append(g.input("b", "float32", b.shape))
        inputs.append(b)
    names.append(g.const(Tensor.wrap(bias)) if bias is not None else None)
    if residual is not None:
        names.append(g.input("residual", "float32", residual.shape))
        inputs.append(residual)
    got = run(kernels, g.graph([g.FusedMatMul(*names, **attributes)]), inputs, threads)
    a64, b64 = (
        np.swapaxes(x, -1, -2) if attributes.get(flag) and x.ndim > 1 else x
        for x, flag in ((a.astype(np.float64), "transA"), (b.astype(np.float64), "transB"))
    )
    alpha = attributes.get("alpha", 1.0)
    scale = np.matmul(np.abs(a64), np.abs(b64)) * abs(alpha) + 1
    total = np.matmul(a64, b64) * alpha
    total = total + (0 if bias is None else bias) + (0 if residual is None else residual)
    expected = ACTIVATIONS[attributes.get("activation", "")][1](total)
    assert got.shape == expected.shape
    assert (np.abs(got - expected) / scale).max() < 2e-6


TILES = {1: (4, 8), 4: (5, 16), 8: (6, 16), 16: (12, 32)}  # of each number of lanes


def test_tiles_fill_the_registers(kernels):
    assert TileShape.of(kernels) == TileShape(*TILES[kernels.lanes])
    rows, panel, signed = kernels.numbers("int8", "tile", 3)
    assert panel == TILES[kernels.lanes][1]
    assert 0 < rows <= 10
    assert signed == (kernels.lanes == 4)


@CASES
@given(data=st.data())
def test_matrices(kernels, data):
    draw = data.draw
    m, n, k = draw(st.integers(1, 60)), draw(st.integers(1, 100)), draw(st.integers(1, 90))
    seed, name = draw(st.integers(0, 99)), draw(st.sampled_from(list(ACTIVATIONS)))
    trans_a, trans_b = draw(st.booleans()), draw(st.booleans())
    check(
        kernels, numbers(seed, *((k, m) if trans_a else (m, k))), numbers(seed + 1, *((n, k) if trans_b else (k, n))),
        bias=numbers(seed, n) if draw(st.booleans()) else None,
        residual=numbers(seed, m, n) if draw(st.booleans()) else None,
        constant=draw(st.booleans()), threads=draw(st.integers(1, 2)), transA=int(trans_a), transB=int(trans_b),
        alpha=draw(st.sampled_from([1.0, -0.5])), activation=name, **ACTIVATIONS[name][0],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3, 5, 7), (2, 3, 7, 4)), ((2, 3, 5, 7), (7, 4)), ((2, 1, 5, 7), (3, 7, 4)), ((3, 5, 7), (2, 1, 7, 4)),
        ((2, 3, 1, 5, 7), (2, 1, 4, 7, 40)), ((7,), (7, 4)), ((3, 5, 7), (7,)), ((9,), (9,)), ((7,), (2, 7, 4)),
        ((1, 1, 13, 64), (1, 64, 33)), ((12, 130, 64), (12, 64, 50)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_batches(kernels, a, b, constant, threads):
    check(kernels, numbers(0, *a), numbers(1, *b), constant=constant, threads=threads)


@pytest.mark.parametrize("transposed", ["transA", "transB"])
def test_transposed_batches(kernels, transposed):
    a, b = ((2, 3, 7, 5), (3, 7, 4)) if transposed == "transA" else ((2, 3, 5, 7), (3, 4, 7))
    check(kernels, numbers(0, *a), numbers(1, *b), constant=False, **{transposed: 1})


@pytest.mark.parametrize("k", [512, 1024, 1500, 2048])
def test_staged_rows_and_pieces_of_the_depth(kernels, k, piece_bytes):
    piece_bytes(1 << 12)
    a, b, residual = numbers(0, 29, k), numbers(1, k, 110), numbers(2, 29, 110)
    for threads in (1, 2):
        check(kernels, a, b, numbers(3, 110), residual, threads=threads, activation="Gelu")


def test_addends_that_no_epilogue_takes_are_refused(kernels):
    g = Builder()
    a, b = g.input("a", "float32", (5, 7)), g.input("b", "float32", (7, 4))
    for attributes, shape in (({}, (5, 1)), ({}, ()), ({"beta": 2.0}, (4,))):
        g.nodes.clear()
        graph = g.graph([g.Gemm(a, b, g.input(f"c{shape}", "float32", shape), **attributes)])
        assert not gemm.rules()[0].candidates(kernels, graph.nodes[0], graph.specs, {})


def test_gemm_adds_a_whole_matrix(kernels):
    g = Builder()
    names = [g.input(n, "float32", s) for n, s in (("a", (7, 5)), ("b", (7, 4)), ("c", (5, 4)))]
    a, b, c = numbers(0, 7, 5), numbers(1, 7, 4), numbers(2, 5, 4)
    got = run(kernels, g.graph([g.Gemm(*names, transA=1, alpha=2.0)]), [a, b, c])
    np.testing.assert_allclose(got, 2 * a.T @ b + c, rtol=0, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint32", "int64", "uint64"])
def test_other_dtypes(kernels, dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 50, s).astype(dtype) for s in ((2, 1, 5, 7), (3, 7, 4)))
    g = Builder()
    graph = g.graph([g.MatMul(g.input("a", dtype, a.shape), g.input("b", dtype, b.shape))])
    np.testing.assert_array_equal(run(kernels, graph, [a, b], 2, rule=1), np.matmul(a, b))


@pytest.mark.parametrize(
    ("a", "b"), [((4, 0), (0, 3)), ((0, 4), (4, 3)), ((4, 5), (5, 0)), ((2, 0, 4), (4, 3))]
)
def test_empty(kernels, a, b):
    g = Builder()
    graph = g.graph([g.MatMul(g.input("a", "float32", a), g.input("b", "float32", b))])
    got = run(kernels, graph, [np.ones(a, np.float32), np.ones(b, np.float32)], rule=1)
    np.testing.assert_array_equal(got, np.matmul(np.ones(a), np.ones(b)))


@pytest.mark.parametrize("n", [1, 15, 16, 17, 33])
def test_writes_a_slice_of_wider_rows(kernels, n):
    m, k, wide, tile = 14, 20, 70, TileShape.of(kernels)
    a, b = numbers(0, m, k), numbers(1, k, n)
    panels = -(-n // tile.panel)
    packed = Tensor((panels * tile.panel * k,), "float32")
    kernels.kernel("pack_b", "gemm")([packed, Tensor.wrap(b)], [k, n, n, 1, f64(1.0), 0], panels)
    out = np.full((m, wide), 7.0, np.float32)
    cut = solve(m, n, k, tile, 1)
    args = [m, n, *cut.args(), k, cut.piece, k, wide, 0, 0, 0, 0, 0, 0]
    kernels.kernel("gemm", "gemm")(
        [Tensor.wrap(out), Tensor.wrap(a), packed, None, None, None], args, cut.units
    )
    np.testing.assert_allclose(out[:, :n], a @ b, rtol=0, atol=2e-5)
    assert (out[:, n:] == 7.0).all()


@settings(max_examples=300, deadline=None)
@given(
    rows=st.integers(1, 60000), cols=st.integers(1, 5000), taps=st.integers(1, 500), run=st.integers(1, 5000),
    tile=st.sampled_from([TileShape(*t) for t in TILES.values()]), threads=st.integers(1, 8), staged=st.booleans(),
)  # fmt: skip
def test_cuts_cover_the_product_within_the_limits(rows, cols, taps, run, tile, threads, staged):
    c = solve(rows, cols, taps * run, tile, threads, run=run, staged=staged)
    tiles, panels = -(-rows // tile.rows), -(-cols // tile.panel)
    assert 1 <= c.block_tiles <= tiles and 1 <= c.group_panels <= panels
    assert c.blocks == -(-tiles // c.block_tiles) and c.groups == -(-panels // c.group_panels)
    assert 1 <= c.piece <= taps * run and (c.piece < run or c.piece % run == 0)
    assert c.block_tiles * max(1, c.piece // run) <= TILE_TAPS
