"""Images resized, warped and remapped, and the matrices for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv._pixels import describe, run
from walle_core.cv.images import (
    BORDER_CONSTANT,
    BORDER_TRANSPARENT,
    border_of,
    depth_of,
    given,
    look,
    made,
    matrix_of,
    scalar_of,
    size_of,
)
from walle_core.cv.transforms import inverse, inverse_affine
from walle_core.errors import InputError

__all__ = [
    "CV_16SC2",
    "CV_32FC1",
    "CV_32FC2",
    "INTER_AREA",
    "INTER_CUBIC",
    "INTER_LANCZOS4",
    "INTER_LINEAR",
    "INTER_LINEAR_EXACT",
    "INTER_MAX",
    "INTER_NEAREST",
    "INTER_NEAREST_EXACT",
    "WARP_FILL_OUTLIERS",
    "WARP_INVERSE_MAP",
    "WARP_RELATIVE_MAP",
    "convertMaps",
    "getRectSubPix",
    "remap",
    "resize",
    "warpAffine",
    "warpPerspective",
]

(
    INTER_NEAREST,
    INTER_LINEAR,
    INTER_CUBIC,
    INTER_AREA,
    INTER_LANCZOS4,
    INTER_LINEAR_EXACT,
    INTER_NEAREST_EXACT,
) = range(7)
INTER_MAX, WARP_FILL_OUTLIERS, WARP_INVERSE_MAP, WARP_RELATIVE_MAP = 7, 8, 16, 32
CV_16SC2, CV_32FC1, CV_32FC2 = 35, 5, 37  # types of convertMaps, as OpenCV 5 numbers them


def resize(
    src: Any, dsize: Any, dst: Any = None, fx: float = 0, fy: float = 0, interpolation: int = INTER_LINEAR,
    *, code: int = -1, mean: Sequence[float] | None = None, norm: Sequence[float] | None = None,
) -> Tensor:  # fmt: skip
    """An image in another size.

    Args:
        src: H × W or H × W × C of any dtype.
        dsize: (width, height), or None for the source's times fx and fy.
        dst: None, or where the result goes too.
        fx, fy: factors, where dsize is None.
        interpolation: INTER_NEAREST, LINEAR, CUBIC, AREA, LANCZOS4, LINEAR_EXACT or NEAREST_EXACT.
        code: of cvtColor, applied to the result of the resizing (uint8 only).
        mean, norm: numbers per channel: the result is float32, (value - mean) * norm; one pass over the image (MNN's form).

    Raises:
        InputError: a size that is not positive, an interpolation that is none.
    """
    if code != -1 or mean is not None or norm is not None:
        from walle_core.cv.preprocess import Preprocess

        made_for = Preprocess(_wanted(src, dsize, fx, fy)[0], code=code, mean=mean, norm=norm, interpolation=interpolation, layout="HWC")  # fmt: skip
        return given(made_for(src), dst)
    shape, dtype = look(src)
    (width, height), scale = _wanted(src, dsize, fx, fy)
    if interpolation not in range(7):
        raise InputError(
            f"interpolation {interpolation!r} is not one of INTER_NEAREST to INTER_NEAREST_EXACT"
        )
    result = (height, width, *shape[2:])
    if result == shape:
        return made("paste", [src], result, dtype, (0, 0), dst)
    return made("resize", [src], result, dtype, (interpolation, *scale), dst)


def _wanted(src: Any, dsize: Any, fx: float, fy: float) -> tuple[tuple[int, int], tuple[float, float]]:
    """(width, height) and how many source pixels go into one of them."""
    shape, _ = look(src)
    if dsize is not None and tuple(dsize) != (0, 0):
        width, height = size_of(dsize)
        return (width, height), (1 / (width / shape[1]), 1 / (height / shape[0]))
    if not (fx > 0 and fy > 0):
        raise InputError(f"dsize is {dsize}, fx {fx}, fy {fy}; give dsize, or both factors above 0")
    return size_of((round(shape[1] * fx), round(shape[0] * fy)), "dsize from fx and fy"), (1 / fx, 1 / fy)


def _flags(flags: int, border: int, value: Any) -> tuple[float, ...]:
    kind = int(flags) & INTER_MAX
    if kind > INTER_LINEAR_EXACT:
        raise InputError(f"flags {flags!r} have no interpolation of INTER_NEAREST to INTER_LANCZOS4")
    kind = INTER_LINEAR if kind == INTER_LINEAR_EXACT else kind
    return (kind, border_of(border, wrap=True, transparent=True), *scalar_of(value))


def _warped(
    name: str, inputs: list[Any], result: tuple[int, ...], args: tuple[float, ...], dst: Any
) -> Tensor:
    dtype = look(inputs[0])[1]
    out = Tensor(result, dtype, zero=args[1] == BORDER_TRANSPARENT)
    if dst is not None and args[1] == BORDER_TRANSPARENT:
        run("paste", [dst], out, (0, 0))
    return given(run(name, inputs, out, args), dst)


def warpAffine(
    src: Any, M: Any, dsize: Any, dst: Any = None, flags: int = INTER_LINEAR, borderMode: int = BORDER_CONSTANT, borderValue: Any = 0,
    *, code: int = -1, mean: Sequence[float] | None = None, norm: Sequence[float] | None = None,
) -> Tensor:  # fmt: skip
    """An image under the affine map M (2 × 3), from source to result; from result to source with WARP_INVERSE_MAP.

    With `code`, `mean` or `norm` the result is float32 as that of `resize` with them.

    Raises:
        InputError: a matrix, size, interpolation or border that is none.
    """
    shape, _ = look(src)
    width, height = size_of(dsize)
    if code != -1 or mean is not None or norm is not None:
        from walle_core.cv.preprocess import Preprocess

        prepare = Preprocess((width, height), code=code, mean=mean, norm=norm, layout="HWC")
        return given(
            prepare(warpAffine(src, M, dsize, flags=flags, borderMode=borderMode, borderValue=borderValue)),
            dst,
        )
    matrix = matrix_of(M, 2, 3, "M")
    if not int(flags) & WARP_INVERSE_MAP:
        matrix = inverse_affine(matrix)
    return _warped(
        "affine", [src], (height, width, *shape[2:]), (*_flags(flags, borderMode, borderValue), *matrix), dst
    )


def warpPerspective(
    src: Any, M: Any, dsize: Any, dst: Any = None, flags: int = INTER_LINEAR, borderMode: int = BORDER_CONSTANT, borderValue: Any = 0
) -> Tensor:  # fmt: skip
    """An image under the perspective map M (3 × 3), from source to result; the other way with WARP_INVERSE_MAP.

    Raises:
        InputError: a matrix, size, interpolation or border that is none.
    """
    shape, _ = look(src)
    width, height = size_of(dsize)
    matrix = matrix_of(M, 3, 3, "M")
    if not int(flags) & WARP_INVERSE_MAP:
        matrix = inverse(matrix)
    args = (*_flags(flags, borderMode, borderValue), *matrix)
    return _warped("perspective", [src], (height, width, *shape[2:]), args, dst)


def remap(
    src: Any, map1: Any, map2: Any, interpolation: int, dst: Any = None, borderMode: int = BORDER_CONSTANT, borderValue: Any = 0
) -> Tensor:  # fmt: skip
    """result[y, x] = src at (map1[y, x], map2[y, x]), or at map1[y, x] = (x, y) where map2 is None.

    Args:
        src: H × W or H × W × C.
        map1, map2: float32, or int16 pairs with uint16 fractions from `convertMaps`.
        interpolation: as of `resize`; with WARP_RELATIVE_MAP the maps are offsets.
        dst: None, or where the result goes too (and its pixels stay, under BORDER_TRANSPARENT).
        borderMode, borderValue: what is outside the source.

    Raises:
        InputError: maps of other shapes or dtypes.
    """
    shape, _ = look(src)
    maps, size = _maps(map1, map2)
    if look(map1)[1] == "int16":
        maps = [run("pair_maps", maps, Tensor((*size, 2), "float32", zero=False))]
    relative = 1 if int(interpolation) & WARP_RELATIVE_MAP else 0
    args = (*_flags(interpolation & INTER_MAX, borderMode, borderValue), relative)
    return _warped("remap", [src, *maps], (*size, *shape[2:]), args, dst)


def convertMaps(
    map1: Any, map2: Any, dstmap1type: int, nninterpolation: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Maps of `remap` in another form.

    Args:
        map1, map2: float32 x and y; or pairs and None; or int16 pairs with uint16 fractions.
        dstmap1type: CV_16SC2 (fractions in 32nds), CV_32FC1 (two maps) or CV_32FC2 (pairs).
        nninterpolation: True leaves fractions out.

    Raises:
        InputError: maps of other shapes or dtypes, another type.
    """
    maps, shape = _maps(map1, map2)
    pairs = run("pair_maps", maps, Tensor((*shape, 2), "float32", zero=False))
    if dstmap1type == CV_32FC2:
        return pairs, None
    if dstmap1type == CV_32FC1:
        return made("channel", [pairs], shape, "float32", (0,)), made(
            "channel", [pairs], shape, "float32", (1,)
        )
    if dstmap1type != CV_16SC2:
        raise InputError(f"dstmap1type is {dstmap1type}; it must be CV_16SC2, CV_32FC1 or CV_32FC2")
    whole = run("whole_maps", [pairs], Tensor((*shape, 2), "int16", zero=False), (bool(nninterpolation),))
    if nninterpolation:
        return whole, None
    return whole, run("map_fractions", [pairs], Tensor(shape, "uint16", zero=False))


def _maps(map1: Any, map2: Any) -> tuple[list[Any], tuple[int, ...]]:
    """The maps that there are, checked, and the result's height and width."""
    first, kind = look(map1, "map1", ("float32", "int16"), (1, 2))
    pairs, size = len(first) == 3 and first[2] == 2, first[:2]
    other = None if map2 is None or describe(map2)[0] in ((), (0,)) or 0 in describe(map2)[0] else map2
    if kind == "int16":
        if not pairs or (other is not None and look(other, "map2", ("uint16", "int16"), (1,))[0][:2] != size):
            raise InputError(
                f"map1 is int16{first}; it must have x and y, and map2 be uint16 of the same size or None"
            )
    elif pairs and other is not None:
        raise InputError("map1 has x and y; leave map2 out")
    elif not pairs and (other is None or look(other, "map2", ("float32",), (1,))[0][:2] != size):
        raise InputError(f"map1 is {first}; map2 must be float32 of the same size")
    return ([map1] if other is None else [map1, other]), size


def getRectSubPix(image: Any, patchSize: Any, center: Any, patch: Any = None, patchType: int = -1) -> Tensor:
    """A rectangle of (width, height) around a point (x, y) between pixels, its edges repeated.

    Args:
        image: uint8 or float32, 1 or 3 channels.
        patchSize: (width, height).
        center: (x, y).
        patch: None, or where the result goes too.
        patchType: -1, CV_8U or CV_32F.

    Raises:
        InputError: another dtype or size.
    """
    shape, dtype = look(image, "image", ("uint8", "float32"), (1, 3))
    width, height = size_of(patchSize, "patchSize")
    corner = (float(center[0]) - (width - 1) * 0.5, float(center[1]) - (height - 1) * 0.5)
    result = (height, width, *shape[2:])
    return made(
        "rectangle",
        [image],
        result,
        depth_of(-1 if patchType == -1 else patchType & 31, dtype),
        corner,
        patch,
    )
