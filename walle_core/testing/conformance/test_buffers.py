"""Inputs and outputs: views, alignment, zero sizes, lifetimes, and what is refused."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from walle_core.errors import InputError
from walle_core.graph.builder import Builder
from walle_core.ops.numpy_lazy import np
from walle_core.session import Session


def add_one(backend: Any, shape: tuple[int | str, ...] = (3, 5), dtype: str = "float32") -> Session:
    g = Builder()
    x = g.input("x", dtype, shape)
    return Session(g.graph([g.Add(x, g.const(1.0, dtype))]), backend=backend.name, threads=1)


def only(made: dict[str, Any]) -> Any:
    return np.asarray(next(iter(made.values())))


def test_views_are_read_as_what_they_show(backend: Any) -> None:
    base = np.arange(60, dtype=np.float32).reshape(6, 10)
    for view in (
        base[::2, ::2],
        base[:3, :5],
        base.T[:3, 1:6],
        base[:3, ::-2],
        np.asfortranarray(base[:3, :5]),
    ):
        np.testing.assert_array_equal(only(add_one(backend).run({"x": view})), view + 1)


def test_inputs_are_not_changed(backend: Any) -> None:
    value = np.arange(15, dtype=np.float32).reshape(3, 5)
    before = value.copy()
    value.setflags(write=False)
    add_one(backend).run([value])
    np.testing.assert_array_equal(value, before)


def test_kept_output_is_not_overwritten(backend: Any) -> None:
    session = add_one(backend)
    first = session.run([np.zeros((3, 5), np.float32)])
    kept = only(first)
    for value in range(1, 4):
        session.run([np.full((3, 5), value, np.float32)])
    np.testing.assert_array_equal(kept, np.ones((3, 5), np.float32))


def test_output_outlives_its_session(backend: Any) -> None:
    made = only(add_one(backend).run([np.zeros((3, 5), np.float32)]))
    gc.collect()
    np.testing.assert_array_equal(made, np.ones((3, 5), np.float32))


def test_output_fed_back_as_input(backend: Any) -> None:
    session = add_one(backend)
    value: Any = np.zeros((3, 5), np.float32)
    for _ in range(5):
        value = next(iter(session.run([value]).values()))
    np.testing.assert_array_equal(np.asarray(value), np.full((3, 5), 5, np.float32))


def test_unaligned_memory(backend: Any) -> None:
    raw = np.zeros(15 * 4 + 1, np.uint8)
    value = raw[1:].view(np.float32).reshape(3, 5)
    np.testing.assert_array_equal(only(add_one(backend).run([value])), np.ones((3, 5), np.float32))


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0, 2), ()])
def test_empty_and_scalar(backend: Any, shape: tuple[int, ...]) -> None:
    made = only(add_one(backend, shape).run([np.zeros(shape, np.float32)]))
    assert made.shape == shape
    np.testing.assert_array_equal(made, np.ones(shape, np.float32))


def test_open_sizes_are_planned_when_they_come(backend: Any) -> None:
    session = add_one(backend, ("n", 4))
    for n in (3, 1, 7, 3, 0):
        np.testing.assert_array_equal(
            only(session.run([np.full((n, 4), n, np.float32)])), np.full((n, 4), n + 1.0)
        )


def test_input_that_is_also_an_output(backend: Any) -> None:
    g = Builder()
    x = g.input("x", "float32", (4,))
    session = Session(g.graph([g.Neg(x), x]), backend=backend.name, threads=1)
    negative, same = session.run([np.arange(4, dtype=np.float32)]).values()
    np.testing.assert_array_equal(np.asarray(negative), -np.arange(4, dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(same), np.arange(4, dtype=np.float32))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"y": np.zeros((3, 5), np.float32)}, "missing.*x.*unknown.*y"),
        ({}, "missing"),
        ([], "takes 1"),
        ({"x": np.zeros((3, 5), np.float64)}, "float64.*float32"),
        ({"x": np.zeros((5, 3), np.float32)}, r"shape \[5, 3\]"),
        ({"x": np.zeros((3, 5, 1), np.float32)}, "shape"),
        ({"x": "text"}, "x"),
    ],
)
def test_wrong_inputs_are_named(backend: Any, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        add_one(backend).run(inputs)
