"""Colour spaces: cvtColor and cvtColorTwoPlane with OpenCV's codes."""

from __future__ import annotations

from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv.images import look, made
from walle_core.errors import InputError, UnsupportedError

_PERMUTED = {  # code: channels of the source, and where each channel of the result comes from (-1: opaque)
    0: (3, (0, 1, 2, -1)), 1: (4, (0, 1, 2)), 2: (3, (2, 1, 0, -1)), 3: (4, (2, 1, 0)), 4: (3, (2, 1, 0)),
    5: (4, (2, 1, 0, 3)), 8: (1, (0, 0, 0)), 9: (1, (0, 0, 0, -1)),
}  # fmt: skip
_FIVES = {  # code: function, place of blue, channels on the side that has colours, bits of green
    12: ("to_5x5", 0, 3, 6), 13: ("to_5x5", 2, 3, 6), 14: ("from_5x5", 0, 3, 6), 15: ("from_5x5", 2, 3, 6),
    16: ("to_5x5", 0, 4, 6), 17: ("to_5x5", 2, 4, 6), 18: ("from_5x5", 0, 4, 6), 19: ("from_5x5", 2, 4, 6),
    20: ("to_5x5", 0, 1, 6), 21: ("from_5x5", 0, 1, 6), 22: ("to_5x5", 0, 3, 5), 23: ("to_5x5", 2, 3, 5),
    24: ("from_5x5", 0, 3, 5), 25: ("from_5x5", 2, 3, 5), 26: ("to_5x5", 0, 4, 5), 27: ("to_5x5", 2, 4, 5),
    28: ("from_5x5", 0, 4, 5), 29: ("from_5x5", 2, 4, 5), 30: ("to_5x5", 0, 1, 5), 31: ("from_5x5", 0, 1, 5),
}  # fmt: skip
_GRAY = {6: (3, 0), 7: (3, 2), 10: (4, 0), 11: (4, 2)}  # code: channels, place of blue
_SPACES = {  # code: function, place of blue, further numbers
    32: ("to_xyz", 0, ()), 33: ("to_xyz", 2, ()), 34: ("from_xyz", 0, ()), 35: ("from_xyz", 2, ()),
    36: ("to_ycc", 0, (1,)), 37: ("to_ycc", 2, (1,)), 38: ("from_ycc", 0, (1,)), 39: ("from_ycc", 2, (1,)),
    82: ("to_ycc", 0, (0,)), 83: ("to_ycc", 2, (0,)), 84: ("from_ycc", 0, (0,)), 85: ("from_ycc", 2, (0,)),
}  # fmt: skip
_PERCEIVED = {  # code: function, place of blue, whether under sRGB's curve
    44: ("to_lab", 0, 1), 45: ("to_lab", 2, 1), 50: ("to_luv", 0, 1), 51: ("to_luv", 2, 1), 56: ("from_lab", 0, 1),
    57: ("from_lab", 2, 1), 58: ("from_luv", 0, 1), 59: ("from_luv", 2, 1), 74: ("to_lab", 0, 0), 75: ("to_lab", 2, 0),
    76: ("to_luv", 0, 0), 77: ("to_luv", 2, 0), 78: ("from_lab", 0, 0), 79: ("from_lab", 2, 0), 80: ("from_luv", 0, 0),
    81: ("from_luv", 2, 0),
}  # fmt: skip
_HUES = {  # code: function, place of blue, number of hues for bytes
    40: ("to_hsv", 0, 180), 41: ("to_hsv", 2, 180), 52: ("to_hls", 0, 180), 53: ("to_hls", 2, 180),
    54: ("from_hsv", 0, 180), 55: ("from_hsv", 2, 180), 60: ("from_hls", 0, 180), 61: ("from_hls", 2, 180),
    66: ("to_hsv", 0, 256), 67: ("to_hsv", 2, 256), 68: ("to_hls", 0, 255), 69: ("to_hls", 2, 255),
    70: ("from_hsv", 0, 255), 71: ("from_hsv", 2, 255), 72: ("from_hls", 0, 255), 73: ("from_hls", 2, 255),
}  # fmt: skip
_HALVED = {  # code: place of blue, channels, whether planes, whether v comes first
    90: (2, 3, 0, 0), 91: (0, 3, 0, 0), 92: (2, 3, 0, 1), 93: (0, 3, 0, 1), 94: (2, 4, 0, 0), 95: (0, 4, 0, 0),
    96: (2, 4, 0, 1), 97: (0, 4, 0, 1), 98: (2, 3, 1, 1), 99: (0, 3, 1, 1), 100: (2, 3, 1, 0), 101: (0, 3, 1, 0),
    102: (2, 4, 1, 1), 103: (0, 4, 1, 1), 104: (2, 4, 1, 0), 105: (0, 4, 1, 0),
}  # fmt: skip
_HALVING = {127: (2, 3, 0), 128: (0, 3, 0), 129: (2, 4, 0), 130: (0, 4, 0), 131: (2, 3, 1), 132: (0, 3, 1),
            133: (2, 4, 1), 134: (0, 4, 1)}  # fmt: skip
_PAIRED = {  # code: place of blue, channels, place of luma in a pixel, of u in two
    107: (2, 3, 1, 0), 108: (0, 3, 1, 0), 111: (2, 4, 1, 0), 112: (0, 4, 1, 0), 115: (2, 3, 0, 1), 116: (0, 3, 0, 1),
    117: (2, 3, 0, 3), 118: (0, 3, 0, 3), 119: (2, 4, 0, 1), 120: (0, 4, 0, 1), 121: (2, 4, 0, 3), 122: (0, 4, 0, 3),
}  # fmt: skip
_PAIRED_LUMA = {123: 1, 124: 0}  # code: place of luma in a pixel
_ALPHA = {125: 0, 126: 1}  # code: whether back
_FULL = ("uint8", "uint16", "float32")
_LUMA = 106  # YUV2GRAY_420


__all__ = ["cvtColor", "cvtColorTwoPlane"]


def cvtColor(src: Any, code: int, dst: Any = None, dstCn: int = 0) -> Tensor:
    """An image in another colour space.

    Args:
        src: H × W × C of uint8, uint16 or float32 (0 to 1), as the code has them; 4:2:0 codes take uint8 3/2 H × W, 4:2:2
            codes uint8 H × W × 2.
        code: one of COLOR_...
        dst: None, or where the result goes too.
        dstCn: channels of a colour result, 0 for the code's own; 3 or 4.

    Returns:
        An image of the same dtype. Hues of bytes are halved (0 to 179), or fill the byte (codes with FULL); of float32
        they are degrees.

    Raises:
        UnsupportedError: a code that is not there.
        InputError: an image that the code does not take.
    """
    if code in _PERMUTED:
        count, order = _PERMUTED[code]
        shape, dtype = look(src, dtypes=_FULL, channels=(count,))
        return made("permute", [src], (*shape[:2], len(order)), dtype, order, dst)
    if code in _GRAY:
        count, blue = _GRAY[code]
        shape, dtype = look(src, dtypes=_FULL, channels=(count,))
        return made("to_gray", [src], shape[:2], dtype, (blue,), dst)
    if code in _SPACES:
        name, blue, more = _SPACES[code]
        shape, dtype = look(src, dtypes=_FULL, channels=(3, 4) if name.startswith("to") else (3,))
        return made(name, [src], (*shape[:2], _channels(dstCn, name)), dtype, (blue, *more), dst)
    if code in _HUES or code in _PERCEIVED:
        name, blue, number = _HUES.get(code) or _PERCEIVED[code]
        shape, dtype = look(
            src, dtypes=("uint8", "float32"), channels=(3, 4) if name.startswith("to") else (3,)
        )
        args = (blue, 360 if code in _HUES and dtype == "float32" else number)
        return made(name, [src], (*shape[:2], _channels(dstCn, name)), dtype, args, dst)
    if code in _FIVES:
        name, blue, count, green = _FIVES[code]
        shape, dtype = look(src, dtypes=("uint8",), channels=(count if name == "to_5x5" else 2,))
        result = (*shape[:2], 2) if name == "to_5x5" else shape[:2] if count == 1 else (*shape[:2], count)
        return made(name, [src], result, dtype, (blue, green), dst)
    if code in _HALVED or code == _LUMA:
        shape, dtype = look(src, dtypes=("uint8",), channels=(1,))
        if shape[0] % 3 or shape[1] % 2:
            raise InputError(f"src has shape {shape}; 4:2:0 images have 3/2 H rows of an even width")
        result = (shape[0] * 2 // 3, shape[1])
        if code == _LUMA:
            return made("paste", [src], result, dtype, (0, 0), dst)
        blue, count, planes, swapped = _HALVED[code]
        return made("from_420", [src], (*result, count), dtype, (blue, planes, swapped), dst)
    if code in _PAIRED or code in _PAIRED_LUMA:
        shape, dtype = look(src, dtypes=("uint8",), channels=(2,))
        if shape[1] % 2:
            raise InputError(f"src has shape {shape}; 4:2:2 images have an even width")
        if code in _PAIRED_LUMA:
            return made("permute", [src], shape[:2], dtype, (_PAIRED_LUMA[code],), dst)
        blue, count, luma, u = _PAIRED[code]
        return made("from_422", [src], (*shape[:2], count), dtype, (blue, luma, u), dst)
    if code in _ALPHA:
        shape, dtype = look(src, dtypes=("uint8",), channels=(4,))
        return made("times_alpha", [src], shape, dtype, (_ALPHA[code],), dst)
    if code in _HALVING:
        blue, count, swapped = _HALVING[code]
        shape, dtype = look(src, dtypes=("uint8",), channels=(count,))
        if shape[0] % 2 or shape[1] % 2:
            raise InputError(f"src has shape {shape}; both sides must be even for 4:2:0")
        return made("to_420", [src], (shape[0] * 3 // 2, shape[1]), dtype, (blue, 1, swapped), dst)
    raise UnsupportedError(f"there is no colour conversion {code!r}; see docs/cv.md for those that are there")


def _channels(asked: int, function: str) -> int:
    if asked not in (0, 3, 4) or (asked == 4 and function.startswith("to")):
        raise InputError(f"dstCn is {asked}; it must be 0 or 3, or 4 for colours")
    return asked or 3


def cvtColorTwoPlane(src1: Any, src2: Any, code: int, dst: Any = None) -> Tensor:
    """Colours from luma (H × W) and pairs of colour (H/2 × W/2 × 2), uint8: NV12 and NV21.

    Raises:
        UnsupportedError: another code than COLOR_YUV2..._NV12 or ..._NV21.
        InputError: images of other sizes or dtypes.
    """
    if code not in _HALVED or _HALVED[code][2]:
        raise UnsupportedError(f"code {code!r} is not one of COLOR_YUV2..._NV12 and ..._NV21")
    shape, dtype = look(src1, "src1", ("uint8",), (1,))
    pairs, _ = look(src2, "src2", ("uint8",), (2,))
    if pairs[:2] != (shape[0] // 2, shape[1] // 2) or shape[0] % 2 or shape[1] % 2:
        raise InputError(f"src1 is {shape}, src2 {pairs}; src2 must have half the sides, which must be even")
    blue, count, _, swapped = _HALVED[code]
    return made("from_420", [src1, src2], (*shape[:2], count), dtype, (blue, 0, swapped), dst)
