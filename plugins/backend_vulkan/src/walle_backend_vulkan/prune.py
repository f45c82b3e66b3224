"""Drops what a kernel cannot reach once its constants are known, before a driver compiles all of it.

A kernel that applies any of fifty operators has them all, up to eight times after the driver has inlined the switch between
them. Cases of a switch that no caller asks for go here, and the functions that only they call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from walle_backend_vulkan.spirv import Op, opcode

SPEC_ID = 1  # the decoration


class _Values:
    """Finds the integers that an id may stand for, through variables and parameters.

    Args:
        instructions: of a module whose functions take pointers to variables, as glslang writes them.
        numbers: specialisation constant -> its value.
    """

    def __init__(self, instructions: Sequence[list[int]], numbers: Mapping[int, int]) -> None:
        self._known: dict[int, int] = {}
        self._loaded: dict[int, int] = {}
        self._stored: dict[int, list[int]] = {}
        self._parameters: dict[int, tuple[int, int]] = {}
        self._calls: dict[int, list[list[int]]] = {}
        self._variables: set[int] = set()
        specialised: dict[int, int] = {}
        function, count = 0, 0
        for i in instructions:
            match opcode(i):
                case Op.DECORATE if i[2] == SPEC_ID:
                    specialised[i[1]] = i[3]
                case Op.CONSTANT:
                    self._known[i[2]] = i[3]
                case Op.SPEC_CONSTANT:
                    self._known[i[2]] = numbers.get(specialised.get(i[2], -1), i[3]) & 0xFFFFFFFF
                case Op.FUNCTION:
                    function, count = i[2], 0
                case Op.FUNCTION_PARAMETER:
                    self._parameters[i[2]] = (function, count)
                    count += 1
                case Op.FUNCTION_CALL:
                    self._calls.setdefault(i[3], []).append(i[4:])
                case Op.VARIABLE:
                    self._variables.add(i[2])
                case Op.LOAD:
                    self._loaded[i[2]] = i[3]
                case Op.STORE:
                    self._stored.setdefault(i[1], []).append(i[2])
                case Op.ACCESS_CHAIN:  # written in parts
                    self._variables.discard(i[3])

    def of(self, value: int) -> set[int] | None:
        """All that `value` may be; None if that is not known."""
        if value in self._known:
            return {self._known[value]}
        return self._behind(self._loaded[value]) if value in self._loaded else None

    def _behind(self, pointer: int) -> set[int] | None:
        sources = [self.of(value) for value in self._stored.get(pointer, ())]
        if pointer in self._parameters:
            function, at = self._parameters[pointer]
            sources += [self._behind(call[at]) for call in self._calls.get(function, ())]
        elif pointer not in self._variables:
            return None
        found = [source for source in sources if source is not None]
        return set().union(*found) if found and len(found) == len(sources) else None


def pruned(instructions: Sequence[list[int]], numbers: Mapping[int, int]) -> list[list[int]]:
    """The module without cases, and functions, that these values of its specialisation constants leave unused."""
    values = _Values(instructions, numbers)
    start = next(at for at, i in enumerate(instructions) if opcode(i) == Op.FUNCTION)
    functions: dict[int, list[list[int]]] = {}
    for i in instructions[start:]:
        if opcode(i) == Op.FUNCTION:
            body = functions[i[2]] = []
        body.append(_shorter(i, values) if opcode(i) == Op.SWITCH else i)
    kept: set[int] = set()
    todo = [i[2] for i in instructions[:start] if opcode(i) == Op.ENTRY_POINT]
    while todo:
        name = todo.pop()
        if name not in kept:
            kept.add(name)
            functions[name] = _reached(functions[name])
            todo += [i[3] for i in functions[name] if opcode(i) == Op.FUNCTION_CALL]
    return [*instructions[:start], *(i for name, body in functions.items() if name in kept for i in body)]


def _shorter(switch: list[int], values: _Values) -> list[int]:
    """The switch with the cases that its selector may choose, or one: drivers seldom see a switch without any."""
    wanted = values.of(switch[1])
    if wanted is None:
        return switch
    pairs = list(zip(switch[3::2], switch[4::2], strict=True))
    pairs = [pair for pair in pairs if pair[0] in wanted] or pairs[:1]
    words = [*switch[1:3], *(word for pair in pairs for word in pair)]
    return [((1 + len(words)) << 16) | Op.SWITCH, *words]


def _reached(function: list[list[int]]) -> list[list[int]]:
    """The function without the blocks that no branch leads to; ends of constructs stay."""
    first = next(at for at, i in enumerate(function) if opcode(i) == Op.LABEL)
    blocks: dict[int, list[list[int]]] = {}
    for i in function[first:-1]:
        if opcode(i) == Op.LABEL:
            block = blocks[i[1]] = []
        block.append(i)
    seen: set[int] = set()
    todo = [function[first][1]]
    while todo:
        label = todo.pop()
        if label not in seen:
            seen.add(label)
            todo += [target for i in blocks[label] for target in _targets(i)]
    body = [i for label, block in blocks.items() if label in seen for i in block]
    return [*function[:first], *body, function[-1]]


def _targets(i: list[int]) -> list[int]:
    """Labels that an instruction names."""
    match opcode(i):
        case Op.LOOP_MERGE:
            return i[1:3]
        case Op.SELECTION_MERGE | Op.BRANCH:
            return i[1:2]
        case Op.BRANCH_CONDITIONAL:
            return i[2:4]
        case Op.SWITCH:
            return [i[2], *i[4::2]]
    return []
