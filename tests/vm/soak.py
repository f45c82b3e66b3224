"""Run by the Python under test: threads that make interpreters, use every compiled module in them and end them again.

Each thread opens a host with one interpreter, has it do every family of `families`, then a mix of these, of runs that must
be stopped, that take too much memory and that are cancelled, and of tensors that other threads made; then it closes the host
and begins anew. What a family returns must equal, bit by bit, what the main interpreter got. Prints one line of JSON: what was
done and what is left; a wrong result is an exception.
"""

import argparse
import gc
import json
import sys
import threading
import time
from collections import Counter, deque
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from random import Random

from families import tasks

from walle_core import vm
from walle_core._native import Tensor, storage_stats
from walle_core.vm import Limits, Outcome, Policy, Task, allow

AMPLE = Limits(wall_s=300, memory_mb=1024)
BAD = {
    "loop": ("def main():\n  n = 0\n  while True: n += 1", Limits(wall_s=0.05, grace_s=60), {Outcome.TIMEOUT}),
    "hog": ("def main():\n  x = []\n  while True: x.append(bytes(1000))", Limits(wall_s=60, memory_mb=16), {Outcome.MEMORY}),
    "tensors": (
        "from walle_core import Tensor\ndef main():\n  x = []\n  while True: x.append(Tensor((1000, 100)))",
        Limits(wall_s=60, memory_mb=16), {Outcome.MEMORY},
    ),
    "error": ("def main(): return {}['absent']", AMPLE, {Outcome.ERROR}),
    "exit": ("def main(): raise SystemExit(3)", AMPLE, {Outcome.EXIT}),
    "flood": ("def main():\n  while True: print('x' * 500)", Limits(wall_s=60, output_bytes=20_000), {Outcome.OUTPUT}),
}  # fmt: skip
CANCELLED = "import time\ndef main():\n  while True: time.sleep(0.001)"
HANDED = "def main(x, n):\n  memoryview(x)[0] = n\n  return x"
LOADED = "import sys\ndef main(names): return [n for n in names if n in sys.modules]"
SEEDS = 6  # different inputs per family


def compiled_modules() -> list[str]:
    """Names of the compiled modules in the core and in every installed plugin, found by looking at what is installed."""
    found = []
    for top in {
        "walle_core",
        *(e.value.partition(":")[0].partition(".")[0] for e in entry_points(group="walle")),
    }:
        spec = find_spec(top)
        for folder in spec.submodule_search_locations if spec is not None else ():
            for path in Path(folder).rglob("*"):
                name, _, suffix = path.name.partition(".")
                if f".{suffix}" in EXTENSION_SUFFIXES:
                    found.append(".".join([top, *path.relative_to(folder).parts[:-1], name]))
    return sorted(found)


def plain(value):
    """A result as values that can be compared."""
    if isinstance(value, Tensor):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


class Soak:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.modules = compiled_modules()
        self.tasks = tasks()
        self.bad = {name: (Task(name, source), *rest) for name, (source, *rest) in BAD.items()}
        self.cancelled, self.handed = Task("cancelled", CANCELLED), Task("handed", HANDED)
        self.loaded = Task("loaded", LOADED, policy=Policy(imports=allow.DEFAULT | {"sys"}))
        self.x = Tensor.wrap(Path(options.input).read_bytes(), "float32", options.shape).copy()
        self.counts: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self.shelf: deque[Tensor] = deque(maxlen=16)  # what threads leave for each other
        self.together = threading.Barrier(options.threads)
        self.backends = self.native()
        with vm.TaskHost(1, "thread") as host:
            self.expected = {
                (name, seed): plain(host.submit(task, self.given(seed), AMPLE).result(300))
                for name, task in self.tasks.items() for seed in range(SEEDS)
            }  # fmt: skip

    @staticmethod
    def native() -> list[str]:
        """Backends that are no more than compiled modules: others need drivers or NumPy."""
        import walle_core as walle

        found = {n for n, devices in walle.backends().items() if devices}
        return [n for n, b in walle.load_plugins().backends.items() if n in found and hasattr(b, "kernels")]

    def given(self, seed: int) -> dict:
        return {"seed": seed, "x": self.x, "model": self.options.model, "backends": self.backends}

    def family(self, host: vm.TaskHost, name: str, seed: int) -> None:
        got = plain(host.submit(self.tasks[name], self.given(seed), AMPLE).result(600))
        assert got == self.expected[name, seed], f"{name} {seed}: another result than in the main interpreter"

    def misbehave(self, host: vm.TaskHost, name: str) -> None:
        task, limits, outcomes = self.bad[name]
        run = host.submit(task, limits=limits)
        assert run.outcome in outcomes, f"{name} ended {run.outcome}: {run.error}"

    def cancel(self, host: vm.TaskHost) -> None:
        run = host.submit(self.cancelled, limits=Limits(wall_s=300, grace_s=60))
        time.sleep(0.005)
        run.cancel()
        assert run.outcome is Outcome.CANCELLED, run.outcome

    def hand_over(self, host: vm.TaskHost, seed: int) -> None:
        """A tensor goes through two tasks and another thread without being copied."""
        try:
            tensor = self.shelf.popleft()
        except IndexError:
            tensor = Tensor((1000,))
        got = host.submit(self.handed, {"x": tensor, "n": float(seed)}, AMPLE).result(600)
        assert got.address == tensor.address, "a tensor was copied"
        assert memoryview(tensor)[0] == seed, "what a task wrote is not there"
        self.shelf.append(got)

    def round(self, draw: Random) -> None:
        with vm.TaskHost(1, "interpreter") as host:
            for name in draw.sample(sorted(self.tasks), len(self.tasks)):
                self.family(host, name, draw.randrange(SEEDS))
                self.counts[name] += 1
            loaded = host.submit(self.loaded, {"names": self.modules}).result(600)
            idle = sorted(set(self.modules) - set(loaded))
            assert not idle, f"no family of families.py uses {', '.join(idle)}: give it work there"
            for _ in range(self.options.jobs):
                kind = draw.choices(["family", "bad", "cancel", "hand"], [6, 2, 1, 4])[0]
                name = draw.choice(sorted(self.tasks if kind == "family" else self.bad))
                if kind == "family":
                    self.family(host, name, draw.randrange(SEEDS))
                elif kind == "bad":
                    self.misbehave(host, name)
                elif kind == "cancel":
                    self.cancel(host)
                else:
                    self.hand_over(host, draw.randrange(1000))
                self.counts[name if kind in {"family", "bad"} else kind] += 1
            assert host.stats()["interpreter"]["quarantined"] == 0
        self.counts["interpreters"] += 1

    def worker(self, number: int, end: float) -> None:
        try:
            draw = Random(number)
            self.together.wait(300)  # the first imports happen at the same moment
            while not self.errors:
                self.round(draw)
                if time.monotonic() > end:
                    return
        except BaseException as error:
            self.errors.append(error)
            self.together.abort()

    def run(self) -> None:
        end = time.monotonic() + self.options.seconds
        threads = [threading.Thread(target=self.worker, args=(n, end)) for n in range(self.options.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.shelf.clear()
        if self.errors:
            raise self.errors[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("model", "input"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--shape", type=int, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=40)
    soak = Soak(parser.parse_args())
    gc.collect()
    live, start = storage_stats()[0], time.perf_counter()
    soak.run()
    gc.collect()
    print(json.dumps({
        "python": sys.version.split()[0], "seconds": round(time.perf_counter() - start, 1), "counts": soak.counts,
        "modules": soak.modules, "backends": soak.backends, "families": sorted(soak.tasks), "left": storage_stats()[0] - live,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
