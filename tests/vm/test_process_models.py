"""A task in a process opens a model by its file: no device's driver is asked for, and no cache is needed."""

import pytest

import walle_core as walle
from walle_core import Tensor, vm
from walle_core.backends.device.opening import first_usable
from walle_core.frontends.walle_file import save

OPEN = """
from walle_core import Session
def main(path, x):
    session = Session(path, threads=1)
    return session.backends, list(session.run([x]).values())[0]
"""


def test_a_task_in_a_process_opens_a_model_whatever_is_installed(tmp_path):
    builder = walle.Builder()
    x = builder.input("x", "float32", (2, 3))
    path = str(tmp_path / "model.walle")
    save(builder.graph([builder.Add(x, x)]), path)
    task = vm.Task("open", OPEN, policy=vm.Policy(read=(str(tmp_path),)))
    with vm.TaskHost(1, "process") as host:
        given = {"path": path, "x": Tensor.of([[1.0, 2, 3], [4, 5, 6]])}
        backends, made = host.submit(task, given, vm.Limits(wall_s=60, memory_mb=512)).result()
    assert made.tolist() == [[2, 4, 6], [8, 10, 12]]
    shared = {n for n, b in walle.load_plugins().backends.items() if b.traits.shares_host_memory}
    assert set(backends) <= shared


def test_no_device_is_opened_where_the_environment_says_so(monkeypatch):
    def find():
        pytest.fail("looked for devices")

    monkeypatch.setenv("WALLE_DEVICES", "none")
    assert first_usable("Device", "WALLE_TEST_DEVICE", find) is None
