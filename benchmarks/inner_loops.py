"""How much of an inner loop is products: disassembles the AArch64 kernels of walle-backend-neon.

    python benchmarks/inner_loops.py                                  # compiles them and prints the table
    python benchmarks/inner_loops.py --markdown docs/benchmarks.md    # and writes it there; the rest of the page stays

Needs a compiler for AArch64 (Debian: g++-aarch64-linux-gnu) and no such processor. Of every function of a register tile, the
innermost loop with the most products is counted: multiply-adds and dot products per iteration over all instructions. A processor
that starts two products and two other instructions per cycle runs such a loop at its peak from one half on; more than that is
room for slower loads. Speed itself needs a real processor.
"""

from __future__ import annotations

import argparse
import ast
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

from report import write_section

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "plugins/backend_neon"
NATIVE = platform.machine() in {"aarch64", "arm64"}
CROSS = "" if NATIVE else "aarch64-linux-gnu-"
PRODUCTS = {"fmla", "fmls", "smlal", "smull", "smlal2", "smull2", "sdot", "smmla", "bfdot", "bfmmla"}
KERNELS = [  # name in the table, ISA, pattern of the function: rows and vectors of the tile; must reach the share
    ("GEMM, convolution, Winograd, float32", "neon", r"\btile_kernel<(\d+), (\d+)>", True),
    ("GEMM, convolution, half floats", "neonfp16", r"Fp16Pairs::sums<(\d+), (\d+)>", True),
    ("GEMM, convolution, 8 bits", "neondot", r"\bint_tiles<(\d+), (\d+)>", True),
    ("GEMM, convolution, bfloat16", "neonbf16", r"window_tile<.*Bf16Pairs, (\d+), (\d+)>", True),
    ("GEMM, convolution, 8 bits", "neon", r"\bint_tiles<(\d+), (\d+)>", False),
    ("depthwise convolution 3 x 3, 8 bits", "neon", r"int8_strip<false, (3), 1, (4), .*0>", False),
]
SHARE = 0.85  # what the full tiles of the marked kernels must reach


class Loop(NamedTuple):
    """The inner loop of one function.

    Attributes:
        kernel, isa: as in KERNELS.
        shape: rows and vectors of its tile.
        product: the instruction that multiplies.
        products, instructions: per iteration.
        full: it is the tile that most of a product is made with.
        bound: the kernel must reach SHARE.
    """

    kernel: str
    isa: str
    shape: tuple[int, int]
    product: str
    products: int
    instructions: int
    full: bool
    bound: bool

    @property
    def share(self) -> float:
        return self.products / self.instructions


def compile_objects(folder: Path) -> None:
    """The plugin's objects, with the flags of its setup.py."""
    tree = ast.parse((PLUGIN / "setup.py").read_text(encoding="utf-8"))
    set_ = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in {"FLAGS", "ISA_FEATURES"}
    }
    source = PLUGIN / "src/walle_backend_neon/csrc"

    def one(isa: str, features: Sequence[str]) -> None:
        march = "+".join(["armv8.2-a" if features else "armv8-a", *features])
        includes = ["-I", str(ROOT / "walle_core/include"), "-I", str(source)]
        command = [
            f"{CROSS}g++",
            *set_["FLAGS"],
            f"-march={march}",
            *includes,
            "-c",
            str(source / f"isa_{isa}.cpp"),
        ]
        subprocess.run([*command, "-o", str(folder / f"isa_{isa}.o")], check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda item: one(*item), set_["ISA_FEATURES"].items()))


def functions(object_: Path) -> Iterator[tuple[str, list[tuple[int, str, str]]]]:
    """(demangled name, [(address, mnemonic, operands)]) of every function."""
    command = [f"{CROSS}objdump", "--disassemble", "--demangle", "--no-show-raw-insn", str(object_)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for part in re.split(r"\n(?=[0-9a-f]{16} <)", text):
        head = re.match(r"[0-9a-f]{16} <(.*)>:\n", part)
        found = re.findall(r"^ *([0-9a-f]+):\t(\S+)[ \t]*(.*)$", part, re.MULTILINE)
        if head and found:
            yield head[1], [(int(at, 16), op, operands) for at, op, operands in found]


def inner_loop(code: Sequence[tuple[int, str, str]]) -> Counter[str]:
    """Mnemonics of the innermost loop with the most products; of code without loops, nothing."""
    loops = set()
    for at, op, operands in code:
        target = re.search(r"\b([0-9a-f]+) <", operands) if re.match(r"b\.|cbn?z$|tbn?z$|b$", op) else None
        if target and code[0][0] <= int(target[1], 16) <= at:
            loops.add((int(target[1], 16), at))
    innermost = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    counts = [Counter(op for at, op, _ in code if first <= at <= last) for first, last in innermost]
    return max(counts, key=lambda c: sum(c[op] for op in PRODUCTS), default=Counter())


def measure(folder: Path) -> list[Loop]:
    """The loops of all kernels. Raises LookupError if a kernel is not found."""
    code = {isa: dict(functions(folder / f"isa_{isa}.o")) for isa in {isa for _, isa, *_ in KERNELS}}
    made = []
    for kernel, isa, pattern, bound in KERNELS:
        found = {}
        for name, body in code[isa].items():
            match = re.search(pattern, name)
            counts = inner_loop(body) if match else Counter()
            products = Counter({op: counts[op] for op in sorted(PRODUCTS) if counts[op]})
            if match and products:
                shape = int(match[1]), int(match[2])
                found[shape] = products.most_common(1)[0][0], products.total(), counts.total()
        if not found:
            raise LookupError(f"{isa}: no function like {pattern} has a loop with products")
        made += [
            Loop(kernel, isa, shape, *facts, shape == max(found), bound)
            for shape, facts in sorted(found.items())
        ]
    return made


def report(loops: Sequence[Loop]) -> list[str]:
    """The table as Markdown: full tiles, then what the lower and narrower ones reach."""
    lines = [
        "## Inner loops of the AArch64 kernels",
        "",
        f"Made by `python benchmarks/inner_loops.py` with {compiler()}: products (multiply-adds, dot products) per iteration over all",
        "instructions, counted in the disassembly. Nothing here was timed. Tiles are rows x vectors of four float32.",
        "",
        "| kernel | ISA | tile | product | products | instructions | share |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    lines += [
        f"| {l.kernel} | {l.isa} | {l.shape[0]} x {l.shape[1]} | {l.product} | {l.products} | {l.instructions} | {l.share:.1%} |"
        for l in loops
        if l.full
    ]
    lines += ["", "Lower and narrower tiles, at the edges of a product:", ""]
    for kernel, isa, *_ in KERNELS:
        some = [l for l in loops if (l.kernel, l.isa) == (kernel, isa) and not l.full]
        if some:
            shares = ", ".join(f"{l.shape[0]} x {l.shape[1]} {l.share:.0%}" for l in some)
            lines.append(f"* {kernel}, {isa}: {shares}")
    return lines


def compiler() -> str:
    """The compiler's own line on itself."""
    command = [f"{CROSS}g++", "--version"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"^\S+ \(.*?\) ", "GCC ", text.splitlines()[0])


def failures(loops: Sequence[Loop]) -> list[str]:
    """What falls short of SHARE."""
    short = [l for l in loops if l.full and l.bound and l.share < SHARE]
    return list(starmap("{} {}: {:.1%}".format, ((l.kernel, l.isa, l.share) for l in short)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--objects", type=Path, help="folder with the compiled isa_*.o; default: compiles them"
    )
    parser.add_argument("--markdown", type=Path, help="page whose section on inner loops is written")
    options = parser.parse_args()
    if shutil.which(f"{CROSS}g++") is None or shutil.which(f"{CROSS}objdump") is None:
        sys.exit(f"{CROSS}g++ and {CROSS}objdump are needed (Debian: g++-aarch64-linux-gnu)")
    with tempfile.TemporaryDirectory() as made:
        if not options.objects:
            compile_objects(Path(made))
        loops = measure(options.objects or Path(made))
    lines = report(loops)
    print("\n".join(lines))
    if options.markdown:
        write_section(options.markdown, "inner_loops", lines)
    for line in failures(loops):
        print(f"below {SHARE:.0%}: {line}", file=sys.stderr)
    return int(bool(failures(loops)))


if __name__ == "__main__":
    sys.exit(main())
