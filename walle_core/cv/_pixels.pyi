from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor

def level() -> int: ...
def describe(value: Any) -> tuple[tuple[int, ...], str]: ...
def run(
    name: str, inputs: Sequence[Any], out: Tensor, args: Sequence[float] = (), level: int = 0
) -> Tensor: ...
