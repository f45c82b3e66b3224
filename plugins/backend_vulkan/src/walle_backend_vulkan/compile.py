"""Makes the SPIR-V of all kernels with glslc and spirv-opt: `python -m walle_backend_vulkan.compile`.

The modules are part of the package, so that installing and running need no compiler.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from walle_backend_vulkan.writer import module_name, modules, shader

FOLDER = Path(__file__).parent / "spirv"
# glslc's own -O would inline the largest function eight times into one kernel; the driver does that better
PASSES = ("--eliminate-dead-functions", "--strip-debug", "--compact-ids")


def compiled(name: str, variants: dict[str, str]) -> bytes:
    """The SPIR-V of one kernel. Raises CalledProcessError with the compiler's message on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        source, raw, small = (Path(folder) / f"kernel.{suffix}" for suffix in ("comp", "raw", "spv"))
        source.write_text(shader(name, variants), encoding="utf-8")
        first = ["glslc", "--target-env=vulkan1.1", "-O0", str(source), "-o", str(raw)]
        subprocess.run(first, check=True)  # noqa: S603
        second = ["spirv-opt", *PASSES, str(raw), "-o", str(small)]
        subprocess.run(second, check=True)  # noqa: S603
        return small.read_bytes()


def everything() -> dict[str, bytes]:
    """Module name -> SPIR-V, of all kernels."""
    listed = [(source.name, variants) for source, variants in modules()]
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda item: compiled(*item), listed)
        return {module_name(*item): code for item, code in zip(listed, made, strict=True)}


def main() -> int:
    """Writes what changed, removes what no kernel needs, and says how much there is."""
    FOLDER.mkdir(exist_ok=True)
    made = everything()
    for path in FOLDER.glob("*.spv"):
        if path.stem not in made:
            path.unlink()
    for name, code in made.items():
        path = FOLDER / f"{name}.spv"
        if not path.exists() or path.read_bytes() != code:
            path.write_bytes(code)
    print(
        f"{len(made)} modules, {sum(map(len, made.values()))} bytes, the largest {max(map(len, made.values()))}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
