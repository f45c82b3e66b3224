"""Models in tasks: sessions in interpreters, and one copy of packed weights for all of them."""

import sys

import pytest

from walle_core import vm
from walle_core._native import Tensor
from walle_core._native.tensor import find_shared, keep_shared
from walle_core.vm import Limits, Task

own = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="Python 3.11 has no interpreters with a GIL of their own"
)

OPEN = """
import walle_core as walle
session = None
def main(path, x):
    global session
    if session is None:
        session = walle.Session(path, threads=1)
    return list(session.run([x]).values())
"""


@own
def test_sessions_of_all_interpreters_share_the_weights_of_a_kept_plan(tmp_path, monkeypatch):
    import walle_core as walle
    from walle_core.frontends.walle_file import save

    monkeypatch.setenv("WALLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WALLE_CACHE_LIMIT", str(1 << 30))
    builder = walle.Builder()
    x = builder.input("x", "float32", (1, 512))
    w = builder.const(Tensor.of([[(i * j % 7) / 7 for j in range(512)] for i in range(512)]))
    path = str(tmp_path / "model.walle")
    save(builder.graph([builder.MatMul(x, w)]), path)
    given = {"path": path, "x": Tensor.of([[1.0] * 512])}
    limits = Limits(wall_s=60, memory_mb=512)
    before = keep_shared(b"", None)
    with vm.TaskHost(1, "interpreter") as host:
        first = (
            host.submit(Task("first", OPEN), given, limits).result()[0].tolist()
        )  # packs, and keeps the plan
        assert keep_shared(b"", None) == before
        tasks = [Task(f"t{i}", OPEN) for i in range(3)]
        made = []
        for task in tasks:
            assert host.submit(task, given, limits).result()[0].tolist() == first
            made.append(keep_shared(b"", None))
        assert made == [before + 1] * 3  # one block, whoever opened it
    assert keep_shared(b"", None) == before  # gone with the interpreters


@own
def test_blocks_are_kept_while_somebody_has_them():
    with vm.TaskHost(1, "interpreter") as host:
        host.submit(Task("t", "def main(): pass")).result(20)
        block = Tensor((64,), "uint8")
        before = keep_shared(b"other", None)
        keep_shared(b"key", block)
        found = find_shared(b"key", 64)
        assert found.address == block.address
        assert find_shared(b"none", 64) is None
        del found
        assert keep_shared(b"", None) == before + 1
        del block
        assert keep_shared(b"", None) == before
        assert find_shared(b"key", 64) is None
