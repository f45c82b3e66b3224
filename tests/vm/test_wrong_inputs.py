"""A host takes nothing that its threads would stumble over: they, and the watchdog, go on whatever it is given."""

import math
import sys
import threading

import pytest

from walle_core import vm
from walle_core.errors import InputError, UnsupportedError
from walle_core.vm import Limits, Outcome, Task
from walle_core.vm.slot import Slot

TASK = Task("seven", "def main(x=7): return x")
MODES = ["thread", "process", *(["interpreter"] if sys.version_info >= (3, 12) else [])]


@pytest.mark.parametrize("mode", MODES)
def test_wrong_arguments_leave_the_host_whole(mode):
    with vm.TaskHost(1, mode) as host:
        for given in (
            (None,),
            ("seven",),
            (TASK, {}, "x"),
            (TASK, {}, 5),
            (TASK, {}, None),
            (TASK, {}, Limits(), math.nan),
            (TASK, {}, Limits(), "1"),
        ):
            with pytest.raises(InputError, match="must be a"):
                host.submit(*given)
        nested: list = []
        nested.append(nested)
        for inputs in (
            5,
            "x",
            {"y": 1},
            {1: 2},
            {"x": object()},
            {"x": {1, 2}},
            {"x": (..., 4097, (1,), "float32")},
            {"x": lambda: 1},
        ):
            if mode != "thread" or inputs in (5, "x"):
                assert host.submit(TASK, inputs, Limits(wall_s=20)).wait(30).outcome in (
                    Outcome.ERROR,
                    Outcome.REFUSED,
                )
        for wide in (
            Limits(wall_s=math.inf),
            Limits(wall_s=1e300),
            Limits(memory_mb=2**40),
            Limits(output_bytes=2**40),
            Limits(grace_s=math.inf),
        ):
            assert host.submit(TASK, {"x": 1}, wide).wait(30).outcome is Outcome.OK, wide
        assert host.submit(TASK, {}, Limits(wall_s=20)).result() == 7


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2", 10**9])
def test_a_number_of_workers_that_cannot_be_is_refused(workers):
    with pytest.raises(InputError, match="workers"):
        vm.TaskHost(workers, "thread")


def test_threads_that_the_system_does_not_give_end_those_that_it_gave(monkeypatch):
    made = []

    class Fails(Slot):
        def __init__(self, lane, *, extra):
            if len(made) == 2:
                raise RuntimeError("can't start new thread")
            super().__init__(lane, extra=extra)
            made.append(self.thread)

    monkeypatch.setattr("walle_core.vm.lane.Slot", Fails)
    with pytest.raises(UnsupportedError, match="2 threads for 5 workers"):
        vm.TaskHost(5, "thread")
    assert not any(thread.is_alive() for thread in made)
    assert not [t for t in threading.enumerate() if t.name == "walle-task-thread" and t in made]


@pytest.mark.parametrize("name", ["wall_s", "memory_mb", "output_bytes", "grace_s"])
def test_limits_are_numbers_that_can_be_counted(name):
    for value in (
        -1,
        math.nan,
        "1",
        None,
        *((math.inf, 1e300) if name in ("memory_mb", "output_bytes") else ()),
    ):
        with pytest.raises((TypeError, ValueError)):
            Limits(**{name: value})
