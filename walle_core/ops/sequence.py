"""Sequences (Python lists of arrays) and optionals (a value or None). They live on the host; shapes are known by running."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import atomic
from walle_core.ops.numpy_lazy import np
from walle_core.ops.rules import normal_axis, require


def _position(position: Any, count: int, limit: int) -> int:
    """A position in [-count, limit] as one in [0, limit]. Raises ValueError outside."""
    index = int(np.asarray(position).reshape(()))
    require(
        -count <= index <= limit, f"position {index} is outside [{-count}, {limit}] of a sequence of {count}"
    )
    return index + count if index < 0 else index


def _checked(sequence: Any) -> list[Any]:
    require(isinstance(sequence, list), "the input must be a sequence")
    return list(sequence)


@atomic("SequenceConstruct", "sequence")
def sequence_construct(*inputs: Any) -> Any:
    """A sequence of the given tensors."""
    require(bool(inputs), "needs at least one tensor; use SequenceEmpty")
    require(len({x.dtype for x in inputs}) == 1, "all tensors of a sequence must have one dtype")
    return list(inputs)


@atomic("SequenceEmpty", "sequence")
def sequence_empty(*, dtype: int = 1) -> Any:
    """A sequence of no tensors, of the given element type."""
    return []


@atomic("SequenceAt", "sequence")
def sequence_at(input_sequence: Any, position: Any) -> Any:
    """The tensor at a position; negative positions count from the back."""
    sequence = _checked(input_sequence)
    return sequence[_position(position, len(sequence), len(sequence) - 1)]


@atomic("SequenceInsert", "sequence")
def sequence_insert(input_sequence: Any, tensor: Any, position: Any = None) -> Any:
    """The sequence with a tensor inserted before a position, at the end by default."""
    sequence = _checked(input_sequence)
    require(
        not sequence or sequence[0].dtype == tensor.dtype, "all tensors of a sequence must have one dtype"
    )
    at = len(sequence) if position is None else _position(position, len(sequence), len(sequence))
    sequence.insert(at, tensor)
    return sequence


@atomic("SequenceErase", "sequence")
def sequence_erase(input_sequence: Any, position: Any = None) -> Any:
    """The sequence without the tensor at a position, the last by default."""
    sequence = _checked(input_sequence)
    at = -1 if position is None else position
    del sequence[_position(at, len(sequence), len(sequence) - 1)]
    return sequence


@atomic("SequenceLength", "sequence")
def sequence_length(input_sequence: Any) -> Any:
    """Number of tensors, an int64 scalar."""
    return np.asarray(len(_checked(input_sequence)), np.int64)


@atomic("ConcatFromSequence", "sequence")
def concat_from_sequence(input_sequence: Any, *, axis: int, new_axis: int = 0) -> Any:
    """The tensors joined along an axis, or stacked along a new one."""
    sequence = _checked(input_sequence)
    require(bool(sequence), "an empty sequence has nothing to join")
    return np.stack(sequence, axis) if new_axis else np.concatenate(sequence, axis)


@atomic("SplitToSequence", "sequence")
def split_to_sequence(input: Any, split: Any = None, *, axis: int = 0, keepdims: int = 1) -> Any:
    """Parts along an axis: of one length each (the last may be shorter), or of the given lengths."""
    axis = normal_axis(axis, input.ndim)
    size = input.shape[axis]
    if split is None and not keepdims:
        return list(np.moveaxis(input, axis, 0))
    if split is None or split.ndim == 0:
        length = 1 if split is None else int(split)
        require(length > 0, f"split {length} must be above 0")
        ends = list(range(length, size, length))
    else:
        require((split >= 0).all() and int(split.sum()) == size, f"split {split.tolist()} must sum to {size}")
        ends = np.cumsum(split)[:-1].tolist()
    return list(np.split(input, ends, axis))


@atomic("Optional", "sequence")
def optional(input: Any = None, *, type: Any = None) -> Any:
    """An optional that holds the input, or nothing."""
    return input


@atomic("OptionalHasElement", "sequence")
def optional_has_element(input: Any = None) -> Any:
    """Whether an optional holds something; a bool scalar."""
    return np.asarray(input is not None)


@atomic("OptionalGetElement", "sequence")
def optional_get_element(input: Any) -> Any:
    """What an optional holds. Raises ValueError if it is empty."""
    require(input is not None, "the optional is empty; test it with OptionalHasElement")
    return input
