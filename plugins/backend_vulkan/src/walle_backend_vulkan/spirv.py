"""SPIR-V modules of the kernels, with the float rules that a device supports written into them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from importlib.resources import files

from walle_core.errors import BackendError

# (capability, execution mode) of SPV_KHR_float_controls, each with the operand 32: float32
KEEP_SPECIAL = (4466, 4461)  # SignedZeroInfNanPreserve
KEEP_SUBNORMALS = (4464, 4459)  # DenormPreserve
FMA = 50  # of the extended instructions
NO_CONTRACTION = 42
EXTENSION = b"SPV_KHR_float_controls\0\0"
HEADER = 5  # words


class Op:
    """Opcodes."""

    EXTENSION, EXT_INST, ENTRY_POINT, EXECUTION_MODE, CAPABILITY, DECORATE = 10, 12, 15, 16, 17, 71
    CONSTANT, SPEC_CONSTANT = 43, 50
    FUNCTION, FUNCTION_PARAMETER, FUNCTION_CALL = 54, 55, 57
    VARIABLE, LOAD, STORE, ACCESS_CHAIN = 59, 61, 62, 65
    F_NEGATE, F_ADD, F_SUB, F_MUL, F_DIV, VECTOR_TIMES_SCALAR = 127, 129, 131, 133, 136, 142
    LOOP_MERGE, SELECTION_MERGE, LABEL = 246, 247, 248
    BRANCH, BRANCH_CONDITIONAL, SWITCH = 249, 250, 251


ARITHMETIC = {Op.F_NEGATE, Op.F_ADD, Op.F_SUB, Op.F_MUL, Op.F_DIV, Op.VECTOR_TIMES_SCALAR}


def module(name: str) -> bytes:
    """The module of this name. Raises BackendError if the package lacks it."""
    path = files("walle_backend_vulkan").joinpath("spirv", f"{name}.spv")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BackendError(
            f"the package has no module {name} ({error}); install walle-backend-vulkan again"
        ) from error


def split(code: bytes) -> tuple[list[int], list[list[int]]]:
    """(header, instructions), as words."""
    words = list(struct.unpack(f"<{len(code) // 4}I", code))
    instructions: list[list[int]] = []
    at = HEADER
    while at < len(words):
        instructions.append(words[at : at + (words[at] >> 16)])
        at += words[at] >> 16
    return words[:HEADER], instructions


def join(header: list[int], instructions: Sequence[list[int]]) -> bytes:
    """The opposite of `split`."""
    words = [*header, *(word for instruction in instructions for word in instruction)]
    return struct.pack(f"<{len(words)}I", *words)


def opcode(instruction: list[int]) -> int:
    """Which instruction it is."""
    return instruction[0] & 0xFFFF


def with_rules(instructions: Sequence[list[int]], rules: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The instructions with these float rules for float32, and every float operation marked, so that no driver fuses or
    reorders it.
    """
    marks = [
        [(3 << 16) | Op.DECORATE, i[2], NO_CONTRACTION]
        for i in instructions
        if opcode(i) in ARITHMETIC or (opcode(i) == Op.EXT_INST and i[4] == FMA)
    ]
    entry = next(i[2] for i in instructions if opcode(i) == Op.ENTRY_POINT)
    text = struct.unpack(f"<{len(EXTENSION) // 4}I", EXTENSION)
    added = {  # after the last instruction of this kind
        Op.CAPABILITY: [[(2 << 16) | Op.CAPABILITY, capability] for capability, _ in rules],
        Op.EXECUTION_MODE: [[(4 << 16) | Op.EXECUTION_MODE, entry, mode, 32] for _, mode in rules],
        Op.DECORATE: marks,
    }
    if rules:
        added[Op.CAPABILITY].append([((1 + len(text)) << 16) | Op.EXTENSION, *text])
    last = {opcode(i): at for at, i in enumerate(instructions)}
    made: list[list[int]] = []
    for at, instruction in enumerate(instructions):
        made.append(instruction)
        if last[opcode(instruction)] == at:
            made += added.get(opcode(instruction), ())
    return made
