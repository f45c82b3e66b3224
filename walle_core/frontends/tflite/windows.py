"""Rules of convolutions, pools, products and resampling. TFLite keeps channels last; what surrounds the operators here are
transposes, which the engine turns into its own layout or merges away (graph.layout, graph.raster).
"""

from __future__ import annotations

from walle_core.frontends.tflite.call import Call, lowers
from walle_core.frontends.tflite.lowering import FIRST, Refused

SAME, VALID = 0, 1


def _padding(c: Call) -> str:
    number = c.option("padding")
    if number not in (SAME, VALID):
        raise Refused(f"its padding {number} is not known")
    return "SAME_UPPER" if number == SAME else "VALID"


def _strides(c: Call) -> tuple[int, int]:
    return c.option("stride_h"), c.option("stride_w")


@lowers("CONV_2D")
def _conv(c: Call) -> None:
    out, height, width, depth = c.sizes(1)
    channels = c.size(0, -1)
    if not depth or channels % depth:
        raise Refused(f"its input has {channels} channels, its weights take {depth}")
    _convolve(c, c.kernel(1, FIRST), (height, width), channels // depth)


@lowers("DEPTHWISE_CONV_2D")
def _depthwise(c: Call) -> None:
    _, height, width, _ = c.sizes(1)
    _convolve(c, c.kernel(1, (3, 0, 1, 2)), (height, width), c.size(0, -1))


def _convolve(c: Call, weights: str, kernel: tuple[int, int], group: int) -> None:
    value = c.first(0)
    dilations = (c.option("dilation_h_factor"), c.option("dilation_w_factor"))
    made = c.op(
        "Conv", value, weights, c.value(2), kernel_shape=kernel, strides=_strides(c), dilations=dilations, group=group,
        auto_pad=_padding(c),
    )  # fmt: skip
    c.last(made)


@lowers("TRANSPOSE_CONV")
def _transpose_conv(c: Call) -> None:
    wanted = c.tensor(0).integers() or c.target().spec.shape or ()
    if len(wanted) != 4 or not all(isinstance(d, int) for d in wanted[1:3]):
        raise Refused("its output shape is open")
    _, height, width, _ = c.sizes(1)
    value = c.first(2)
    weights = c.kernel(1, (3, 0, 1, 2))
    _padding(c)
    made = c.op(
        "ConvTranspose", value, weights, c.value(3), kernel_shape=(height, width), strides=_strides(c),
        output_shape=tuple(wanted[1:3]), auto_pad="SAME_UPPER",
    )  # fmt: skip
    c.last(made)


@lowers("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool(c: Call) -> None:
    value = c.first(0)
    op = "AveragePool" if c.operator.name == "AVERAGE_POOL_2D" else "MaxPool"
    kernel = (c.option("filter_height"), c.option("filter_width"))
    c.last(c.op(op, value, kernel_shape=kernel, strides=_strides(c), auto_pad=_padding(c)))


@lowers("FULLY_CONNECTED")
def _dense(c: Call) -> None:
    if c.option("weights_format") != 0:
        raise Refused("its weights are shuffled")
    out, depth = c.sizes(1)
    value, rank = c.value(0), c.rank(0)
    keep = c.option("keep_num_dims") and rank != 2
    flat = value if rank == 2 and c.size(0, 1) == depth else c.op("Reshape", value, c.ints(-1, depth))
    made = c.op("Gemm", flat, c.value(1), c.value(2), transB=1)
    if keep:
        sizes = c.target().spec.shape or ()
        known = [d for d in sizes if isinstance(d, int)]
        if len(known) < len(sizes) - 1:
            raise Refused("more than one size of its result is open")
        made = c.op("Reshape", made, c.ints(*(d if isinstance(d, int) else -1 for d in sizes)))
    c.result(c.activated(made))


@lowers("BATCH_MATMUL")
def _matmul(c: Call) -> None:
    operands = []
    for position, option in enumerate(("adj_x", "adj_y")):
        value, rank = c.value(position), c.rank(position)
        if c.option(option):
            value = c.op("Transpose", value, perm=(*range(rank - 2), rank - 1, rank - 2))
        operands.append(value)
    c.result(c.op("MatMul", *operands))


@lowers("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(c: Call) -> None:
    linear = c.operator.name == "RESIZE_BILINEAR"
    corners, centres = c.option("align_corners"), c.option("half_pixel_centers")
    mode = "align_corners" if corners else "half_pixel" if centres else "asymmetric"
    c.result(
        c.op(
            "Resize", c.value(0), "", "", c.ints(*c.integers(1)), axes=(1, 2), mode="linear" if linear else "nearest",
            coordinate_transformation_mode=mode,
            nearest_mode="round_prefer_ceil" if corners or centres else "floor",
        )
    )  # fmt: skip
