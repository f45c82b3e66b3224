"""Quantised operators in integers give bit for bit what their QuantizeLinear and DequantizeLinear nodes give."""

import numpy as np
import pytest

import walle_core as walle
from walle_core import Tensor
from walle_core.backends.reference import run_node
from walle_core.evaluate import evaluate
from walle_core.graph.builder import Builder
from walle_core.graph.integer import keep_integers

RANGES = {"uint8": (0, 255), "int8": (-128, 127)}


def run(graph, *inputs):
    """Every node by its NumPy reference."""
    values = {**graph.constants, **dict(zip(graph.inputs, map(Tensor.wrap, inputs), strict=True))}
    for node in graph.nodes:
        made = run_node(node, [values[n] if n else None for n in node.inputs])
        values.update(zip(node.outputs, made, strict=False))
    return [np.asarray(values[n]) for n in graph.outputs]


class Net:
    """A builder with quantisation; scales are powers of two, so that float32 sums of products are exact too."""

    def __init__(self, dtype="uint8", seed=0):
        self.g, self.dtype, self.rng = Builder(), dtype, np.random.default_rng(seed)

    def q(self, x, scale=0.25, zero=7, dtype=None):
        g, kind = self.g, dtype or self.dtype
        names = g.const(scale), g.const(zero, kind)
        return g.DequantizeLinear(g.QuantizeLinear(x, *names), *names)

    def input(self, *shape, scale=0.25, zero=7):
        return self.q(self.g.input(f"x{len(self.g.inputs)}", "float32", shape), scale, zero)

    def weight(self, *shape, axis=0, dtype="int8", zero=0):
        low, high = RANGES[dtype]
        stored = self.g.const(Tensor.wrap(self.rng.integers(low, high, shape).astype(dtype)))
        scales = self.g.const(Tensor.wrap(2.0 ** self.rng.integers(-8, -4, shape[axis]).astype("float32")))
        zeros = self.g.const(Tensor.wrap(np.full(shape[axis], zero, dtype)))
        return self.g.DequantizeLinear(stored, scales, zeros, axis=axis)

    def check(self, y, *absent):
        """Runs both graphs; the rewritten one must have none of the operators `absent`."""
        graph = self.g.graph([y])
        made = keep_integers(graph, evaluate)
        assert not {n.op for n in made.nodes} & {*absent}, [n.op for n in made.nodes]
        inputs = [self.rng.normal(0, 12, graph.specs[n].sizes).astype("float32") for n in graph.inputs]
        (want,), (got,) = run(graph, *inputs), run(made, *inputs)
        np.testing.assert_array_equal(got, want)
        for backend in ("portable", None):
            (ran,) = walle.Session(graph, backend=backend, threads=2).run(inputs).values()
            np.testing.assert_array_equal(np.asarray(ran), want)
        return made


@pytest.mark.parametrize("dtype", RANGES)
@pytest.mark.parametrize("act", ["", "Relu", "Clip"])
@pytest.mark.parametrize("group", [1, 2, 6])
def test_convolution(dtype, act, group):
    net = Net(dtype)
    g = net.g
    y = g.Conv(
        net.input(1, 6, 9, 8),
        net.weight(12 if group < 6 else 6, 6 // group, 3, 3),
        group=group,
        pads=(1, 0, 2, 1),
    )
    y = g.Relu(y) if act == "Relu" else g.Clip(y, g.const(0.0), g.const(6.0)) if act else y
    net.check(net.q(y, 0.125, 3), "Conv", "Relu", "Clip")


def test_bias_in_units_of_the_sums():
    net = Net()
    g = net.g
    w = net.weight(4, 3, 1, 1)
    scales = np.asarray(g.constants[g.nodes[-1].inputs[1]]) * np.float32(0.25)
    bias = g.DequantizeLinear(
        g.const(Tensor.wrap(np.array([90, -70, 0, 5], "int32"))), g.const(Tensor.wrap(scales)), axis=0
    )
    net.check(net.q(g.Conv(net.input(1, 3, 5, 5), w, bias), 0.5, 100), "Conv")


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_products(op, dtype):
    net = Net()
    w = net.weight(17, 9, axis=1, dtype=dtype, zero=0 if dtype == "int8" else 128)
    net.check(net.q(net.g.op(op, net.input(5, 17), w), 0.5, 128), op)


def test_padding_by_the_zero_point_goes_into_the_convolution():
    net = Net("int8")
    g = net.g
    pads = g.const([0, 0, 1, 0, 0, 0, 0, 2], "int64")
    x = net.q(g.Pad(net.input(1, 4, 6, 6), pads), 0.25, 7)
    made = net.check(net.q(g.Conv(x, net.weight(5, 4, 3, 3), pads=(0, 1, 0, 1))), "Pad", "Conv")
    (conv,) = (n for n in made.nodes if n.op == "QuantizedConv")
    assert conv.attrs["pads"] == (1, 1, 0, 3)


def test_other_padding_stays():
    net = Net()
    g = net.g
    x = net.q(g.Pad(net.input(1, 4, 6, 6), g.const([0, 0, 1, 1, 0, 0, 1, 1], "int64"), g.const(2.0)), 0.5, 3)
    made = net.check(net.q(g.Conv(x, net.weight(5, 4, 3, 3))), "Conv")
    assert "Pad" in {n.op for n in made.nodes}


@pytest.mark.parametrize("dtype", RANGES)
def test_addition_and_joining(dtype):
    net = Net(dtype)
    g = net.g
    a, b = net.input(1, 3, 4, 5), net.input(1, 3, 4, 5, scale=0.5, zero=20)
    both = net.q(g.Relu(g.Add(a, b)), 0.375, 11)
    net.check(net.q(g.Concat(a, both, axis=1), 0.5, 9), "Add", "Concat/float")


def test_maxima_movement_and_functions():
    net = Net()
    g = net.g
    x = net.q(g.MaxPool(net.input(1, 3, 8, 8), kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)))
    x = net.q(g.Transpose(x, perm=(0, 2, 3, 1)), 0.5, 30)
    made = net.check(net.q(g.Sigmoid(x), 1 / 256, 0), "Sigmoid")
    assert sum(n.op == "DequantizeLinear" for n in made.nodes) == 1


def test_average_is_of_the_exact_sum():
    net = Net()
    net.check(net.q(net.g.GlobalAveragePool(net.input(2, 5, 4, 8)), 0.125, 90), "GlobalAveragePool")


def test_what_is_read_twice_or_has_no_constant_scale_stays():
    net = Net()
    g = net.g
    conv = g.Conv(net.input(1, 3, 4, 4), net.weight(3, 3, 1, 1))
    graph = g.graph([net.q(conv), conv])
    assert "Conv" in {n.op for n in keep_integers(graph, evaluate).nodes}
    g = Builder()
    x, scale = g.input("x", "float32", (3,)), g.input("scale", "float32", ())
    graph = g.graph([g.DequantizeLinear(g.QuantizeLinear(x, scale), scale)])
    assert [n.op for n in keep_integers(graph, evaluate).nodes] == ["QuantizeLinear", "DequantizeLinear"]
