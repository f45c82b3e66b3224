"""Compiles the trigger engine and the packing of events; all else is in pyproject.toml."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

os.chdir(Path(__file__).resolve().parent)
CSRC = Path("src/walle_pipeline/csrc")
# With debug info, for which Python's own flags ask, wheels are four times as large.
DEBUG = bool(os.environ.get("WALLE_DEBUG"))

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"walle_pipeline.{name}",
                [f"src/walle_pipeline/{name}.pyx"],
                include_dirs=[str(CSRC)],
                define_macros=[("CYTHON_USE_MODULE_STATE", "1"), ("CYTHON_USE_TYPE_SPECS", "1")],
                extra_compile_args=["-O3", "-std=c++17", "-fvisibility=hidden", *([] if DEBUG else ["-g0"])],
                extra_link_args=[] if DEBUG or sys.platform != "linux" else ["-s"],
                depends=[
                    str(path) for path in (*sorted(CSRC.glob("*.hpp")), *sorted(CSRC.parent.glob("*.p?[di]")))
                ],
                language="c++",
            )
            for name in ("_engine", "_packing")
        ],
        include_path=["src"],
        build_dir="build/cython",
    )
)
