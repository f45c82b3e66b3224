from collections.abc import Sequence

from walle_core._native import Tensor

def solve(code: int, a: Tensor, b: Tensor | None, x: Tensor, batch: int, n: int, m: int) -> int: ...
def det(
    code: int, a: Tensor, out: Tensor | None, sign: Tensor | None, log: Tensor | None, batch: int, n: int
) -> None: ...
def cholesky(code: int, a: Tensor, out: Tensor, batch: int, n: int, upper: bool) -> int: ...
def qr(
    code: int, a: Tensor, q: Tensor | None, r: Tensor, batch: int, m: int, n: int, complete: bool
) -> None: ...
def eigh(code: int, a: Tensor, w: Tensor, v: Tensor | None, batch: int, n: int, upper: bool) -> int: ...
def svd(
    code: int,
    a: Tensor,
    u: Tensor | None,
    s: Tensor,
    vh: Tensor | None,
    batch: int,
    m: int,
    n: int,
    full: bool,
) -> int: ...
def transform(
    kind: int,
    wide: bool,
    a: Tensor,
    out: Tensor,
    outer: int,
    length: int,
    n: int,
    inner: int,
    flag: bool,
    factor: float,
) -> None: ...
def sort(
    code: int,
    a: Tensor,
    order: Tensor | None,
    values: Tensor | None,
    outer: int,
    n: int,
    inner: int,
    descending: bool,
) -> None: ...
def search(code: int, x: Tensor, sorter: Tensor | None, v: Tensor, out: Tensor, right: bool) -> None: ...
def starts(code: int, x: Tensor, order: Tensor, out: Tensor, add: bool) -> None: ...
def dots(
    code: int,
    a: Tensor,
    b: Tensor,
    out: Tensor,
    count: int,
    k: int,
    a_step: int,
    b_step: int,
    conjugate: bool,
) -> None: ...
def reform(form: int, wide: bool, a: Tensor, out: Tensor, rows: int, columns: int) -> None: ...
def extreme(code: int, a: Tensor, out: Tensor, outer: int, n: int, inner: int, smallest: bool) -> None: ...
def product(
    code: int, a: Tensor, b: Tensor, out: Tensor, m: int, n: int, k: int, dims: Sequence[tuple[int, int, int]]
) -> None: ...
def seed(state: Tensor, value: int) -> None: ...
def draw(kind: int, state: Tensor, out: Tensor, low: int = 0, span: int = 0) -> None: ...
