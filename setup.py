"""Compiles the .pyx files of walle_core; every other fact is in pyproject.toml."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

os.chdir(Path(__file__).parent)
MACROS = [("CYTHON_USE_MODULE_STATE", "1"), ("CYTHON_USE_TYPE_SPECS", "1")]
# With debug info, for which Python's own flags ask, wheels are four times as large.
DEBUG = bool(os.environ.get("WALLE_DEBUG"))
FLAGS = [
    "-O3",
    "-std=c++17",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-Wno-unused-function",
    *([] if DEBUG else ["-g0"]),
]
LINK = [] if DEBUG or sys.platform != "linux" else ["-s"]
HEADERS = [str(p) for p in sorted(Path("walle_core").rglob("*.hpp"))] + ["walle_core/include/walle/abi.h"]


# Without them the compiler must assume that each root and each comparison of floats has a side effect.
LOOPS = ["-fno-math-errno", "-fno-trapping-math"]


def extension(name: str, *sources: str, flags: tuple[str, ...] | list[str] = ()) -> Extension:
    """`name` is of a module in walle_core/_native, or dotted, from walle_core on."""
    module = f"walle_core.{name}" if "." in name else f"walle_core._native.{name}"
    return Extension(
        module,
        [f"{module.replace('.', '/')}.pyx", *sources],
        include_dirs=["walle_core/include", "walle_core/_native"],
        define_macros=MACROS,
        extra_compile_args=[*FLAGS, *flags],
        extra_link_args=["-pthread", *LINK] if sys.platform == "linux" else [],
        depends=HEADERS,
        language="c++",
    )


setup(
    ext_modules=cythonize(
        [
            extension("tensor"),
            extension("program", "walle_core/_native/isa_scalar.cpp"),
            extension("audio._audio"),
            extension("cv._structure"),
            extension("cv._pixels", *[f"walle_core/cv/level_{name}.cpp" for name in ("base", "v3", "v4")]),
            extension(
                "matrix._array",
                "walle_core/matrix/elementwise.cpp",
                "walle_core/matrix/reduce.cpp",
                flags=LOOPS,
            ),
            extension(
                "matrix._algorithms",
                *[f"walle_core/matrix/product_{name}.cpp" for name in ("base", "v3", "v4")],
            ),
            extension("vm._system"),
            extension("vm._interpreter"),
        ],
        build_dir="build/cython",
        language_level=3,
    ),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
