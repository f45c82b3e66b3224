"""A Tensor over a memoryview that dies in a reference cycle: the collector must not take the exporter away first."""

import gc
import sys

from walle_core._native import Tensor


class Holder:
    pass


def test_cycle_around_borrowed_memory_is_collected_without_error(monkeypatch):
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    for _ in range(20):
        view = memoryview(bytearray(64))[8:40]
        holder = Holder()
        holder.me, holder.view = holder, view
        holder.tensor = Tensor.wrap(view, "float32", (8,))
        holder.reshaped = holder.tensor.reshape(2, 4)
        del holder, view
    gc.collect()
    assert not ignored, [str(i.exc_value) for i in ignored]


def test_memory_outlives_its_exporter():
    tensor = Tensor.wrap(memoryview(bytearray(b"\x00\x00\x80\x3f" * 2)), "float32", (2,))
    gc.collect()
    assert tensor.tolist() == [1.0, 1.0]
