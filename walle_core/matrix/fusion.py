"""`fused`: a function of arrays whose elementwise chains run in one pass over memory instead of one per operator."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import prod
from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import TYPES
from walle_core.matrix.errors import ArrayTypeError
from walle_core.matrix.manipulation import broadcast_shapes
from walle_core.matrix.operators import BINARY

KEPT = 64  # signatures for which a function keeps its chains
WORTH = 4096  # elements from which an engine's kernels are used, as outside of chains
_STEPS, _OPERANDS, _REGISTERS = 64, 16, 16  # of one chain, as chain.pxi has them


class _NotElementwiseError(ArrayTypeError):
    """The function does something that a chain cannot; it is then run as it stands."""


class Lazy:
    """A value of a chain that is being recorded: what `fused` gives the function in place of its arrays."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, kind: str, op: int, sources: tuple[Any, ...], code: int, result: int, shape: tuple[int, ...]
    ) -> None:
        self.kind, self.op, self.sources = kind, op, sources
        self.given, self.code, self.shape = code, result, shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def dtype(self) -> Any:
        """The DType of the elements."""
        return TYPES[self.code]

    def record_cast(self, code: int) -> Lazy:
        """The value in another dtype."""
        return self if code == self.code else Lazy("cast", 0, (self,), self.code, code, self.shape)

    def record_one(self, op: int) -> Lazy:
        """Unary operator `op` of the value."""
        code, result = _array.plan_one(op, self.code)
        return Lazy("one", op, (self.record_cast(code),), code, result, self.shape)

    def record_two(self, op: int, x: Any, y: Any) -> Lazy:
        """Binary operator `op` of two values, one of which is this."""
        a, b = _operand(x, self.code), _operand(y, self.code)
        code, result = _array.plan_two(op, a.code, b.code)
        shape = broadcast_shapes(a.shape, b.shape)
        return Lazy("two", op, (a.record_cast(code), b.record_cast(code)), code, result, shape)

    def __getattr__(self, name: str) -> Any:
        raise _NotElementwiseError(f"a chain has no {name!r}")

    def _refuse(self, *_: Any) -> Any:
        raise _NotElementwiseError("values of a chain are not known while it is recorded")

    __bool__ = __int__ = __float__ = __complex__ = __index__ = __len__ = __iter__ = _refuse
    __getitem__ = __setitem__ = __matmul__ = __rmatmul__ = _refuse

    def __neg__(self) -> Lazy:
        return _array.unary(_NEGATIVE, self)  # type: ignore[arg-type, return-value]

    def __abs__(self) -> Lazy:
        return _array.unary(_ABS, self)  # type: ignore[arg-type, return-value]

    def __invert__(self) -> Lazy:
        return _array.unary(_INVERT, self)  # type: ignore[arg-type, return-value]

    def __pos__(self) -> Lazy:
        return self


_NEGATIVE, _ABS, _INVERT = 24, 0, 15


def _add_operators() -> None:
    names = {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
        "mod": "remainder", "pow": "pow", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
        "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
    }  # fmt: skip

    def direct(op: int) -> Any:
        return lambda self, other: self.record_two(op, self, other)

    def reflected(op: int) -> Any:
        return lambda self, other: self.record_two(op, other, self)

    for name, function in names.items():
        setattr(Lazy, f"__{name}__", direct(BINARY[function]))
        setattr(Lazy, f"__r{name}__", reflected(BINARY[function]))
    for name, function in {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
                           "ge": "greater_equal"}.items():  # fmt: skip
        setattr(Lazy, f"__{name}__", direct(BINARY[function]))


_add_operators()


def _operand(value: Any, code: int) -> Lazy:
    """A value of the chain; arrays and numbers from outside become constants of it."""
    if isinstance(value, Lazy):
        return value
    if not isinstance(value, Array):
        if not isinstance(value, (int, float, complex)):
            raise _NotElementwiseError(f"a chain cannot take {type(value).__name__}")
        value = _array.full_core((), value, _array.beside_core(value, code))
    return Lazy("constant", 0, (value,), value.code, value.code, value.shape)


class _Chain:
    """One result: a native chain, and where each of its operands comes from."""

    def __init__(self, root: Lazy) -> None:
        self.shape = root.shape
        self.operands: list[tuple[Any, bool]] = []  # argument number or constant; True: first to be repeated
        shapes: list[tuple[int, ...]] = []  # of the operands
        order: list[Lazy] = []
        seen: dict[int, int] = {}  # id of a value -> operand (negative) or index in `order`

        def visit(value: Lazy) -> None:
            if id(value) in seen:
                return
            if value.kind in ("argument", "constant"):
                seen[id(value)] = -1 - len(self.operands)
                fits = value.size == 1 or value.shape == self.shape[len(self.shape) - value.ndim :]
                self.operands.append((value.op if value.kind == "argument" else value.sources[0], not fits))
                shapes.append(value.shape)
                return
            for source in value.sources:
                visit(source)
            seen[id(value)] = len(order)
            order.append(value)

        visit(root)
        if not order or len(order) > _STEPS or len(self.operands) > _OPERANDS:
            raise _NotElementwiseError("the chain is empty or too long")
        last = {id(s): at for at, value in enumerate(order) for s in value.sources}
        free, used = list(range(_REGISTERS)), 0
        where: dict[int, int] = {}  # id of a value -> its register
        steps: list[tuple[Any, ...]] = []
        for at, value in enumerate(order):
            places = [seen[id(s)] if seen[id(s)] < 0 else where[id(s)] for s in value.sources]
            for s in {
                id(s): s for s in value.sources
            }.values():  # a source that ends here leaves its register
                if seen[id(s)] >= 0 and last[id(s)] == at:
                    free.insert(0, where[id(s)])
            if value is root:
                place = -1
            elif free:
                place = free.pop(0)
            else:
                raise _NotElementwiseError("the chain holds too many values at once")
            if place >= 0 and place in places and TYPES[value.given].itemsize != TYPES[value.code].itemsize:
                free.append(place)  # a row of another width may not overwrite what it still reads
                place = next((p for p in free if p not in places), _REGISTERS)
                if place == _REGISTERS:
                    raise _NotElementwiseError("the chain holds too many values at once")
                free.remove(place)
            where[id(value)] = place
            used = max(used, place + 1)
            fast = value.size >= WORTH  # as the function itself would: its results are to be the same
            steps.append((value.kind, value.op, place, places[0], places[-1], value.given, value.code, fast))
        program = None
        if all(step[-1] for step in steps):
            from walle_core.matrix.engine import chain_program

            program = chain_program(steps, used, shapes, self.shape)
        if program is not None:
            self.operands = [(o[0], r) for o, r in zip(self.operands, program[2], strict=True)]
        self._native = _array.Chain(steps, used, self.shape, program)

    def run(self, arguments: tuple[Any, ...]) -> Array:
        """The result for arguments of the shapes and dtypes that the chain was recorded for."""
        given = []
        for source, repeated in self.operands:
            array = arguments[source] if isinstance(source, int) else source
            given.append(_array.broadcast_core(array, self.shape) if repeated else array)
        return self._native.run(given)


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: runs the elementwise chains of a function in one pass, in blocks that stay in the cache.

    The function is called once per combination of dtypes, shapes and other arguments with values that record what is done
    with them; its chain is kept and runs from then on in place of the function. It must therefore be pure: no effects, and no
    choice by the elements' values. Results are bit for bit those of the function itself.
    A function that does more than elementwise work (reductions, indexing, conversions to Python numbers) is run as it
    stands; so are keyword arguments.

    Args:
        function: of arrays and numbers, giving an array or a tuple of them.
    """
    kept: dict[Any, list[_Chain] | None] = {}

    def recorded(arguments: tuple[Any, ...]) -> tuple[list[_Chain] | None, bool]:
        lazy = [
            Lazy("argument", i, (), a.code, a.code, a.shape) if isinstance(a, Array) else a
            for i, a in enumerate(arguments)
        ]
        try:
            made = function(*lazy)
            roots = made if isinstance(made, tuple) else (made,)
            if not all(isinstance(r, Lazy) for r in roots):
                return None, False
            return [_Chain(r) for r in roots], isinstance(made, tuple)
        except (
            TypeError,
            AttributeError,
        ):  # of the recording or of the function: the function itself will tell
            return None, False

    several: dict[Any, bool] = {}

    @wraps(function)
    def run(*arguments: Any, **settings: Any) -> Any:
        if settings:
            return function(*arguments, **settings)
        key = tuple([(a.code, a.shape) if isinstance(a, Array) else (type(a), a) for a in arguments])
        try:
            chains = kept[key]
        except KeyError:
            while len(kept) >= KEPT:
                several.pop(next(iter(kept)), None)
                kept.pop(next(iter(kept)), None)
            chains, several[key] = recorded(arguments)
            kept[key] = chains
        except TypeError:  # an argument that has no hash
            return function(*arguments)
        if chains is None:
            return function(*arguments)
        results = [chain.run(arguments) for chain in chains]
        return tuple(results) if several[key] else results[0]

    return run
