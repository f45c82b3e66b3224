"""Plans kept on disk: the same results as planning, and never a plan that does not belong."""

import json
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

import walle_core as walle
from walle_core import cache, planfile, planimage
from walle_core.frontends.walle_file import save
from walle_core.graph.builder import Builder
from walle_core.ops import CATALOGUE
from walle_core.prepared import StoredPlan


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of the test's own, with the rates that the user's cache holds."""
    mine = tmp_path / "cache"
    mine.mkdir()
    for rates in cache.cache_folder().glob("rates-*.json"):
        shutil.copy(rates, mine)
    monkeypatch.setenv("WALLE_CACHE", str(mine))
    monkeypatch.delenv("WALLE_CACHE_LIMIT", raising=False)
    monkeypatch.setattr(cache, "_warned", [])
    return mine


def network(scale=1.0, open_batch=False):
    """Convolutions, a chain of elementwise kernels (which hold addresses of kernels), a product, a softmax."""
    rng = np.random.default_rng(0)
    g = Builder()
    x = g.input("x", "float32", ("n" if open_batch else 2, 8, 12, 12))
    w = g.const(walle.Tensor.wrap((scale * rng.standard_normal((16, 8, 3, 3))).astype(np.float32)))
    y = g.Conv(x, w, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    y = g.Mul(g.Tanh(g.Exp(g.Neg(y))), y)
    y = g.GlobalAveragePool(y)
    m = g.const(walle.Tensor.wrap(rng.standard_normal((16, 10)).astype(np.float32)))
    return g.graph([g.Softmax(g.MatMul(g.Flatten(y), m))])


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "net.walle"
    save(network(), str(file))
    return file


X = {"x": np.random.default_rng(1).standard_normal((2, 8, 12, 12), dtype=np.float32)}


def result(session):
    return [np.asarray(v).copy() for v in session.run(X).values()]


def stored(session):
    return isinstance(session.plan, StoredPlan)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", ["avx", "portable", None])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_second_start_gives_the_same_bits(path, name, threads):
    if name and not walle.backends().get(name):
        pytest.skip(f"{name} has no device here")
    first = walle.Session(path, backend=name, threads=threads)
    second = walle.Session(path, backend=name, threads=threads)
    assert not stored(first) and stored(second)
    assert same(result(first), result(second))
    assert second.inputs == first.inputs and second.outputs == first.outputs
    assert second.describe() == first.describe()
    assert [r["name"] for r in second.profile(X)] == [r["name"] for r in first.profile(X)]
    assert [n.op for n in second.graph.nodes] == [n.op for n in first.graph.nodes]
    with pytest.raises(walle.InputError, match="net"):
        second.run({"x": X["x"][:1]})


def test_without_cache_nothing_is_read_or_written(path, folder):
    walle.Session(path, cache=False)
    assert not planfile.kept()
    walle.Session(path)
    assert len(planfile.kept()) == 1
    assert not stored(walle.Session(path, cache=False))


def test_a_limit_of_zero_keeps_and_reads_nothing(path, monkeypatch):
    walle.Session(path)
    monkeypatch.setenv("WALLE_CACHE_LIMIT", "0")
    assert not stored(walle.Session(path))
    assert not stored(walle.Session(path, threads=1))
    assert len(planfile.kept()) == 1


def test_a_program_with_operators_of_its_own_keeps_no_plan(path, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "Mine", CATALOGUE["Softmax"])
    for _ in range(2):
        assert not stored(walle.Session(path))
    assert not planfile.kept()


def test_a_graph_in_memory_and_open_shapes_are_planned(tmp_path):
    walle.Session(network())
    path = tmp_path / "open.walle"
    save(network(open_batch=True), str(path))
    for _ in range(2):
        session = walle.Session(path)
        result(session)
        assert not stored(session)
    assert not planfile.kept()


def test_options_have_plans_of_their_own(path):
    walle.Session(path, threads=1)
    for options in (
        {"threads": 2},
        {"threads": 1, "backend": "reference"},
        {"threads": 1, "backend": ["portable"]},
    ):
        assert not stored(walle.Session(path, **options))
    assert stored(walle.Session(path, threads=1))


def test_a_changed_model_of_the_same_size_is_noticed(path):
    before = result(walle.Session(path))
    size, times = path.stat().st_size, path.stat()
    save(network(2.0), str(path))
    assert path.stat().st_size == size
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    changed = walle.Session(path)
    assert not stored(changed) and not same(before, result(changed))
    assert stored(walle.Session(path)) and same(result(changed), result(walle.Session(path)))


def test_a_file_beside_the_model_counts(tmp_path):
    onnx = pytest.importorskip("onnx")
    weight = np.ones((4, 4), np.float32)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [value("x", 1, (1, 4))],
        [value("y", 1, (1, 4))],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "m.onnx"
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    x = {"x": np.ones((1, 4), np.float32)}
    assert np.asarray(walle.Session(path).run(x)["y"]).tolist() == [[4.0] * 4]
    assert stored(walle.Session(path))
    (tmp_path / "w.bin").write_bytes((3 * weight).tobytes())
    again = walle.Session(path)
    assert not stored(again) and np.asarray(again.run(x)["y"]).tolist() == [[12.0] * 4]


@pytest.mark.parametrize("what", ["installed", "core", "processor", "environment", "system", "format"])
def test_another_machine_or_installation_plans_anew(path, monkeypatch, what):
    walle.Session(path)
    assert stored(walle.Session(path))
    key = planfile.Request.key
    monkeypatch.setattr(planfile.Request, "key", lambda self: {**key(self), what: "other"})
    assert not stored(walle.Session(path))


def plan_path():
    return planfile.kept()[0][0]


def damaged(data, seed):
    rng = np.random.default_rng(seed)
    kind, at = seed % 5, int(rng.integers(len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data + b"more"
    if kind == 2:
        return bytes(len(data))
    if kind == 3:
        at = int(rng.integers(200))
    return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_file_is_made_again(path, seed):
    want = result(walle.Session(path))
    kept = plan_path()
    data = kept.read_bytes()
    kept.write_bytes(damaged(data, seed))
    session = walle.Session(path)
    assert same(want, result(session))
    assert kept.read_bytes() == data or not stored(session)
    assert stored(walle.Session(path))


def rewritten(path, change):
    """The same file with another header, whose checksum fits."""
    data = path.read_bytes()
    length = int.from_bytes(data[8:16], "little")
    header = json.loads(data[24 : 24 + length])
    begin, nbytes = header["data"]
    change(header)
    path.write_bytes(b"".join(planimage.whole(header, nbytes, [])) + data[begin:])


CHANGES = {
    "a kernel that is not there": lambda h: h["state"]["kernels"][0].__setitem__(1, "none"),
    "another instruction set": lambda h: h["state"]["kernels"][0].__setitem__(3, "other"),
    "an operand outside the arena": lambda h: h["state"].__setitem__("arena", -1),
    "a constant that is not there": lambda h: h["sections"].clear(),
    "a constant outside the file": lambda h: h["sections"][0].__setitem__(1, 1 << 60),
    "a module that is no plugin": lambda h: h["state"].__setitem__("tables", "os:getcwd"),
    "a module that is no plugin either": lambda h: h.__setitem__("restore", "subprocess:run"),
    "steps of another form": lambda h: h["state"]["steps"][0].pop(),
    "an unknown dtype": lambda h: h["inputs"][0].__setitem__(1, "float99"),
    "nothing": lambda h: h.clear(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_header_that_does_not_fit_is_refused(path, name):
    want = result(walle.Session(path))
    rewritten(plan_path(), CHANGES[name])
    session = walle.Session(path)
    assert not stored(session) and same(want, result(session))


def test_a_folder_that_cannot_be_written_costs_one_warning(path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot keep the"):
        walle.Session(path, backend="portable")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        walle.Session(path, backend="portable")


def test_a_full_disk_costs_one_warning(path, monkeypatch, folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.warns(UserWarning, match="No space left"):
        walle.Session(path)
    assert not [p for p in folder.iterdir() if p.name.startswith("plan-") or p.suffix == ".tmp"]


def test_the_plans_unused_for_longest_make_room(tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}.walle" for i in range(3)]
    for i, path in enumerate(paths):
        save(network(1.0 + i), str(path))
        walle.Session(path)
        if i == 1:
            size = plan_path().stat().st_size
            os.utime(planfile.kept()[0][0])
            monkeypatch.setenv("WALLE_CACHE_LIMIT", str(2 * size + size // 2))
    assert len(planfile.kept()) == 2
    monkeypatch.setenv("WALLE_CACHE_LIMIT", "100")
    walle.Session(paths[0], threads=1)
    assert len(planfile.kept()) == 2


def test_a_restored_start_imports_neither_numpy_nor_the_operators(path):
    walle.Session(path, threads=1)
    code = (
        "import sys, walle_core\n"
        f"s = walle_core.Session({str(path)!r}, threads=1)\n"
        "s.run([walle_core.Tensor((2, 8, 12, 12))])\n"
        "assert type(s.plan).__name__ == 'StoredPlan', s.plan\n"
        "heavy = {'numpy', 'walle_core.ops', 'walle_core.plan', 'walle_core.frontends', 'importlib.metadata'} & {*sys.modules}\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_two_processes_at_once(path):
    code = (
        "import sys, walle_core\n"
        f"for _ in range(4): walle_core.Session({str(path)!r}, threads=1).run([walle_core.Tensor((2, 8, 12, 12))])\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [p.wait(timeout=120) for p in running] == [0, 0, 0]
    assert stored(walle.Session(path, threads=1))


def test_the_command_lists_and_removes(path):
    walle.Session(path)
    command = [sys.executable, "-m", "walle_core", "cache"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "net.walle" in listed
    cleared = subprocess.run(
        [*command, "--clear"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert "removed 1 plans" in cleared and not planfile.kept()
