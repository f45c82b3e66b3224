"""Lowering of transforms to Raster: random graphs of transforms against NumPy, and the merges that must happen."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph, Node
from walle_core.graph.raster import Report, lower
from walle_core.graph.regions import canonical, join
from walle_core.ops import find

SMALL = 400  # elements of one value in random graphs


def evaluate(graph: Graph, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Runs a graph with the references of its operators."""
    values = {k: np.asarray(v) for k, v in graph.constants.items()} | feeds
    for node in graph.nodes:
        op = find(node.op)
        assert op is not None and op.reference is not None, node.op
        made = op.reference(*[values[n] if n else None for n in node.inputs], **op.bind(node.attrs))
        made = made if isinstance(made, tuple) else (made,)
        for name, value in zip(node.outputs, made, strict=False):
            values[name] = value
            if name in graph.specs:
                assert value.shape == graph.specs[name].sizes, (node, value.shape, graph.specs[name])
    return [values[n] for n in graph.outputs]


def check(graph: Graph) -> tuple[Graph, Report]:
    """Lowers a graph and compares results; inputs count upwards so that every element is told apart."""
    feeds, start = {}, 1
    for name in graph.inputs:
        size = graph.specs[name].size
        feeds[name] = np.arange(start, start + size, dtype=np.float32).reshape(graph.specs[name].sizes)
        start += size
    want = evaluate(graph, feeds)
    lowered, report = lower(graph)
    for a, b in zip(want, evaluate(lowered, feeds), strict=True):
        np.testing.assert_array_equal(a, b)
    covered(lowered)
    again, _ = lower(lowered)
    for a, b in zip(want, evaluate(again, feeds), strict=True):
        np.testing.assert_array_equal(a, b)
    return lowered, report


def covered(graph: Graph) -> None:
    """Every Raster writes each element once, or leaves it to its fill."""
    for node in graph.nodes:
        if node.op == "Raster":
            count = np.zeros(prod(node.attrs["shape"]), np.int64)
            for r in node.attrs["regions"]:
                where = np.lib.stride_tricks.as_strided(
                    count[r.dst.offset :], r.size, [8 * s for s in r.dst.strides]
                )
                where += 1
            assert count.max(initial=0) <= 1, node
            assert node.attrs["fill"] is not None or count.min(initial=1) == 1, node


def rasters(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if n.op == "Raster" and not n.attrs["view"]]


def _shape_of(draw, size: int) -> list[int]:
    shape = []
    while size > 1 and draw(st.booleans()):
        divisor = draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
        shape.append(divisor)
        size //= divisor
    return draw(st.permutations([*shape, size]))


def _step(draw, g: Builder, values: list[str]) -> list[str]:
    x = draw(st.sampled_from(values[-4:]))
    shape = g.shape(x)
    rank = len(shape)
    if 0 in shape:
        return []
    kind = draw(
        st.sampled_from(
            [
                "transpose",
                "reshape",
                "slice",
                "concat",
                "split",
                "pad",
                "mode",
                "tile",
                "expand",
                "flip",
                "neg",
                "im2col",
            ]
        )
    )
    axis = draw(st.integers(0, rank - 1)) if rank else 0
    if kind == "transpose":
        return [g.Transpose(x, perm=draw(st.permutations(range(rank))))]
    if kind == "reshape":
        return [g.Reshape(x, g.const(_shape_of(draw, prod(shape)), "int64"))]
    if kind == "neg":
        return [g.Neg(x)]
    if kind == "expand":
        return (
            [g.Expand(x, g.const([draw(st.integers(1, 3)), *[1] * rank], "int64"))]
            if prod(shape) * 3 < SMALL
            else []
        )
    if rank == 0:
        return []
    if kind == "slice":
        n = shape[axis]
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        a, b = draw(st.integers(0, n)), draw(st.integers(0, n))
        lo, hi = min(a, b), max(a, b)
        if lo == hi:
            return []
        start, end = (lo, hi) if step > 0 else (hi - 1, lo - 1 - n if lo == 0 else lo - 1)
        return [g.Slice(x, *[g.const([v], "int64") for v in (start, end, axis, step)])]
    if kind == "flip":
        return [g.Slice(x, *[g.const([v], "int64") for v in (-1, -(10**6), axis, -1)])]
    if kind == "concat":
        fits = [
            v
            for v in values
            if len(g.shape(v)) == rank
            and all(a == b or i == axis for i, (a, b) in enumerate(zip(g.shape(v), shape, strict=True)))
        ]
        other = draw(st.sampled_from(fits))
        if prod(shape) + prod(g.shape(other)) > SMALL:
            return []
        return [g.Concat(*draw(st.permutations([x, other])), axis=axis)]
    if kind == "split":
        parts = draw(st.integers(1, min(3, shape[axis])))
        return list(g.op("Split", x, outputs=parts, axis=axis, num_outputs=parts)) if parts > 1 else []
    if kind == "tile":
        repeats = [1] * rank
        repeats[axis] = draw(st.integers(1, 3))
        return [g.Tile(x, g.const(repeats, "int64"))] if prod(shape) * 3 < SMALL else []
    if kind == "im2col":
        if rank != 4 or min(shape[2:]) < 2 or prod(shape) > SMALL // 4:
            return []
        return [
            g.Im2Col(
                x,
                kernel_shape=(2, 2),
                pads=draw(st.sampled_from([(0, 0, 0, 0), (1, 0, 1, 1)])),
                strides=(1, draw(st.integers(1, 2))),
                fill=draw(st.sampled_from([0.0, 5.0])),
            )
        ]
    pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    if prod(d + pads[i] + pads[i + rank] for i, d in enumerate(shape)) > SMALL:
        return []
    if kind == "pad":
        value = draw(st.sampled_from([0.0, 0.0, 7.0]))
        return [g.Pad(x, g.const(pads, "int64"), g.const(value))]
    return [g.Pad(x, g.const(pads, "int64"), mode=draw(st.sampled_from(["edge", "reflect", "wrap"])))]


@st.composite
def graphs(draw) -> Graph:
    g = Builder()
    values = [g.input("x", "float32", draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))]
    if draw(st.booleans()):
        values.append(g.input("y", "float32", g.shape("x")))
    for _ in range(draw(st.integers(1, 8))):
        values += _step(draw, g, values)
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
    return g.graph([*outputs, values[-1]] if values[-1] not in outputs else outputs)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_random_graphs_compute_the_same(graph: Graph) -> None:
    check(graph)


def _shuffle(n: int, h: int, w: int, c: int, groups: int) -> Graph:
    g = Builder()
    x = g.input("x", "float32", (n, h, w, c))
    y = g.Transpose(g.Relu(x), perm=(0, 3, 1, 2))
    y = g.Reshape(y, g.const([n, groups, c // groups, h, w], "int64"))
    y = g.Transpose(y, perm=(0, 2, 1, 3, 4))
    y = g.Reshape(y, g.const([n, c, h, w], "int64"))
    return g.graph([g.Relu(g.Transpose(y, perm=(0, 2, 3, 1)))])


def test_channel_shuffle_in_channels_last_is_one_region() -> None:
    graph, report = check(_shuffle(1, 7, 6, 58, 2))
    (node,) = rasters(graph)
    (region,) = node.attrs["regions"]
    assert sorted(region.size) == sorted((7 * 6, 29, 2))
    assert (report.transforms, report.horizontal, report.views) == (5, 1, 0)


def test_inverse_transposes_vanish() -> None:
    g = Builder()
    x = g.input("x", "float32", (1, 4, 5, 3))
    y = g.Transpose(g.Transpose(g.Relu(x), perm=(0, 3, 1, 2)), perm=(0, 2, 3, 1))
    graph, report = check(g.graph([g.Exp(y)]))
    assert [n.op for n in graph.nodes] == ["Relu", "Exp"]
    assert report.identities == 1 and report.horizontal == 0


def test_reshape_is_a_view_and_an_output_keeps_its_name() -> None:
    g = Builder()
    x = g.input("x", "float32", (2, 6))
    y = g.Reshape(x, g.const([3, 4], "int64"))
    z = g.Identity(x)
    graph, _ = check(g.graph([y, z]))
    assert [(n.op, n.attrs["view"], n.inputs) for n in graph.nodes] == [("Raster", True, ("x",))] * 2


def test_concat_of_split_is_the_identity() -> None:
    g = Builder()
    x = g.input("x", "float32", (4, 6, 5))
    parts = g.op("Split", x, outputs=3, axis=1, num_outputs=3)
    graph, _ = check(g.graph([g.Relu(g.Concat(*parts, axis=1))]))
    assert [n.op for n in graph.nodes] == ["Relu"]


def test_shuffle_by_split_and_concat_of_slices_fuses() -> None:
    g = Builder()
    x, y = g.input("x", "float32", (2, 8, 3)), g.input("y", "float32", (2, 8, 3))
    both = g.Concat(x, y, axis=1)
    part = g.Slice(both, g.const([6], "int64"), g.const([10], "int64"), g.const([1], "int64"))
    graph, _ = check(g.graph([g.Transpose(part, perm=(1, 0, 2))]))
    (node,) = rasters(graph)
    assert len(node.attrs["regions"]) == 2 and set(node.inputs) == {"x", "y"}


def test_equal_moves_become_one() -> None:
    g = Builder()
    x = g.input("x", "float32", (3, 4))
    a, b = g.Transpose(x), g.Transpose(x)
    c = g.Reshape(b, g.const([12], "int64"))
    graph, report = check(g.graph([g.Relu(a), g.Exp(b), g.Neg(c)]))
    assert len(rasters(graph)) == 1 and report.views == 1
    assert (report.vertical, report.horizontal) == (3, 1)


def test_padding_of_padding_keeps_what_cannot_be_expressed() -> None:
    g = Builder()
    x = g.input("x", "float32", (2, 3))
    inner = g.Pad(x, g.const([1, 1, 1, 1], "int64"), g.const(0.0))
    same = g.Pad(inner, g.const([1, 1, 1, 1], "int64"), g.const(0.0))
    other = g.Pad(inner, g.const([1, 1, 1, 1], "int64"), g.const(3.0))
    graph, _ = check(g.graph([same, other]))
    fed_by = {n.outputs[0]: n.inputs for n in rasters(graph)}
    assert fed_by[same] == ("x",)
    assert fed_by[other] == (inner,)


def test_windows_of_a_padded_image_read_the_image() -> None:
    g = Builder()
    x = g.input("x", "float32", (1, 2, 5, 6))
    padded = g.Pad(x, g.const([0, 0, 1, 1, 0, 0, 1, 1], "int64"))
    graph, _ = check(g.graph([g.Im2Col(padded, kernel_shape=(3, 3))]))
    (node,) = rasters(graph)
    assert node.inputs == ("x",) and len(node.attrs["regions"]) <= 2 * 9


def test_pad_with_a_value_known_at_run_time() -> None:
    g = Builder()
    x, v = g.input("x", "float32", (2, 3)), g.input("v", "float32", ())
    graph, _ = check(g.graph([g.Pad(x, g.const([1, 0, 0, 2], "int64"), v)]))
    (node,) = rasters(graph)
    assert set(node.inputs) == {"x", "v"} and node.attrs["fill"] is None


def test_strings_and_run_time_parameters_stay() -> None:
    g = Builder()
    s, x, k = g.input("s", "string", (2, 3)), g.input("x", "float32", (4,)), g.input("k", "int64", (1,))
    graph, report = lower(g.graph([g.Transpose(s), g.op("Slice", x, k, k)]))
    assert [n.op for n in graph.nodes] == ["Transpose", "Slice"] and report == Report()


def test_regions_of_high_rank_come_in_three_axes() -> None:
    g = Builder()
    x = g.input("x", "float32", (2, 3, 4, 5, 3))
    graph, _ = check(g.graph([g.Transpose(x)]))
    (node,) = rasters(graph)
    assert {len(r.size) for r in node.attrs["regions"]} == {3}
    assert len(node.attrs["regions"]) == 2 * 3


def test_too_many_regions_stop_the_merge() -> None:
    g = Builder()
    x = g.input("x", "float32", (101, 7))
    odd = g.Slice(
        x, g.const([0], "int64"), g.const([101], "int64"), g.const([0], "int64"), g.const([1], "int64")
    )
    flat = g.Reshape(g.Transpose(odd), g.const([707], "int64"))
    every = g.Slice(
        flat, g.const([0], "int64"), g.const([707], "int64"), g.const([0], "int64"), g.const([2], "int64")
    )
    graph, _ = check(g.graph([every]))
    assert all(len(n.attrs["regions"]) <= 64 for n in rasters(graph))


def test_a_value_captured_by_a_branch_keeps_its_name() -> None:
    g = Builder()
    x, c = g.input("x", "float32", (2, 3)), g.input("c", "bool", ())
    y = g.Identity(x)
    branch = Graph((), ("z",), (Node("Neg", (y,), ("z",), {}, "neg"),))
    node = Node("If", (c,), ("r",), {"then_branch": branch, "else_branch": branch}, "if")
    graph = g.graph([y])
    graph = graph.evolve(nodes=(*graph.nodes, node), outputs=("r",))
    lowered, _ = lower(graph)
    assert y in {o for n in lowered.nodes for o in n.outputs}


@given(st.permutations(range(8)))
def test_pieces_of_a_cut_tensor_join_again(order: list[int]) -> None:
    pieces = [canonical("x", (3, 5), i * 5, (40, 1), i * 5, (40, 1)) for i in order]
    (joined,) = join([p for p in pieces if p is not None])
    assert joined == canonical("x", (120,), 0, (1,), 0, (1,))


def test_a_chain_of_500_transforms() -> None:
    g = Builder()
    x = g.input("x", "float32", (1, 4, 4, 6))
    for _ in range(100):
        y = g.Reshape(g.Transpose(x, perm=(0, 3, 1, 2)), g.const([1, 2, 3, 4, 4], "int64"))
        y = g.Reshape(g.Transpose(y, perm=(0, 2, 1, 3, 4)), g.const([1, 6, 4, 4], "int64"))
        x = g.Relu(g.Transpose(y, perm=(0, 2, 3, 1)))
    graph, report = check(g.graph([x]))
    assert report.transforms == 500 and len(rasters(graph)) == 100


@pytest.mark.parametrize("size", [0, 1])
def test_empty_and_single_element_tensors(size: int) -> None:
    g = Builder()
    x = g.input("x", "float32", (size, 3))
    y = g.Concat(g.Transpose(x), g.Transpose(x), axis=1)
    check(g.graph([g.Reshape(y, g.const([-1, 1], "int64")) if size else y, g.Identity(y)]))
