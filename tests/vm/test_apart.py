"""Two tasks write the same names: what each kind of isolation keeps apart, on one worker in turn and on two at once."""

import sys

import pytest

from walle_core import vm
from walle_core.vm import Limits, Policy, Task
from walle_core.vm.allow import DEFAULT

LIMITS = Limits(wall_s=60)
GRANT = Policy(imports=DEFAULT | {"os"})
SOURCE = """
import json, os, random
mark = None
def main(put=None):
    global mark
    if put is not None:
        mark = put
        json.walle_mark = put
        os.environ['WALLE_APART'] = str(put)
        random.seed(put)
    return [mark, getattr(json, 'walle_mark', None), os.environ.get('WALLE_APART'), random.random()]
"""


def hosts():
    for workers in (1, 2):
        for mode in ("interpreter", "process", "thread"):
            yield pytest.param((workers, mode), id=f"{mode}-{workers}")


@pytest.fixture(params=hosts())
def host(request):
    workers, mode = request.param
    if mode == "interpreter" and sys.version_info < (3, 12):
        pytest.skip("Python 3.11 has no interpreters with a GIL of their own")
    with vm.TaskHost(workers, mode) as made:
        yield made


def expected(seed):
    import random

    draw = random.Random(seed)
    return [draw.random() for _ in range(3)]


def test_neither_sees_the_other(host):
    one, two = (Task(name, SOURCE, policy=GRANT) for name in ("one", "two"))
    fresh = host.submit(one, limits=LIMITS).result()[:3]
    assert fresh == [None] * 3
    # one worker: in turn; two: at once, and each task may be on both
    for _ in range(3):
        runs = [(put, host.submit(task, {"put": put}, LIMITS)) for task, put in ((one, 1), (two, 2))]
        for put, run in runs:
            got = run.result()
            assert got[0] == put
            if host.mode != "thread":
                assert got[1:] == [put, str(put), expected(put)[0]]
    if host.workers == 1:
        for n in (1, 2):
            for task, put in ((one, 1), (two, 2)):
                got = host.submit(task, limits=LIMITS).result()
                assert got[0] == put
                if host.mode != "thread":
                    assert got[1:] == [put, str(put), expected(put)[n]]
    third = host.submit(Task("three", SOURCE, policy=GRANT), limits=LIMITS).result()
    assert third[:1] == [None]
    if host.mode != "thread":
        assert third[1:3] == [None, None]


def test_the_host_does_not_see_them(host):
    import json
    import os
    import random

    if host.mode == "thread":
        pytest.skip("tasks in threads share the process's modules")
    random.seed(5)
    state = random.getstate()
    host.submit(Task("one", SOURCE, policy=GRANT), {"put": 1}, LIMITS).result()
    assert not hasattr(json, "walle_mark")
    assert "WALLE_APART" not in os.environ
    assert random.getstate() == state


@pytest.fixture(autouse=True)
def _clean():
    import json
    import os

    yield
    os.environ.pop("WALLE_APART", None)
    if hasattr(json, "walle_mark"):
        del json.walle_mark
