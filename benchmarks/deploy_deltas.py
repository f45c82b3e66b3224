"""Deltas in numbers: what each codec makes of kinds of change, how long it takes to make and to apply.

    python benchmarks/deploy_deltas.py [--models FOLDER] [--markdown docs/benchmarks.md]

Prints a markdown table. The models are those of `--models`, WALLE_MODELS, or ../shared/models; without them, only made
files are measured. Wants `walle-deploy`, and `onnx` for the models.
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from report import machine, write_section
from walle_deploy.deltas.contract import codecs

Pair = tuple[str, bytes, bytes]
WEIGHTS = 1 << 20
SLOW = 8 << 20  # bytes over which bsdiff is left out: it takes minutes
MODELS = ("rfb320_face", "mobilenetv2_imagenet_qdq", "squeezenet11_imagenet", "mobilenetv2_imagenet")
chance = np.random.default_rng(0)


def nudged(weights: npt.NDArray[np.float32], by: float = 1e-3) -> npt.NDArray[np.float32]:
    """Every weight changed by about a thousandth, as a few steps of training do."""
    return (weights * (1 + by * chance.standard_normal(weights.shape))).astype(weights.dtype)


def sparse(weights: npt.NDArray[np.float32], share: float = 0.01) -> npt.NDArray[np.float32]:
    """Some weights changed a lot."""
    made = weights.reshape(-1).copy()
    made[chance.choice(made.size, int(made.size * share), replace=False)] += 0.01
    return made.reshape(weights.shape)


def scattered(weights: npt.NDArray[np.float32], share: float = 0.01) -> npt.NDArray[np.float32]:
    """Some weights changed, each by another amount."""
    made = weights.reshape(-1).copy()
    at = chance.choice(made.size, int(made.size * share), replace=False)
    made[at] += (0.01 * chance.standard_normal(at.size)).astype(weights.dtype)
    return made.reshape(weights.shape)


def stepped(weights: npt.NDArray[np.int8], share: float = 0.01) -> npt.NDArray[np.int8]:
    """Some quantised weights changed by one."""
    made = weights.reshape(-1).copy()
    at = chance.choice(made.size, int(made.size * share), replace=False)
    made[at] ^= 1
    return made.reshape(weights.shape)


def rows(weights: npt.NDArray[np.float32], share: float = 0.12) -> npt.NDArray[np.float32]:
    """Some rows of 64 trained anew: rows of an embedding."""
    made = weights.reshape(-1, 64).copy()
    at = chance.choice(len(made), int(len(made) * share), replace=False)
    made[at] = nudged(made[at], 0.05)
    return made.reshape(weights.shape)


def script() -> Pair:
    lines = [
        f"def feature_{n}(events):\n    return sum(e.{chance.choice(list('abcdef'))} for e in events) + {n}\n"
        for n in range(900)
    ]
    text = "\n".join(lines)
    return "one line of a script", text.encode(), text.replace("events) + 500", "events) + 501").encode()


def made() -> Iterator[Pair]:
    weights = chance.standard_normal(WEIGHTS).astype("f4")
    old = weights.tobytes()
    yield "1 % of weights", old, sparse(weights).tobytes()
    yield "1 % of weights, by amounts of their own", old, scattered(weights).tobytes()
    yield "12 % of rows", old, rows(weights).tobytes()
    yield "all nudged by 0.1 %", old, nudged(weights).tobytes()
    yield "all nudged by 1 %", old, nudged(weights, 1e-2).tobytes()
    yield (
        "all nudged by 0.1 %, a longer header",
        b"version 1" + old,
        b"version 1, then" + nudged(weights).tobytes(),
    )
    half = weights.astype("f2")
    yield "fp16, all nudged by 0.1 %", half.tobytes(), nudged(half).tobytes()
    small = (30 * weights).astype("i1")
    yield "int8, 1 % by one", small.tobytes(), stepped(small).tobytes()
    yield script()


def changed(
    path: Path, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], quantised: bool = False
) -> bytes:
    """A model with all its float weights changed, or all its quantised ones, and a longer header."""
    import onnx
    from onnx import numpy_helper

    kinds = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) if quantised else (onnx.TensorProto.FLOAT,)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type in kinds and tensor.raw_data:
            weights = numpy_helper.to_array(tensor)
            tensor.raw_data = change(weights).astype(weights.dtype).tobytes()
    model.producer_version = f"{model.producer_version}.1 fine-tuned"
    return bytes(model.SerializeToString())


def models(folder: Path) -> Iterator[Pair]:
    for name in MODELS:
        path = folder / "real" / f"{name}.onnx"
        if path.exists():
            old = path.read_bytes()
            yield f"{name}: all nudged by 0.1 %", old, changed(path, nudged)
            yield f"{name}: all nudged by 0.01 %", old, changed(path, lambda weights: nudged(weights, 1e-4))
            yield f"{name}: 1 % of weights", old, changed(path, sparse)
            if "qdq" in name:
                yield f"{name}: 1 % of quantised weights", old, changed(path, stepped, True)


def median_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return statistics.median(times)


def row(pair: Pair) -> str:
    """Bytes, share of the full file, make and apply of each codec; the smallest in bold."""
    what, old, new = pair
    cells: dict[str, tuple[int, str]] = {}
    for name, codec in codecs().items():
        if name == "bsdiff" and len(new) > SLOW:
            continue
        start = time.thread_time()
        delta = codec.make(old, new)
        took = time.thread_time() - start
        if delta is not None:
            assert codec.apply(old, delta, len(new)) == new
            apply = median_s(lambda codec=codec, delta=delta: codec.apply(old, delta, len(new)))
            cells[name] = len(delta), f"{len(delta):,} ({took:.2g} s / {apply * 1e3:.3g} ms)"
    full = cells["full"][0]
    best = min(cells, key=lambda name: cells[name][0])
    texts = [f"**{cells[n][1]}**" if n == best else cells.get(n, (0, "–"))[1] for n in codecs()]
    return "| " + " | ".join([what, f"{len(new):,}", *texts, f"{100 * cells[best][0] / full:.2g} %"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("WALLE_MODELS", Path(__file__).parents[2] / "shared" / "models")
    parser.add_argument("--models", type=Path, default=default)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    lines = [
        "## Deltas",
        "",
        f"{machine()}, {date.today().isoformat()}; bytes (processor time to make / to apply); the last column is the smallest delta's",
        "share of the whole file compressed. Nudges are relative and normally distributed. bsdiff is left out over 8 MiB.",
        "",
        "| change | file | " + " | ".join(codecs()) + " | of full |",
        "| --- " * (len(codecs()) + 3) + "|",
    ]
    print(*lines, sep="\n", flush=True)
    for pair in (*made(), *models(Path(options.models))):
        lines.append(row(pair))
        print(lines[-1], flush=True)
    if not (Path(options.models) / "real").exists():
        lines.append(f"\nNo models in {options.models}.")
        print(lines[-1])
    if options.markdown:
        write_section(options.markdown, "deploy_deltas", lines)


if __name__ == "__main__":
    main()
