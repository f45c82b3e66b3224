"""Compiles one static library per ISA and the module that hands their tables over; all else is in pyproject.toml."""

import os
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
os.chdir(HERE)
CSRC = Path("src/walle_backend_neon/csrc")
VENDORED = CSRC / "_vendor"

# Best first. The probe at run time asks the CPU for exactly the features that the compiler was allowed to use.
ISA_FEATURES = {
    "neoni8mm": ("fp16", "dotprod", "bf16", "i8mm"),
    "neonbf16": ("fp16", "dotprod", "bf16"),
    "neondot": ("fp16", "dotprod"),
    "neonfp16": ("fp16",),
    "neon": (),
}
# An ISA whose table has only the rows that its further features change, and the ISA that it takes the others from.
ISA_EXTENDS = {"neoni8mm": "neonbf16", "neonbf16": "neondot", "neondot": "neonfp16", "neonfp16": "neon"}
# With debug info, for which Python's own flags ask, wheels are four times as large.
DEBUG = bool(os.environ.get("WALLE_DEBUG"))
FLAGS = ["-O3", "-std=c++17", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-Wno-unused-function"]
DEBUG_FLAGS = [] if DEBUG else ["-g0"]  # apart: benchmarks/inner_loops.py reads FLAGS as a literal
LINK = [] if DEBUG or sys.platform != "linux" else ["-s"]
MACROS = [("CYTHON_USE_MODULE_STATE", "1"), ("CYTHON_USE_TYPE_SPECS", "1")]


def core_include() -> Path:
    """Folder of walle's C++ headers: given, in this repository, in this sdist, or of the installed walle-core."""
    for path in (os.environ.get("WALLE_INCLUDE"), HERE.parents[1] / "walle_core/include", HERE / VENDORED):
        if path and Path(path, "walle/abi.h").is_file():
            return Path(path)
    spec = find_spec("walle_core")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "walle's headers were not found: set WALLE_INCLUDE to walle_core/include, or install walle-core"
        )
    return Path(spec.origin).parent / "include"


class ParallelLibraries(build_clib):
    """Compiles the libraries side by side: each is one long compilation."""

    def build_libraries(self, libraries: list) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda library: build_clib.build_libraries(self, [library]), libraries))


class SdistWithHeaders(sdist):
    """An sdist that builds outside the repository."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        shutil.copytree(core_include(), Path(base_dir) / VENDORED, dirs_exist_ok=True)


arm = sysconfig.get_platform().rpartition("-")[2] in {
    "aarch64",
    "arm64",
    "ARM64",
}  # of the target: it may be cross-compiled
isas = ISA_FEATURES if arm else {}
include = core_include()
headers = [str(p) for root in (include, CSRC) for p in sorted(root.rglob("*.h*"))]

libraries = [
    (
        f"walle_isa_{isa}",
        {
            "sources": [str(CSRC / f"isa_{isa}.cpp")],
            "include_dirs": [str(include), str(CSRC)],
            "cflags": [
                *FLAGS,
                *DEBUG_FLAGS,
                "-march=" + "+".join(["armv8.2-a" if features else "armv8-a", *features]),
            ],
            "obj_deps": {"": headers},
        },
    )
    for isa, features in isas.items()
]
rows = " ".join(
    f"ROW({isa}, {ISA_EXTENDS.get(isa, '')}, {' && '.join([f'HAS({f})' for f in features] or ['true'])})"
    for isa, features in isas.items()
)

setup(
    libraries=libraries,
    ext_modules=cythonize(
        [
            Extension(
                "walle_backend_neon._tables",
                ["src/walle_backend_neon/_tables.pyx", str(CSRC / "features.cpp")],
                include_dirs=[str(include), str(CSRC)],
                libraries=[name for name, _ in libraries],
                define_macros=[*MACROS, ("WALLE_ISA_ROWS", rows)],
                extra_compile_args=[*FLAGS, *DEBUG_FLAGS],
                extra_link_args=LINK,
                depends=headers,
                language="c++",
            )
        ],
        build_dir="build/cython",
    ),
    cmdclass={"build_clib": ParallelLibraries, "sdist": SdistWithHeaders},
)
