"""Decoding of compressed images, through Pillow."""

from __future__ import annotations

import io
import warnings
from typing import Any

from walle_core.errors import UnsupportedError
from walle_core.ops.define import atomic
from walle_core.ops.numpy_lazy import np
from walle_core.ops.rules import require, text

MODES = {"RGB": ("RGB", 3), "BGR": ("RGB", 3), "Grayscale": ("L", 1)}


@atomic("ImageDecoder", "image", dtypes=("uint8",))
def image_decoder(encoded_stream: Any, *, pixel_format: str | bytes = "RGB") -> Any:
    """Pixels [height, width, channels] uint8 of a compressed image; [0, 0, channels] if it cannot be decoded."""
    name = text(pixel_format)
    require(name in MODES, f"pixel_format {name!r} must be one of {', '.join(MODES)}")
    require(
        encoded_stream.dtype == np.uint8 and encoded_stream.ndim == 1, "the stream must be uint8 of rank 1"
    )
    try:
        from PIL import Image
    except ImportError:
        raise UnsupportedError("ImageDecoder needs Pillow; install it with: pip install pillow") from None
    mode, channels = MODES[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, which is not read
            with Image.open(io.BytesIO(encoded_stream.tobytes())) as image:
                pixels = np.asarray(image.convert(mode), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return np.zeros((0, 0, channels), np.uint8)
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    return np.ascontiguousarray(pixels[..., ::-1]) if name == "BGR" else pixels
