"""Run by the Python under test: arrays in own-GIL interpreters on four threads, which share their input's memory.

Every interpreter must get, bit by bit, what the main one got, with the kernel tables that the main one has found; no storage
may be left. Prints one line of JSON.
"""

import gc
import json
import sys
import threading

from own_gil import Interpreter

from walle_core import matrix as xp
from walle_core._native import Tensor
from walle_core._native.tensor import storage_stats

TASK = """
import sys
for name in blocked.split(","):
    sys.modules[name] = None
from walle_core import matrix as xp
from walle_core._native import Tensor

@xp.fused
def chain(a, b):
    return xp.tanh((a * 2 + b) * b - a)

def work(x):
    row = x[0]
    y = chain(x, row) + xp.exp(-xp.abs(x)) / (1 + xp.square(row))
    y[y > 0.5] *= 0.5
    y[:, 0] = xp.sum(y, axis=1)
    small = [xp.asarray([1.0, 2.0]) + i for i in range(50)]
    try:
        xp.ones(2) + xp.ones(3)
    except ValueError as error:
        assert "broadcast" in str(error)
    return xp.concat([y, xp.flip(xp.permute_dims(y, (1, 0)))[:3] if y.shape[0] == y.shape[1] else y]) + small[3][0] * 0
"""
RUN = """
made = work(xp.Array.of(Tensor.from_handle(given, eval(shape))))
made = xp.astype(made, xp.float32)
view = memoryview(Tensor.from_handle(box, (1,), "int64"))
view[0] = made.tensor.export()
del made, view
assert not [name for name in sys.modules if name.startswith("walle_backend") or name == "importlib.metadata"]
"""


def main(threads=4, rounds=3, runs=20):
    space = {"blocked": "numpy"}
    given = xp.astype(xp.linspace(-3, 3, 120 * 120), xp.float32)
    given = xp.reshape(given, (120, 120))
    exec(TASK.replace("sys.modules[name] = None", "pass"), space)
    wanted = xp.astype(space["work"](given), xp.float32)
    expected = wanted.tensor.tobytes()
    space.clear()
    gc.collect()
    live = storage_stats()[0]
    errors, done = [], []

    def worker():
        try:
            for _ in range(rounds):
                with Interpreter() as interpreter:
                    interpreter.run(TASK, blocked="numpy,ml_dtypes")  # nothing else needs to be
                    for _ in range(runs):
                        box = Tensor((1,), "int64")
                        interpreter.run(
                            RUN, given=given.tensor.export(), shape=repr(given.shape), box=box.export()
                        )
                        made = Tensor.from_handle(box.tolist()[0], wanted.shape)
                        assert made.tobytes() == expected, "an interpreter got another result"
                        done.append(1)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=worker) for _ in range(threads)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    if errors:
        raise errors[0]
    gc.collect()
    assert storage_stats()[0] == live, f"{storage_stats()[0] - live} storages are left"
    print(json.dumps({"python": sys.version.split()[0], "runs": len(done)}))


if __name__ == "__main__":
    main()
