"""Arrays beside NumPy on one thread: float32 operators, chains, reductions, moves, products; a small addition.

    python benchmarks/matrix.py [--size 1000000] [--repeat 25] [--markdown docs/benchmarks.md]

Medians of interleaved runs; ratio: Walle's time against NumPy's. A fused chain is compared with NumPy's plain expression.
The allocator keeps what NumPy's temporaries had, or each would begin with page faults, which may cost more than the arithmetic.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

# One thread; and memory that NumPy lets go stays with the process, as Walle's does: else its temporaries are paid in page faults.
SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_MMAP_THRESHOLD_": "268435456"}  # fmt: skip
if any(variable not in os.environ for variable in SETTINGS):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**SETTINGS, **os.environ})

import numpy as np  # noqa: E402 - after its settings
from report import machine, write_section  # noqa: E402

from walle_core import matrix as xp  # noqa: E402


@xp.fused
def chain_linear(a, b):
    return ((a * 2.0 + b) * b - a) * a


@xp.fused
def chain_root(a, b):
    return xp.sqrt(a * a + b * b) * 0.5 - a


@xp.fused
def chain_exp(a, b):
    return 1.0 / (1.0 + xp.exp(-(a * b)))


def cases(size: int) -> dict[str, list[tuple[str, Any, Any]]]:
    """Groups of (name, ours, NumPy's)."""
    rng = np.random.default_rng(0)
    na, nb = rng.random(size, dtype="f4"), rng.random(size, dtype="f4") + np.float32(0.5)
    a, b = xp.asarray(na), xp.asarray(nb)
    side = math.isqrt(size)
    nm, nr = na[: side * side].reshape(side, side), nb[:side]
    m, r = xp.asarray(nm), xp.asarray(nr)
    nk = rng.random((512, 512), dtype="f4")
    k = xp.asarray(nk)
    f = np.float32
    return {
        "elementwise": [
            ("a + b", lambda: a + b, lambda: na + nb),
            ("a * 2.5", lambda: a * 2.5, lambda: na * f(2.5)),
            ("a / b", lambda: a / b, lambda: na / nb),
            ("matrix + row", lambda: m + r, lambda: nm + nr),
            ("a < b", lambda: a < b, lambda: na < nb),
            ("maximum", lambda: xp.maximum(a, b), lambda: np.maximum(na, nb)),
            ("sqrt", lambda: xp.sqrt(a), lambda: np.sqrt(na)),
            ("exp", lambda: xp.exp(a), lambda: np.exp(na)),
            ("log", lambda: xp.log(b), lambda: np.log(nb)),
            ("tanh", lambda: xp.tanh(a), lambda: np.tanh(na)),
            ("sin", lambda: xp.sin(a), lambda: np.sin(na)),
            ("pow", lambda: b**a, lambda: nb**na),
        ],
        "chains of 5, not fused": [
            ("linear", lambda: chain_linear.__wrapped__(a, b), lambda: ((na * f(2) + nb) * nb - na) * na),
            ("root", lambda: chain_root.__wrapped__(a, b), lambda: np.sqrt(na * na + nb * nb) * f(0.5) - na),
            ("logistic", lambda: chain_exp.__wrapped__(a, b), lambda: f(1) / (f(1) + np.exp(-(na * nb)))),
        ],
        "chains of 5, fused": [
            ("linear", lambda: chain_linear(a, b), lambda: ((na * f(2) + nb) * nb - na) * na),
            ("root", lambda: chain_root(a, b), lambda: np.sqrt(na * na + nb * nb) * f(0.5) - na),
            ("logistic", lambda: chain_exp(a, b), lambda: f(1) / (f(1) + np.exp(-(na * nb)))),
        ],
        "reductions": [
            ("sum", lambda: xp.sum(a), lambda: np.sum(na)),
            ("sum, axis 0", lambda: xp.sum(m, axis=0), lambda: np.sum(nm, axis=0)),
            ("sum, axis 1", lambda: xp.sum(m, axis=1), lambda: np.sum(nm, axis=1)),
            ("max", lambda: xp.max(a), lambda: np.max(na)),
            ("mean", lambda: xp.mean(a), lambda: np.mean(na)),
            ("var", lambda: xp.var(a), lambda: np.var(na)),
        ],
        "moves": [
            ("transpose", lambda: m.T, lambda: np.ascontiguousarray(nm.T)),
            ("slice", lambda: m[::2, 1:], lambda: nm[::2, 1:].copy()),
            ("mask", lambda: a[a > 0.5], lambda: na[na > 0.5]),
            ("astype", lambda: xp.astype(a, xp.float64), lambda: na.astype("f8")),
        ],
        "products": [
            ("512 x 512 x 512", lambda: k @ k, lambda: nk @ nk),
            ("all x all, as a square matrix", lambda: m @ m, lambda: nm @ nm),
            ("square matrix x vector", lambda: m @ r, lambda: nm @ nr),
        ],
    }


def seconds(call: Any) -> float:
    """Time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def one_pass(size: int, repeat: int) -> float:
    """Seconds to read two float32 arrays and write a third one that is there already: what no chain of them can be faster than."""
    a, b, out = (np.ones(size, "f4") for _ in range(3))
    return statistics.median(seconds(lambda: np.add(a, b, out=out)) for _ in range(repeat))


def small(call: Any, repeat: int) -> float:
    """Seconds per call of something short."""
    runs = []
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(2000):
            call()
        runs.append((time.perf_counter() - start) / 2000)
    return statistics.median(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=25)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    lines = ["## Arrays beside NumPy", "", f"Made by `python benchmarks/matrix.py` on {date.today()}: {machine()}, {os.cpu_count()} cores, Python "
             f"{platform.python_version()}, 1 thread, float32, {options.size:,} elements, "
             f"NumPy {np.__version__}; medians of {options.repeat} interleaved runs.", "",
             "| what | walle, µs | NumPy, µs | ratio |", "|---|--:|--:|--:|"]  # fmt: skip
    together = []
    for group, rows in cases(options.size).items():
        ratios = []
        for name, ours, theirs in rows:
            ours(), theirs()
            runs = [(seconds(ours), seconds(theirs)) for _ in range(options.repeat)]
            x, y = (statistics.median(column) * 1e6 for column in zip(*runs, strict=True))
            ratios.append(x / y)
            lines.append(f"| {group}: {name} | {x:.0f} | {y:.0f} | {x / y:.2f} |")
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        lines.append(f"| **{group}, geometric mean** | | | **{mean:.2f}** |")
        together += ratios if group in ("chains of 5, fused", "products", "reductions") else []
    mean = math.exp(statistics.fmean(map(math.log, together)))
    lines.append(f"| **fused chains, products and reductions together** | | | **{mean:.2f}** |")
    pass_over = one_pass(options.size, options.repeat) * 1e6
    lines.append(f"| limit of a fused chain: one pass over two operands and a result | | {pass_over:.0f} | |")
    ten, numpy_ten = xp.arange(10, dtype=xp.float32), np.arange(10, dtype="f4")
    x, y = (
        small(lambda: ten + ten, options.repeat) * 1e6,
        small(lambda: numpy_ten + numpy_ten, options.repeat) * 1e6,
    )
    lines.append(f"| an addition of 10 elements | {x:.2f} | {y:.2f} | {x / y:.2f} |")
    print("\n".join(lines))
    if options.markdown:
        write_section(options.markdown, "matrix", lines)


if __name__ == "__main__":
    main()
