"""Metal shading language on a processor: clang compiles the source over `shim/`, ctypes calls it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHIM = HERE / "shim"
BUILT = HERE.parents[2] / "build/metal"
FLAGS = (
    "-std=c++17",
    "-O1",
    "-march=native",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
    "-Werror=return-type",
    "-w",
)
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g")
KINDS = {
    "buffer": 0, "thread_position_in_grid": 1, "thread_position_in_threadgroup": 2, "threadgroup_position_in_grid": 3,
    "thread_index_in_threadgroup": 4,
}  # fmt: skip
_KERNEL = re.compile(r"(?:\[\[kernel([^\]]*)\]\]|\bkernel)\s+void\s+(\w+)\s*\(")
_ATTRIBUTE = re.compile(r"\[\[\s*(\w+)\s*(?:\((\d+)\))?\s*\]\]")
_SHARED = re.compile(r"(?m)^(\s*)threadgroup(\s+\w+\s+\w+\s*\[)")


def clang() -> str | None:
    """The compiler; None where there is none."""
    return shutil.which(os.environ.get("WALLE_CLANGXX", "clang++"))


class CompileError(Exception):
    """What the compiler said."""


class Library:
    """Kernels of one source.

    Attributes:
        most: kernel name -> most threads of a group that its attribute allows, None without one.
    """

    def __init__(self, path: Path, most: Mapping[str, int | None]) -> None:
        self.most = most
        self._library = ctypes.CDLL(str(path))

    def run(
        self,
        name: str,
        buffers: Mapping[int, int],
        groups: Sequence[int],
        sizes: Sequence[int],
        seed: int = 0,
    ) -> None:
        """Runs a kernel to its end. Raises RuntimeError where threads part at a barrier.

        Args:
            name: of the kernel.
            buffers: index -> address.
            groups, sizes: thread groups, and threads of each, along three axes.
            seed: 0 runs groups and threads in order; another number in a random one.
        """
        held = (ctypes.c_void_p * (max(buffers, default=0) + 1))()
        for i, address in buffers.items():
            held[i] = address
        message = ctypes.create_string_buffer(256)
        three = ctypes.c_uint * 3
        if getattr(self._library, f"run_{name}")(held, three(*groups), three(*sizes), seed, message):
            raise RuntimeError(f"{name}: {message.value.decode()}")


def _arguments(source: str, start: int) -> list[str]:
    depth, parts, at = 1, [""], start
    while depth:
        char = source[at]
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 1:
            parts.append("")
        elif depth:
            parts[-1] += char
        at += 1
    return parts


def translated(source: str) -> tuple[str, dict[str, int | None]]:
    """(C++ with an entry point per kernel, kernel name -> most threads)."""
    entries, most = [], {}
    for found in _KERNEL.finditer(source):
        name = found[2]
        allowed = re.search(r"max_total_threads_per_threadgroup\((\d+)\)", found[1] or "")
        most[name] = int(allowed[1]) if allowed else None
        slots = []
        for argument in _arguments(source, found.end()):
            attribute = _ATTRIBUTE.search(argument)
            if attribute is None or attribute[1] not in KINDS:
                raise CompileError(
                    f"{name}: argument without an attribute that the shim knows: {argument.strip()}"
                )
            slots.append(f"{{{KINDS[attribute[1]]}, {attribute[2] or 0}}}")
        end = _KERNEL.search(source, found.end())
        text = source[found.end() : end.start() if end else len(source)]
        waits = "true" if re.search(r"\bBARRIER\b|\bthreadgroup_barrier\b", text) else "false"
        entries.append(
            f"static const shim::Slot slots_{name}[] = {{{', '.join(slots)}}};\n"
            f"static void thread_{name}(const shim::Group& g, uint t) {{ shim::invoke({name}, slots_{name}, g, t); }}\n"
            f'extern "C" int run_{name}(void** b, const uint* g, const uint* s, uint seed, char* m) '
            f"{{ return shim::run(thread_{name}, {waits}, b, g, s, seed, m); }}\n"
        )
    text = _SHARED.sub(r"\1static thread_local\2", source)
    text = re.sub(r"\[\[kernel[^\]]*\]\]", "static", text)
    text = re.sub(r"\[\[\s*\w+\s*(\(\d+\))?\s*\]\]", "", text)
    after = (
        "\n#undef kernel\n#undef device\n#undef constant\n#undef thread\n#undef threadgroup\n"
        "namespace shim { int run(void (*)(const Group&, uint), bool, void**, const uint*, const uint*, uint, char*); }\n"
    )
    return text + after + "".join(entries), most


def compile_metal(source: str, sanitize: bool = False) -> Library:
    """The kernels of a source; what was compiled before is taken from build/metal. Raises CompileError."""
    text, most = translated(source)
    compiler = clang()
    if compiler is None:
        raise CompileError("clang++ is not found (Debian: clang)")
    flags = [*FLAGS, *(SANITIZE if sanitize else ())]
    runtime = (SHIM / "fibers.cpp").read_text() + (SHIM / "metal_stdlib").read_text()
    digest = hashlib.sha256("\0".join([*flags, runtime, text]).encode()).hexdigest()[:32]
    made = BUILT / f"{digest}.so"
    if not made.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        new, code = (BUILT / f"{digest}.{os.getpid()}.{suffix}" for suffix in ("new", "cpp"))
        code.write_text(text)
        done = subprocess.run(
            [compiler, *flags, f"-I{SHIM}", str(code), str(_runtime(compiler, sanitize, runtime)), "-o", str(new)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        code.unlink()
        if done.returncode:
            raise CompileError(done.stderr)
        new.replace(made)
    return Library(made, most)


def _runtime(compiler: str, sanitize: bool, text: str) -> Path:
    """The object file of the fibers."""
    digest = hashlib.sha256(f"{sanitize}{text}".encode()).hexdigest()[:32]
    made = BUILT / f"fibers-{digest}.o"
    if not made.exists():
        new = made.with_suffix(f".{os.getpid()}")
        flags = SANITIZE if sanitize else ()
        subprocess.run(
            [compiler, "-std=c++17", "-O2", "-fPIC", *flags, "-c", str(SHIM / "fibers.cpp"), "-o", str(new)],
            check=True,
        )
        new.replace(made)
    return made
