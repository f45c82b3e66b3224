"""Preprocessing as the first step of a session: the same bits as apart, memory used again, clear refusals."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import images

import walle_core as walle
from walle_core import cv
from walle_core._native.tensor import storage_stats
from walle_core.errors import InputError
from walle_core.frontends.walle_file import save

CODES = {1: (-1, cv.COLOR_GRAY2BGR), 3: (-1, cv.COLOR_BGR2RGB, cv.COLOR_BGR2GRAY), 4: (-1, cv.COLOR_BGRA2RGB)}
MEAN, NORM = (103.5, 116.25, 123.5, 1.0), (0.25, 0.5, 2.0, 1.0)


def doubled(shape: tuple[int | str, ...], dtype: str = "float32") -> walle.Graph:
    """x + x, of one input called x."""
    builder = walle.Builder()
    x = builder.input("x", dtype, shape)
    return builder.graph([builder.Add(x, x)])


def photo(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def only(made: dict[str, object]) -> np.ndarray:
    return np.asarray(next(iter(made.values())))


@settings(max_examples=25, deadline=None)
@given(
    image=images(("uint8",), (1, 3, 4)), width=st.integers(1, 50), height=st.integers(1, 50), data=st.data(),
    layout=st.sampled_from(("NCHW", "CHW", "NHWC", "HWC")), kind=st.integers(0, 1), free=st.booleans(),
)  # fmt: skip
def test_the_same_bits_as_apart(
    image: np.ndarray, width: int, height: int, data: st.DataObject, layout: str, kind: int, free: bool
) -> None:
    code = data.draw(st.sampled_from(CODES[image.shape[2] if image.ndim == 3 else 1]))
    count = {cv.COLOR_BGR2GRAY: 1, -1: image.shape[2] if image.ndim == 3 else 1}.get(code, 3)
    prepare = cv.Preprocess((width, height), code, MEAN[:count], NORM[:count], layout, kind)
    shape = [{"N": 1, "C": count, "H": height, "W": width}[letter] for letter in layout]
    graph = doubled([s if s in (1, count) or not free else f"d{i}" for i, s in enumerate(shape)])
    apart = only(walle.Session(graph).run({"x": prepare(image)}))
    session = walle.Session(graph, preprocess={"x": prepare})
    for _ in range(2):
        assert only(session.run({"x": image})).tobytes() == apart.tobytes()
    assert session.inputs["x"] is not None
    assert session.inputs["x"].dtype.name == "uint8"


def test_views_of_images_are_read_where_they_are() -> None:
    whole = photo(40, 60)
    session = walle.Session(doubled((1, 3, 8, 8)), preprocess={"x": cv.Preprocess((8, 8), cv.COLOR_BGR2RGB)})
    part = whole[3:33, 5:50]
    expected = only(session.run({"x": np.ascontiguousarray(part)})).copy()
    np.testing.assert_array_equal(only(session.run({"x": part})), expected)


def test_a_run_makes_no_tensor() -> None:
    session = walle.Session(doubled((1, 3, 64, 64)), preprocess={"x": cv.Preprocess((64, 64))})
    pictures = [photo(50 + i, 70, seed=i) for i in range(4)]
    session.run({"x": pictures[0]})
    before = storage_stats()
    for image in pictures * 3:
        session.run({"x": image})
    assert storage_stats() == before


def test_what_a_caller_keeps_is_not_overwritten() -> None:
    """The output of a graph that only passes its input on is that input's memory."""
    builder = walle.Builder()
    x = builder.input("x", "float32", (1, 3, 8, 8))
    prepare = cv.Preprocess((8, 8))
    session = walle.Session(builder.graph([builder.Identity(x)]), preprocess={"x": prepare})
    pictures = [photo(20, 20, seed=i) for i in range(40)]
    kept = [session.run({"x": image}) for image in pictures]
    for made, image in zip(kept, pictures, strict=True):
        assert only(made).tobytes() == prepare(image).tobytes()
    views = [
        only(session.run({"x": image})) for image in pictures
    ]  # the Tensors are gone, their memory is not
    for view, image in zip(views, pictures, strict=True):
        assert view.tobytes() == prepare(image).tobytes()


def test_runs_at_once_have_memory_of_their_own() -> None:
    prepare = cv.Preprocess((32, 32), cv.COLOR_BGR2RGB)
    session = walle.Session(doubled((1, 3, 32, 32)), threads=1, preprocess={"x": prepare})
    wrong: list[int] = []

    def work(seed: int) -> None:
        image = photo(60, 60, seed=seed)
        expected = 2 * np.asarray(prepare(image))
        for _ in range(30):
            if only(session.run({"x": image})).tobytes() != expected.tobytes():
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_other_inputs_stay_as_they_are_and_the_step_comes_first() -> None:
    builder = walle.Builder()
    x, y = builder.input("x", "float32", (1, 3, 4, 4)), builder.input("y", "float32", (1, 3, 4, 4))
    prepare = cv.Preprocess((4, 4), mean=1)
    session = walle.Session(builder.graph([builder.Add(x, y)]), preprocess={"x": prepare})
    given = {"x": photo(4, 4), "y": np.ones((1, 3, 4, 4), "float32")}
    np.testing.assert_array_equal(only(session.run(given)), np.asarray(prepare(given["x"])) + 1)
    np.testing.assert_array_equal(
        only(session.run(list(given.values()))), np.asarray(prepare(given["x"])) + 1
    )
    first = session.describe()[0]
    assert (first["name"], first["op"]) == ("x", "preprocess")
    timed = session.profile(given)
    assert timed[0]["name"] == "x"
    assert timed[0]["seconds"] > 0
    assert len(timed) == len(session.describe())
    assert str(session.inputs["x"]) == "uint8[height, width, 3]"
    assert str(session.inputs["y"]) == "float32[1, 3, 4, 4]"


def test_a_kept_plan_takes_images_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WALLE_CACHE_LIMIT", str(1 << 30))
    path = str(tmp_path / "model.walle")
    save(doubled((1, 3, 6, 6)), path)
    image, prepare = photo(9, 9), cv.Preprocess((6, 6))
    found = [only(walle.Session(path, preprocess={"x": prepare}).run({"x": image})) for _ in range(2)]
    assert list((tmp_path / "cache").glob("plan-*"))
    plain = only(walle.Session(path).run({"x": prepare(image)}))
    assert found[0].tobytes() == found[1].tobytes() == plain.tobytes()


@pytest.mark.parametrize(
    ("shape", "dtype", "prepare", "told"),
    [
        ((1, 3, 8, 8), "float32", cv.Preprocess((9, 8)), "makes .*needs"),
        ((1, 3, 8, 8), "float32", cv.Preprocess((8, 8), layout="NHWC"), "channels|makes"),
        ((3, 8, 8), "float32", cv.Preprocess((8, 8)), "channels"),
        ((1, 3, 8, 8), "float32", cv.Preprocess((8, 8), cv.COLOR_BGR2GRAY), "makes .*needs"),
        ((2, 3, 8, 8), "float32", cv.Preprocess((8, 8)), "makes .*needs"),
        ((1, 3, 8, 8), "int32", cv.Preprocess((8, 8)), "float32"),
        ((1, "c", 8, 8), "float32", cv.Preprocess((8, 8)), "channels"),
        ((1, 3, 8, 8), "float32", cv.Preprocess((8, 8), mean=(1, 2)), "numbers"),
    ],
)
def test_preprocessing_that_makes_another_input_is_refused(shape, dtype, prepare, told) -> None:
    with pytest.raises(InputError, match=told) as error:
        walle.Session(doubled(shape, dtype), preprocess={"x": prepare})
    assert "'x'" in str(error.value)


def test_unknown_inputs_and_wrong_images_are_refused() -> None:
    graph, prepare = doubled((1, 3, 8, 8)), cv.Preprocess((8, 8), cv.COLOR_BGR2RGB)
    with pytest.raises(InputError, match="no input 'y'"):
        walle.Session(graph, preprocess={"y": prepare})
    session = walle.Session(graph, preprocess={"x": prepare})
    for wrong, told in (
        (photo(9, 9, 4), "4 channels"),
        (photo(9, 9)[..., 0], "1 channels"),
        (photo(9, 9).astype("float32"), "dtype"),
        (np.zeros((0, 4, 3), "uint8"), "empty"),
        (np.zeros((1, 3, 8, 8), "float32"), "dimensions"),
        ("picture", "image"),
    ):
        with pytest.raises(InputError, match=told) as error:
            session.run({"x": wrong})
        assert "'x'" in str(error.value)
    bare = walle.Session(graph, preprocess={"x": cv.Preprocess((8, 8))})
    with pytest.raises(InputError, match="4 channels"):
        bare.run({"x": photo(9, 9, 4)})
