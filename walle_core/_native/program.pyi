from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor

class Kernel:
    family: str
    op: str
    dtype: str
    isa: str
    lanes: int
    @property
    def address(self) -> int: ...
    def __call__(self, tensors: Sequence[Tensor | None], args: Sequence[int] = (), work: int = 1) -> None: ...

class Program:
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    def __init__(
        self,
        arena: Tensor,
        steps: Sequence[tuple[Kernel, Sequence[tuple[str, Any, int]], Sequence[int | Kernel], int, int]],
        inputs: Sequence[tuple[str, tuple[int, ...]]],
        outputs: Sequence[tuple[str, tuple[int, ...]]],
        threads: int = 1,
    ) -> None: ...
    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]: ...
    def profile(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]: ...

def load_table(capsule: Any) -> list[Kernel]: ...
def scalar_table() -> Any: ...
def shared_tables(key: bytes) -> list[Any] | None: ...
def share_tables(key: bytes, capsules: Sequence[Any]) -> None: ...
def pool_threads() -> int: ...
