"""SPIR-V modules of the kernels, with the float rules that a device supports written into them."""

from __future__ import annotations

import struct
from importlib.resources import files

from walle_core.errors import BackendError

# (capability, execution mode) of SPV_KHR_float_controls, each with the operand 32: float32
KEEP_SPECIAL = (4466, 4461)  # SignedZeroInfNanPreserve
KEEP_SUBNORMALS = (4464, 4459)  # DenormPreserve
OP_EXTENSION, OP_ENTRY_POINT, OP_EXECUTION_MODE, OP_CAPABILITY = 10, 15, 16, 17
EXTENSION = b"SPV_KHR_float_controls\0\0"
HEADER = 5  # words


def module(name: str) -> bytes:
    """The module of this name. Raises BackendError if the package lacks it."""
    path = files("walle_backend_vulkan").joinpath("spirv", f"{name}.spv")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BackendError(
            f"the package has no module {name} ({error}); install walle-backend-vulkan again"
        ) from error


def with_rules(code: bytes, rules: list[tuple[int, int]]) -> bytes:
    """The module with these float rules for float32."""
    if not rules:
        return code
    words = list(struct.unpack(f"<{len(code) // 4}I", code))
    at, entry, capabilities, modes = HEADER, 0, HEADER, HEADER
    while at < len(words):
        count, op = words[at] >> 16, words[at] & 0xFFFF
        if op == OP_CAPABILITY:
            capabilities = at + count
        elif op == OP_ENTRY_POINT:
            entry, modes = words[at + 2], at + count
        elif op == OP_EXECUTION_MODE:
            modes = at + count
        elif modes > HEADER:
            break
        at += count
    text = struct.unpack(f"<{len(EXTENSION) // 4}I", EXTENSION)
    added = [w for capability, _ in rules for w in ((2 << 16) | OP_CAPABILITY, capability)]
    added += [((1 + len(text)) << 16) | OP_EXTENSION, *text]
    ruled = [w for _, mode in rules for w in ((4 << 16) | OP_EXECUTION_MODE, entry, mode, 32)]
    words = words[:capabilities] + added + words[capabilities:modes] + ruled + words[modes:]
    return struct.pack(f"<{len(words)}I", *words)
