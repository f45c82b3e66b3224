"""Image files through Pillow, the optional extra `image`; channels in OpenCV's order."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv._pixels import run
from walle_core.cv.color import cvtColor
from walle_core.cv.images import look
from walle_core.errors import InputError, UnsupportedError

__all__ = [
    "IMREAD_ANYCOLOR",
    "IMREAD_ANYDEPTH",
    "IMREAD_COLOR",
    "IMREAD_COLOR_BGR",
    "IMREAD_COLOR_RGB",
    "IMREAD_GRAYSCALE",
    "IMREAD_IGNORE_ORIENTATION",
    "IMREAD_UNCHANGED",
    "IMWRITE_JPEG_QUALITY",
    "IMWRITE_PNG_COMPRESSION",
    "IMWRITE_WEBP_QUALITY",
    "haveImageReader",
    "haveImageWriter",
    "imdecode",
    "imencode",
    "imread",
    "imwrite",
]

IMREAD_UNCHANGED, IMREAD_GRAYSCALE, IMREAD_COLOR, IMREAD_ANYDEPTH, IMREAD_ANYCOLOR = -1, 0, 1, 2, 4
IMREAD_IGNORE_ORIENTATION, IMREAD_COLOR_RGB = 128, 256
IMREAD_COLOR_BGR = IMREAD_COLOR
IMWRITE_JPEG_QUALITY, IMWRITE_PNG_COMPRESSION, IMWRITE_WEBP_QUALITY = 1, 16, 64
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".dib": "BMP",
            ".tif": "TIFF", ".tiff": "TIFF", ".pgm": "PPM", ".ppm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".gif": "GIF"}  # fmt: skip


def _pillow() -> Any:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UnsupportedError(
            "reading and writing image files needs Pillow; pip install 'walle-core[image]'"
        ) from error
    return Image, ImageOps


def imread(filename: str | os.PathLike[str], flags: int = IMREAD_COLOR_BGR) -> Tensor | None:
    """The image in a file, as `imdecode` gives it; None if the file is not there or is no image, as in OpenCV.

    Raises:
        InputError: more pixels than Pillow takes for an honest image.
        UnsupportedError: Pillow is not installed.
    """
    _pillow()
    try:
        with open(os.fspath(filename), "rb") as file:  # not a descriptor
            data = file.read()
    except OSError:
        return None
    return imdecode(data, flags)


def imdecode(buf: Any, flags: int) -> Tensor | None:
    """An image from the bytes of a file: H × W × 3 in the order blue, green, red; None if they are no image.

    Args:
        buf: bytes, or a buffer of uint8.
        flags: IMREAD_COLOR; IMREAD_GRAYSCALE for H × W; IMREAD_COLOR_RGB; IMREAD_UNCHANGED keeps alpha and uint16.
            Files that say how they are to be turned are turned, unless IMREAD_UNCHANGED or IMREAD_IGNORE_ORIENTATION.

    Raises:
        InputError: `buf` has no bytes to read; more pixels than Pillow takes for an honest image.
        UnsupportedError: Pillow is not installed.
    """
    image_module, operations = _pillow()
    try:
        data = bytes(memoryview(buf))
    except TypeError as error:
        raise InputError(f"imdecode takes the bytes of a file, not {type(buf).__name__}") from error
    try:
        with image_module.open(io.BytesIO(data)) as image:
            unchanged = flags == IMREAD_UNCHANGED
            if not unchanged and not flags & IMREAD_IGNORE_ORIENTATION:
                image = operations.exif_transpose(image)
            return _tensor(image, flags, unchanged)
    except image_module.DecompressionBombError as error:
        raise InputError(f"the image is refused: {error}") from error
    except (OSError, SyntaxError, ValueError):
        return None


def haveImageReader(filename: str | os.PathLike[str]) -> bool:
    """Whether the file is there and begins as an image that `imread` reads. Raises UnsupportedError without Pillow."""
    image_module, _ = _pillow()
    try:
        with image_module.open(os.fspath(filename)):
            return True
    except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError):
        return False


def haveImageWriter(filename: str | os.PathLike[str]) -> bool:
    """Whether `imwrite` has an encoder for the file's ending."""
    return os.path.splitext(os.fspath(filename))[1].lower() in _FORMATS  # noqa: PTH122


def _tensor(image: Any, flags: int, unchanged: bool) -> Tensor:
    deep = image.mode.startswith("I;16")
    if deep:
        grey = Tensor.wrap(image.tobytes(), "uint16", (image.height, image.width)).copy()
        if unchanged or (flags & IMREAD_ANYDEPTH and not flags & IMREAD_COLOR):
            return grey
        shallow = run("scale", [grey], Tensor(grey.shape, "uint8", zero=False), (1 / 256, -0.498, 0))
        return shallow if not flags & (IMREAD_COLOR | IMREAD_COLOR_RGB) else cvtColor(shallow, 8)
    wanted = "RGB"
    if unchanged:
        wanted = (
            "L"
            if image.mode in ("L", "1")
            else "RGBA"
            if "A" in image.mode or "transparency" in image.info
            else "RGB"
        )
    elif image.mode in ("L", "1"):
        wanted = "L"
    image = image.convert(wanted)
    shape = (image.height, image.width) if wanted == "L" else (image.height, image.width, len(wanted))
    pixels = Tensor.wrap(image.tobytes(), "uint8", shape).copy()
    if wanted == "RGBA":
        return cvtColor(pixels, 5)
    grey_wanted = not unchanged and not flags & (IMREAD_COLOR | IMREAD_COLOR_RGB | IMREAD_ANYCOLOR)
    if wanted == "L":
        return (
            pixels
            if grey_wanted or unchanged or not flags & (IMREAD_COLOR | IMREAD_COLOR_RGB)
            else cvtColor(pixels, 8)
        )
    return (
        cvtColor(pixels, 7)
        if grey_wanted
        else pixels
        if flags & IMREAD_COLOR_RGB and not unchanged
        else cvtColor(pixels, 4)
    )


def imencode(ext: str, img: Any, params: Sequence[int] | None = None) -> tuple[bool, Tensor]:
    """(True, the bytes of a file with the image).

    Args:
        ext: the format, as ".jpg" or ".png".
        img: uint8 with 1, 3 (blue, green, red) or 4 channels; uint16 with 1 channel for PNG and TIFF.
        params: pairs of IMWRITE_... and a number: JPEG's quality (0 to 100, 95), PNG's compression (0 to 9), WebP's quality.

    Raises:
        InputError: an image that the format cannot hold.
        UnsupportedError: another format; Pillow is not installed.
    """
    image_module, _ = _pillow()
    if not isinstance(ext, str):
        raise InputError(f"ext is {ext!r}; it must be an ending such as '.png'")
    kind = _FORMATS.get(ext.lower() if ext.startswith(".") else f".{ext.lower()}")
    if kind is None:
        raise UnsupportedError(f"there is no encoder for {ext!r}; use one of {', '.join(sorted(_FORMATS))}")
    shape, dtype = look(img, "img", ("uint8", "uint16"), (1, 3, 4))
    count = shape[2] if len(shape) == 3 else 1
    if dtype == "uint16" and (count > 1 or kind not in ("PNG", "TIFF")):
        raise InputError("uint16 images need one channel and PNG or TIFF; convert to uint8")
    pixels = (
        cvtColor(img, {3: 4, 4: 5}[count]) if count > 1 else run("paste", [img], Tensor(shape, dtype), (0, 0))
    )
    mode = "I;16" if dtype == "uint16" else {1: "L", 3: "RGB", 4: "RGBA"}[count]
    image = image_module.frombytes(mode, (shape[1], shape[0]), pixels.tobytes())
    if count == 4 and kind == "JPEG":
        image = image.convert("RGB")
    numbers = dict(zip((params or ())[::2], (params or ())[1::2], strict=True))
    options: dict[str, Any] = {}
    if kind == "JPEG":
        options = {"quality": int(numbers.get(IMWRITE_JPEG_QUALITY, 95)), "subsampling": 2}
    elif kind == "PNG":
        options = {"compress_level": int(numbers.get(IMWRITE_PNG_COMPRESSION, 1))}
    elif kind == "WEBP":
        quality = int(numbers.get(IMWRITE_WEBP_QUALITY, 101))
        options = {"lossless": quality > 100, "quality": min(quality, 100)}
    target = io.BytesIO()
    image.save(target, kind, **options)
    data = target.getvalue()
    return True, Tensor.wrap(data, "uint8", (len(data),)).copy()


def imwrite(filename: str | os.PathLike[str], img: Any, params: Sequence[int] | None = None) -> bool:
    """Writes an image to a file whose ending names the format. Raises as `imencode`; OSError if it cannot be written."""
    data = imencode(os.path.splitext(os.fspath(filename))[1], img, params)[1]  # noqa: PTH122
    with open(filename, "wb") as file:
        file.write(data.tobytes())
    return True
