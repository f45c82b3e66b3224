"""What differs between two versions of a task's files: lines of texts, tensors of models, sizes of everything else."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from walle_core.errors import WalleError

MAX_TEXT = 1 << 20  # bytes of a text that is compared line by line
_MODELS = (".walle", ".onnx")


@attrs.frozen
class Change:
    """One file that differs.

    Attributes:
        kind: ``added``, ``removed`` or ``changed``.
        sizes: bytes before and after.
        text: the lines, as ``diff -u`` shows them; of a model or other bytes, what changed in words.
    """

    path: str
    kind: str
    sizes: tuple[int, int]
    text: str


def compare(
    before: Mapping[str, bytes], after: Mapping[str, bytes], paths: Iterable[str] | None = None
) -> list[Change]:
    """The files that differ, by path."""
    changes = []
    for path in sorted({*before, *after}) if paths is None else paths:
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        kind = "added" if old is None else "removed" if new is None else "changed"
        sizes = (len(old or b""), len(new or b""))
        changes.append(Change(path, kind, sizes, _text(path, old or b"", new or b"", kind)))
    return changes


def _text(path: str, old: bytes, new: bytes, kind: str) -> str:
    lines = [_lines(old), _lines(new)]
    if not path.endswith(_MODELS) and lines[0] is not None and lines[1] is not None:
        names = (
            "/dev/null" if kind == "added" else f"a/{path}",
            "/dev/null" if kind == "removed" else f"b/{path}",
        )
        made = difflib.unified_diff(lines[0], lines[1], *names)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in made
        )
    words = [f"{path}: {len(old)} -> {len(new)} bytes"]
    if kind == "changed":
        same = (
            sum(a == b for a, b in zip(old, new, strict=False)) if len(old) == len(new) <= MAX_TEXT else None
        )
        words += _tensors(old, new) if path.endswith(_MODELS) else []
        words += [f"{len(old) - same} bytes differ"] if same is not None and len(words) == 1 else []
    return "\n  ".join(words) + "\n"


def _lines(data: bytes) -> Sequence[str] | None:
    """The lines of a text; None if the bytes are none, or too many."""
    if len(data) > MAX_TEXT or b"\0" in data:
        return None
    try:
        return [line + "\n" for line in data.decode().split("\n")[:-1]] + [
            t for t in [data.decode().split("\n")[-1]] if t
        ]
    except UnicodeDecodeError:
        return None


def _tensors(old: bytes, new: bytes) -> list[str]:
    """What changed in a model, by tensor; one line of reason if it cannot be read."""
    from walle_core import load_bytes

    try:
        graphs = [load_bytes(old), load_bytes(new)]
    except WalleError as error:
        return [f"cannot be compared by tensor: {error}"]
    before, after = (dict(graph.constants) for graph in graphs)
    words = [f"tensor {name} {_spec(before[name])}: removed" for name in before if name not in after]
    words += [f"tensor {name} {_spec(after[name])}: added" for name in after if name not in before]
    for name in before:
        if name in after and (text := _difference(before[name], after[name])):
            words.append(f"tensor {name} {_spec(after[name])}: {text}")
    nodes = [[str(node) for node in graph.nodes] for graph in graphs]
    if nodes[0] != nodes[1]:
        words.append(f"nodes: {len(nodes[0])} -> {len(nodes[1])}, the graph differs")
    return words


def _spec(tensor: Any) -> str:
    return f"{tensor.dtype}{list(tensor.shape)}"


def _difference(old: Any, new: Any) -> str:
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"was {_spec(old)}"
    before, after = _bytes(old), _bytes(new)
    if before == after:
        return ""
    width = max(len(before) // max(old.size, 1), 1)
    if len(before) > MAX_TEXT:
        return "values differ"
    changed = sum(before[at : at + width] != after[at : at + width] for at in range(0, len(before), width))
    return f"{changed} of {old.size} values differ"


def _bytes(tensor: Any) -> bytes:
    return bytes(tensor.tobytes()) if hasattr(tensor, "tobytes") else repr(tensor).encode()
