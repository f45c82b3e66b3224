"""Seconds of a training step and peak memory beside PyTorch's, interleaved, and both gradients compared.

    python benchmarks/training.py --python .venv-training/bin/python      (make bench-training)

Each model trains in two processes, one per engine, from the same weights on the same batch of 8; rounds of steps take
turns, and the medians are compared. Memory is by how much the process' peak grew after its imports.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from training_models import CLASSES, MODELS

from walle_core import train

HERE = Path(__file__).resolve().parent
BATCH = 8


def resident(field: str) -> float:
    """Megabytes of this process in memory: now (VmRSS) or at most (VmHWM)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field + ":")) / 1024


def problem(name: str):
    """(graph, names of its weights in the order of their making, input, target)."""
    graph = MODELS[name](BATCH)
    rng = np.random.default_rng(0)
    x = rng.normal(size=graph.specs["input"].sizes).astype(np.float32)
    wanted = set(train.parameters(graph))
    names = [n for n in graph.constants if n in wanted]
    return graph, names, x, rng.integers(0, CLASSES, BATCH)


def worker(name: str, threads: int, recompute: bool) -> None:
    """Walle's side: as training_torch.py."""
    start = resident("VmRSS")
    graph, _, x, target = problem(name)
    trainer = train.Trainer(
        graph, train.CrossEntropy(), train.SGD(0.001, momentum=0.9), threads=threads, recompute=recompute
    )
    trainer.prepare({"input": x})
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(resident("VmHWM") - start, flush=True)
        else:
            begun = time.perf_counter()
            trainer.step({"input": x}, target)
            print(time.perf_counter() - begun, flush=True)


class Side:
    """A process that trains."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE
        )
        self._line()

    def _line(self) -> str:
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.process.args[0]}: the process of {self.process.args[2]} ended early")
        return line

    def ask(self, command: str) -> float:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def gradient_error(name: str, other: str) -> float:
    """Largest difference of a weight's gradients, relative to the largest of its elements."""
    from walle_core import Session
    from walle_core.train.step import TARGET, make_step

    graph, names, x, target = problem(name)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/grads.npz"
        write(f"{folder}/problem.npz", name)
        side = Side([other, str(HERE / "training_torch.py"), name, f"{folder}/problem.npz", "2"])
        side.ask(f"gradients {path}")
        side.close()
        with np.load(path) as data:
            theirs = [data[k] for k in data.files]
    # one step of plain descent at rate 1 moves each weight by its gradient
    step = make_step(graph, names, graph.outputs[0], train.CrossEntropy(), train.SGD(1.0), None, True, False)
    given = {"input": x, TARGET: target, "train/lr": np.array(1.0, np.float32)}
    given |= {n: graph.constants[n] for n in step.updated}
    made = Session(step.graph).run(given)
    worst = 0.0
    for weight, wanted in zip(names, theirs, strict=True):
        found = np.asarray(graph.constants[weight]) - np.asarray(made[step.updated[weight]])
        worst = max(worst, float(abs(found - wanted).max() / max(abs(wanted).max(), 1e-3)))
    return worst


def write(path: str, name: str) -> None:
    graph, names, x, target = problem(name)
    weights = {f"weight.{i:03}": np.asarray(graph.constants[n]) for i, n in enumerate(names)}
    np.savez(path, input=x, target=target, **weights)


def measure(name: str, other: str, threads: int, rounds: int, recompute: bool) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/problem.npz", name)
        own = [sys.executable, str(HERE / "training.py"), "--worker", name, "--threads", str(threads)]
        sides = [
            Side([*own, "--recompute"] if recompute else own),
            Side([other, str(HERE / "training_torch.py"), name, f"{folder}/problem.npz", str(threads)]),
        ]
        times: list[list[float]] = [[], []]
        for side in sides:
            side.ask("step")
        for _ in range(rounds):
            for side, seconds in zip(sides, times, strict=True):
                seconds += [side.ask("step") for _ in range(3)]
        memory = [side.ask("memory") for side in sides]
        for side in sides:
            side.close()
    mine, theirs = map(statistics.median, times)
    error = gradient_error(name, other)
    return (
        f"| {name}, batch {BATCH}, {threads} threads | {mine * 1e3:.1f} | {theirs * 1e3:.1f} | {mine / theirs:.2f} "
        f"| {memory[0]:.0f} | {memory[1]:.0f} | {error:.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", help="of an environment with PyTorch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument(
        "--recompute", action="store_true", help="compute cheap values again instead of keeping them"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.threads, options.recompute)
        return
    if not options.python:
        parser.error("--python: an environment with PyTorch (make .venv-training/stamp makes one)")
    python = str(Path(options.python).absolute())
    print("| training step | walle ms | PyTorch ms | ratio | walle MB | PyTorch MB | gradients differ by |")
    print("|---|---|---|---|---|---|---|")
    for name in MODELS:
        print(measure(name, python, options.threads, options.rounds, options.recompute), flush=True)


if __name__ == "__main__":
    main()
