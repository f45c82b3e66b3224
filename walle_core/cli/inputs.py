"""Files to model inputs: arrays (.npz, .npy), images, sounds (.wav)."""

from __future__ import annotations

import warnings
import wave
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from walle_core.errors import InputError
from walle_core.graph.ir import Graph
from walle_core.ops.numpy_lazy import np
from walle_core.types import TensorSpec

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_SCALE = (58.395, 57.12, 57.375)
ARRAYS = {".npy", ".npz"}
SOUNDS = {".wav", ".wave"}
# what NumPy raises for a damaged file, or one that declares more than there is memory for
DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
)


@attrs.frozen
class ImageOptions:
    """How a picture becomes a tensor: (pixel - mean) / scale, pixels 0..255.

    Attributes:
        mean, scale: per channel, or one for all; None: ImageNet's for 3 float channels, 0 and 255 for 1, raw for uint8.
        layout: ``NCHW``, ``NHWC`` or None: by the position of the axis of size 1 or 3.
        channels: ``rgb`` or ``bgr``.
        fit: ``stretch`` to the model's size, or ``crop`` the middle after resizing the short side.
    """

    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    layout: str | None = None
    channels: str = "rgb"
    fit: str = "stretch"


def required(graph: Graph) -> dict[str, TensorSpec]:
    """Inputs that a run must be given."""
    return {name: graph.specs[name] for name in graph.inputs if name not in graph.constants}


def collect(
    graph: Graph,
    files: Sequence[str],
    bundle: str | None = None,
    values: Sequence[str] = (),
    *,
    image: ImageOptions | None = None,
    zeros: bool = False,
) -> dict[str, Any]:
    """Input name -> NumPy array.

    Args:
        graph: the model.
        files: ``path`` or ``name=path``; a path without a name goes to the next input that is still open.
        bundle: .npz with ``name`` or ``in_name`` arrays.
        values: ``name=number``.
        image: how pictures are converted.
        zeros: fills inputs that nothing was given for (sizes that are not fixed become 1).

    Raises:
        InputError: an unknown name, a file that cannot be read or does not fit, an input without data.
    """
    wanted = required(graph)
    feeds: dict[str, Any] = dict(_bundle(bundle, wanted)) if bundle else {}
    for text in values:
        name, _, number = text.partition("=")
        spec = _known(name, wanted)
        try:
            feeds[name] = np.full(
                [d if isinstance(d, int) else 1 for d in spec.shape or ()], float(number), spec.dtype.name
            )
        except ValueError:
            raise InputError(f"--set {text}: give a number, for example --set {name}=16000") from None
    for text in files:
        name, _, path = text.rpartition("=") if text.partition("=")[0] in wanted else ("", "", text)
        suffix = Path(path).suffix.lower()
        if not Path(path).is_file():
            raise InputError(f"input file {path} does not exist")
        if suffix == ".npz" and not name:
            feeds.update(_bundle(path, wanted))
            continue
        name = name or _open_input(wanted, feeds, suffix, path)
        feeds[name] = _read(path, suffix, name, wanted[name], image or ImageOptions())
        if suffix in SOUNDS:
            _sample_rate(path, wanted, feeds)
    for name in [n for n in wanted if n not in feeds]:
        spec = wanted[name]
        if not zeros or spec.shape is None:
            raise InputError(
                f"input {name!r} {spec} has no data: give --input {name}=FILE, --set {name}=NUMBER or --zeros"
            )
        feeds[name] = np.zeros([d if isinstance(d, int) else 1 for d in spec.shape], spec.dtype.name)
    return feeds


def _known(name: str, wanted: Mapping[str, TensorSpec]) -> TensorSpec:
    if name not in wanted:
        raise InputError(f"the model has no input {name!r}; it has: {', '.join(wanted) or 'none'}")
    return wanted[name]


def _bundle(path: str, wanted: Mapping[str, TensorSpec]) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files if not key.startswith("out_")}
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read as .npz: {error}") from error
    named = {
        key.removeprefix("in_") if key.removeprefix("in_") in wanted else key: v for key, v in arrays.items()
    }
    if not set(named) & set(wanted) and len(named) == 1 == len(wanted):
        return dict(zip(wanted, named.values(), strict=True))
    for name in named:
        _known(name, wanted)
    return named


def _open_input(wanted: Mapping[str, TensorSpec], feeds: Mapping[str, Any], suffix: str, path: str) -> str:
    is_open = [n for n in wanted if n not in feeds]
    if suffix not in ARRAYS:  # media never go to a scalar or an integer side input
        is_open = [n for n in is_open if wanted[n].shape != () and wanted[n].dtype.kind in "fu"] or is_open
    if not is_open:
        raise InputError(f"no input is left for {path}: the model has {', '.join(wanted) or 'none'}")
    return is_open[0]


def _read(path: str, suffix: str, name: str, spec: TensorSpec, image: ImageOptions) -> Any:
    if suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except DAMAGED as error:
            raise InputError(f"{path} cannot be read as .npy: {error}") from error
    if suffix in SOUNDS:
        return sound(path, name, spec)
    return picture(path, name, spec, image)


def picture(path: str, name: str, spec: TensorSpec, options: ImageOptions) -> Any:
    """A picture as the tensor that `spec` asks for. Raises InputError if it is no picture or the spec no image."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise InputError(f"reading {path} needs Pillow: pip install 'walle-core[image]'") from None
    layout, channels, height, width = image_shape(name, spec, options.layout)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, which is not read
            with Image.open(path) as opened:
                picture = opened.convert("RGB" if channels == 3 else "L")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} is neither an array (.npz, .npy), a sound (.wav) nor a readable picture: {error}"
        ) from None
    height, width = height or picture.height, width or picture.width
    if options.fit == "crop":
        factor = max(width / picture.width, height / picture.height)
        size = (max(width, round(picture.width * factor)), max(height, round(picture.height * factor)))
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        picture = picture.resize(size, Image.Resampling.BILINEAR).crop(
            (left, top, left + width, top + height)
        )
    else:
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture).reshape(height, width, channels)
    if options.channels == "bgr":
        pixels = pixels[:, :, ::-1]
    if spec.dtype.kind == "f" or options.mean is not None or options.scale is not None:
        mean = options.mean if options.mean is not None else IMAGENET_MEAN if channels == 3 else (0.0,)
        scale = options.scale if options.scale is not None else IMAGENET_SCALE if channels == 3 else (255.0,)
        for what, row in (("mean", mean), ("scale", scale)):
            if len(row) not in (1, channels) or (what == "scale" and 0 in row):
                raise InputError(f"--{what} needs 1 or {channels} numbers that are not 0, has {row}")
        pixels = (pixels - np.asarray(mean, np.float32)) / np.asarray(scale, np.float32)
    if layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    shaped = pixels[None] if spec.shape is None or len(spec.shape) == 4 else pixels
    return np.ascontiguousarray(shaped, spec.dtype.name)


def image_shape(name: str, spec: TensorSpec, layout: str | None) -> tuple[str, int, int, int]:
    """(layout, channels, height, width) of an image input; height and width are 0 where any size is accepted."""
    shape = spec.shape
    if shape is None or len(shape) not in (3, 4):
        raise InputError(f"input {name!r} {spec} is no image: it needs 3 or 4 dimensions")
    dims = [d if isinstance(d, int) else 0 for d in shape[-3:]]
    if layout is None:
        if dims[0] in (1, 3):
            layout = "NCHW"
        elif dims[2] in (1, 3):
            layout = "NHWC"
        else:
            raise InputError(f"input {name!r} {spec}: no axis has 1 or 3 channels; say --layout NCHW or NHWC")
    channels, height, width = dims if layout == "NCHW" else (dims[2], dims[0], dims[1])
    if channels not in (0, 1, 3):
        raise InputError(
            f"input {name!r} {spec} with layout {layout} has {channels} channels; a picture has 1 or 3"
        )
    return layout, channels or 3, height, width


def sound(path: str, name: str, spec: TensorSpec) -> Any:
    """A PCM .wav file as mono samples in -1..1, cut or padded with silence to the size that `spec` fixes."""
    try:
        with wave.open(path, "rb") as file:
            width, channels, raw = (
                file.getsampwidth(),
                file.getnchannels(),
                file.readframes(file.getnframes()),
            )
    except (wave.Error, EOFError, OSError) as error:
        raise InputError(f"{path} is no PCM .wav file: {str(error) or 'it ends too soon'}") from error
    if width == 3:
        wide = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        samples = (np.pad(wide, ((0, 0), (1, 0))).reshape(-1).view("<i4") / 2**31).astype(np.float32)
    elif width == 1:
        samples = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128
    else:
        samples = np.frombuffer(raw, f"<i{width}").astype(np.float32) / float(2 ** (8 * width - 1))
    mono = samples.reshape(-1, channels).mean(1)
    shape = spec.shape or ("n",)
    large = [i for i, d in enumerate(shape) if not isinstance(d, int) or d > 1]
    if len(large) > 2 or (len(large) == 2 and isinstance(shape[large[0]], int)):
        raise InputError(
            f"input {name!r} {spec} takes no raw sound (features?): prepare it and pass an .npy file"
        )
    length = shape[-1]
    if isinstance(length, int):
        mono = np.pad(mono[:length], (0, max(0, length - mono.size)))
    return np.ascontiguousarray(mono.reshape((1,) * (len(shape) - 1) + (-1,)), spec.dtype.name)


def _sample_rate(path: str, wanted: Mapping[str, TensorSpec], feeds: dict[str, Any]) -> None:
    for name, spec in wanted.items():
        if (
            name not in feeds
            and spec.dtype.kind == "i"
            and spec.shape in ((), (1,))
            and name.lower() in {"sr", "sample_rate"}
        ):
            with wave.open(path, "rb") as file:
                feeds[name] = np.full(spec.shape or (), file.getframerate(), spec.dtype.name)
