"""The order of runs, without threads."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from walle_core.vm.fair import FairQueue


def test_higher_priorities_first_then_arrival():
    queue = FairQueue()
    for n, priority in enumerate([0, 2, 1, 2]):
        queue.push("t", n, priority)
    assert [queue.pop() for _ in range(4)] == [1, 3, 2, 0]
    assert queue.pop() is None


def test_time_is_shared_among_tasks():
    """Runs of one task take ten times as long; each gets half of the time."""
    queue, time, had = FairQueue(), 0.0, Counter()
    for _ in range(1000):
        queue.push("long", "long")
        queue.push("short", "short")
    while time < 20:
        task = queue.pop()
        took = {"long": 0.1, "short": 0.01}[task]
        queue.charge(task, took)
        time += took
        had[task] += took
    assert abs(had["long"] - had["short"]) < 0.5 or not had["short"] < 10


def test_time_is_not_saved_up():
    queue = FairQueue()
    queue.push("idle", "idle")
    queue.pop()
    for _ in range(100):
        queue.push("busy", "busy")
    for _ in range(50):
        queue.pop()
        queue.charge("busy", 1.0)
    for _ in range(10):
        queue.push("idle", "idle")
    first = [queue.pop() for _ in range(2)]
    queue.charge(first[0], 100.0)
    assert "idle" in first


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-2, 2)), max_size=60), st.data())
def test_every_run_comes_out_once(pushes, data):
    queue, out = FairQueue(), []
    for n, (task, priority) in enumerate(pushes):
        queue.push(task, (task, n), priority)
        if data.draw(st.booleans()):
            run = queue.pop()
            out.append(run)
            queue.charge(run[0], data.draw(st.floats(0, 2)))
        assert len(queue) == n + 1 - len(out)
    while (run := queue.pop()) is not None:
        out.append(run)
    assert sorted(n for _, n in out) == list(range(len(pushes)))


def test_the_next_of_another_task():
    queue = FairQueue()
    for n in range(3):
        queue.push("busy", f"busy{n}")
    queue.push("late", "late0")
    queue.charge("late", 100.0)  # it has had more than its share
    queue.push("low", "low0", -1)
    assert queue.other({"busy"}) == ("late", "late0")
    assert queue.other({"busy", "late"}) is None  # one of higher priority waits
    assert queue.pop("late") == "late0"
    assert queue.other({"busy"}) is None
    assert [queue.pop() for _ in range(5)] == ["busy0", "busy1", "busy2", "low0", None]
