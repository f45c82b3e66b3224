"""Run by the Python under test: compiled modules and sessions in own-GIL interpreters on several threads at once.

Each thread makes an interpreter, loads the model there, runs sessions on storage that the main interpreter shares with
it by handle, hands the outputs back by handle and closes the interpreter, again and again; the main interpreter runs
the same sessions with NumPy meanwhile. Every output must equal, bit by bit, what the main interpreter got alone, and
no storage may be left. Prints one line of JSON; any failure is an exception or a crash.

Each closed interpreter of Python 3.12 and 3.13 keeps megabytes for good, so their number is what bounds a run.
"""

import argparse
import gc
import importlib.util
import json
import sys
import threading
import time

import numpy as np
from own_gil import BLOCKED, Interpreter

import walle_core as walle
from walle_core._native import Tensor, storage_stats

BOOT = """
import importlib, sys
for name in blocked.split(","):
    sys.modules[name] = None
for name in compiled.split(","):
    importlib.import_module(name)
import walle_core as walle
from walle_core._native import Tensor
assert not walle.load_plugins().failed, walle.load_plugins().failed
assert set(backends.split(",")) == {name for name, devices in walle.backends().items() if devices}
try:
    Tensor([-1])
except walle.InputError:
    pass  # the class of this interpreter, not of the one that imported the module first
assert Tensor.from_dlpack(Tensor.of([[1, 2], [3, 4]])).reshape(-1).tolist() == [1, 2, 3, 4]
graph = walle.load(model)
sessions = {}
"""

# `box` carries one address per output back: a number is all that Python 3.12 lets cross.
JOB = """
x = Tensor.from_handle(given, eval(shape))
if (backend, threads) not in sessions:
    sessions[backend, threads] = walle.Session(graph, backend=backend, threads=threads)
made = list(sessions[backend, threads].run([x]).values())
view = memoryview(Tensor.from_handle(box, (len(made),), "int64"))
for index, tensor in enumerate(made):
    view[index] = tensor.export()
del x, made, view, tensor
"""


class Stress:
    def __init__(self, options):
        self.options = options
        self.x = np.fromfile(options.input, np.float32).reshape(options.shape)
        self.graph = walle.load(options.model)
        self.compiled = [name for name in options.compiled.split() if importlib.util.find_spec(name)]
        found = [name for name, devices in walle.backends().items() if devices]
        self.backends = [name for name in found if name != "reference"]  # it is made of NumPy
        self.cases = [(backend, threads) for backend in self.backends for threads in (1, 2)]
        self.sessions = {c: walle.Session(self.graph, backend=c[0], threads=c[1]) for c in self.cases}
        self.expected = {c: self.outputs(s) for c, s in self.sessions.items()}
        wanted = np.fromfile(options.expected, np.float32)
        for case, (made, *_) in self.expected.items():
            np.testing.assert_allclose(made.ravel(), wanted, 1e-4, 1e-5, err_msg=str(case))
        self.together = threading.Barrier(options.threads)
        self.errors, self.jobs, self.host_runs = [], [], 0

    def outputs(self, session):
        return [np.asarray(v).copy() for v in session.run([self.x]).values()]

    def check(self, case, made, where):
        for want, got in zip(self.expected[case], made, strict=True):
            assert got.tobytes() == want.tobytes(), f"{where}: {case} differs by {np.abs(got - want).max()}"

    def job(self, interpreter, case, given):
        wanted = self.expected[case]
        box = Tensor((len(wanted),), "int64")
        interpreter.run(
            JOB,
            given=given.export(),
            shape=repr(given.shape),
            box=box.export(),
            backend=case[0],
            threads=case[1],
        )
        return [Tensor.from_handle(h, w.shape) for h, w in zip(box.tolist(), wanted, strict=True)]

    def churn(self):
        given = Tensor.wrap(self.x).copy()
        names = {"blocked": BLOCKED, "compiled": ",".join(self.compiled), "backends": ",".join(self.backends)}
        for _ in range(self.options.rounds):
            kept = []
            with Interpreter() as interpreter:
                self.together.wait(300)  # all import at the same moment
                interpreter.run(BOOT, model=self.options.model, **names)
                for index in range(self.options.jobs):
                    case = self.cases[index % len(self.cases)]
                    kept.append((case, self.job(interpreter, case, given)))
                    self.jobs.append(case)
            for case, made in kept:  # the storage outlives the interpreter that made it
                self.check(case, [np.asarray(t) for t in made], "closed interpreter")

    def worker(self):
        try:
            self.churn()
        except BaseException as error:
            self.errors.append(error)
            self.together.abort()

    def run(self):
        threads = [threading.Thread(target=self.worker) for _ in range(self.options.threads)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            case = self.cases[self.host_runs % len(self.cases)]
            self.check(case, self.outputs(self.sessions[case]), "main interpreter")
            self.host_runs += 1
            threads[0].join(0.001)
        if self.errors:
            raise self.errors[0]


def resident_mb():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "input", "expected", "compiled"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--shape", type=int, nargs="+", required=True)
    for name in ("threads", "rounds", "jobs"):
        parser.add_argument(f"--{name}", type=int, required=True)
    stress = Stress(parser.parse_args())
    gc.collect()
    live, start, before = storage_stats()[0], time.perf_counter(), resident_mb()
    stress.run()
    gc.collect()
    closed = stress.options.threads * stress.options.rounds
    report = {
        "python": sys.version.split()[0],
        "interpreters": closed,
        "jobs": len(stress.jobs),
        "host": stress.host_runs,
    }
    report |= {"compiled": stress.compiled, "backends": stress.backends}
    report |= {"left": storage_stats()[0] - live, "seconds": round(time.perf_counter() - start, 1)}
    report["mb_each"] = round((resident_mb() - before) / closed, 1)
    print(json.dumps(report))
    assert report["left"] == 0, f"{report['left']} storages are left"


if __name__ == "__main__":
    main()
