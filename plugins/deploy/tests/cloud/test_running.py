"""Executors that die, hang, or are of another kind; one sample never stops the others."""

import asyncio
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import ClassVar

import pytest
from cloud_models import labels, seven_dies, seven_hangs
from cloud_world import SIGNATURE, STREAM, fill, running, sample, until
from walle_deploy.cloud.on_ray import RayExecutor
from walle_deploy.cloud.running import ALONE, OneThread, Running
from walle_deploy.cloud.service import CloudService
from walle_deploy.cloud.work import CloudTask
from walle_deploy.errors import CloudError
from walle_deploy.task.packing import unpack
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink


def tasks(model):
    return {"digits": CloudTask("digits", STREAM, model, SIGNATURE)}


def digits(outcomes):
    return [unpack(o.answer)["label"] if o.ok else None for o in outcomes]


def run(executor, model, payloads, seconds=20.0):
    async def main():
        made = Running(executor, seconds)
        try:
            return await made.work(tasks(model), payloads)
        finally:
            made.close()

    return asyncio.run(main())


def processes():
    return ProcessPoolExecutor(1, get_context("spawn"))


@pytest.mark.parametrize(
    "executor", [None, lambda: ThreadPoolExecutor(2), processes], ids=["one", "threads", "processes"]
)
def test_kinds(executor):
    outcomes = run(executor, labels, [sample(n) for n in range(10)])
    assert digits(outcomes) == list(range(10))


def test_a_sample_that_ends_the_process(monkeypatch):
    monkeypatch.setattr("walle_deploy.cloud.running.ALONE", 1)
    outcomes = run(processes, seven_dies, [sample(n) for n in (7, 2)])
    assert digits(outcomes) == [None, 2]
    assert "has ended" in outcomes[0].why
    assert (outcomes[0].task, outcomes[0].run) == ("digits", "digits/0")


def test_a_sample_that_hangs_a_process():
    hanging = []

    def make():
        hanging.append(processes())
        hanging[-1].submit(int).result(20)  # it has started
        return hanging[-1]

    (outcome,) = run(make, seven_hangs, [sample(7)], seconds=0.3)
    assert "more than 0.3 s" in outcome.why
    assert hanging[0]._processes is None or not any(p.is_alive() for p in hanging[0]._processes.values())


def test_a_sample_that_hangs_a_thread():
    release = threading.Event()

    def hangs(inputs):
        found = labels(inputs)
        if {"label": 7} in found:
            release.wait(60)
        return found

    outcomes = run(None, hangs, [sample(n) for n in (1, 7, 2)], seconds=0.2)
    release.set()
    assert digits(outcomes) == [1, None, 2]


class Foreign(Executor):
    """Keeps the contract of concurrent.futures.Executor and nothing more; its worker may be gone, as on a cluster."""

    made: ClassVar = []

    def __init__(self, fails=0):
        self.fails, self.calls, self.down = fails, 0, False
        self.made.append(self)

    def submit(self, fn, /, *args, **kwargs):
        assert not self.down
        self.calls += 1
        future = Future()

        def work():
            if self.calls <= self.fails:
                future.set_exception(LookupError("the worker died"))
            else:
                future.set_result(fn(*args, **kwargs))

        threading.Thread(target=work).start()
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.down = True


def test_an_executor_of_another_kind():
    Foreign.made.clear()
    assert digits(run(Foreign, labels, [sample(n) for n in range(5)])) == list(range(5))
    assert [e.down for e in Foreign.made] == [True]


def test_workers_that_die_at_first_cost_nothing_but_time():
    Foreign.made.clear()
    failures = iter([1, 1, 0, 0])
    outcomes = run(lambda: Foreign(next(failures)), labels, [sample(n) for n in (1, 2)])
    assert digits(outcomes) == [1, 2]
    assert len(Foreign.made) == 3


def test_workers_that_always_die():
    Foreign.made.clear()
    (outcome,) = run(lambda: Foreign(9), labels, [sample(1)])
    assert "the worker died" in outcome.why
    assert len(Foreign.made) == ALONE


def test_one_batch_that_hangs_does_not_cost_another_its_answers():
    release = threading.Event()

    def hangs(inputs):
        found = labels(inputs)
        if {"label": 7} in found:
            release.wait(60)
        return found

    async def main():
        made = Running(None, 0.3)
        first = asyncio.create_task(made.work(tasks(hangs), [sample(7)]))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(made.work(tasks(hangs), [sample(2)]))  # waits behind the first
        found = await first, await second
        made.close()
        return found

    (bad,), (good,) = asyncio.run(main())
    release.set()
    assert not bad.ok
    assert good.ok


def test_cancelling_is_no_failure():
    async def main():
        made = Running(None, 20)
        task = asyncio.create_task(made.work(tasks(seven_hangs), [sample(1)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        made.close()

    asyncio.run(main())


def test_one_thread_ends_and_cancels_what_waits():
    made, release = OneThread(), threading.Event()
    first, second = made.submit(release.wait, 20), made.submit(int)
    until(first.running)
    made.shutdown(wait=False, cancel_futures=True)
    assert second.cancelled()
    release.set()
    assert first.result(10)
    failing = OneThread()
    with pytest.raises(ZeroDivisionError):
        failing.submit(lambda: 1 // 0).result(10)
    failing.shutdown()


def test_without_ray_it_says_so():
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(CloudError, match="pip install ray"):
            RayExecutor()
    else:
        pytest.skip("ray is installed")


def test_batches_at_the_same_time(tmp_path, store):
    path, together, most = tmp_path / "sink.db", [], []
    fill(path, *(sample(n % 10, n) for n in range(40)))
    lock = threading.Lock()

    def counted(inputs):
        with lock:
            together.append(1)
            most.append(len(together))
        time.sleep(0.02)
        with lock:
            together.pop()
        return labels(inputs)

    task = CloudTask("digits", STREAM, counted, SIGNATURE)
    service = CloudService(
        SqliteSink(path), [task], store, executor=lambda: ThreadPoolExecutor(4), batch=5, parallel=4
    )
    with running(service):
        until(lambda: store.positions(STREAM) == {"d1": 40})
    assert max(most) >= 3
    assert [unpack(a.answer)["label"] for a in store.answers()] == [n % 10 for n in range(40)]
