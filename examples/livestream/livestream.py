"""Finds the highlights of a livestream: three tasks look for faces, recognise the item and listen for a voice at the same time,
a fourth one scores what they found.

    python examples/livestream/livestream.py --out build/livestream

Each second of the stream is given to all three, which run side by side in interpreters with a GIL of their own (Python 3.12 and
later) or in processes; then the same in threads under one GIL. Prints the latency of each part and what the isolation gains,
writes highlights.png and highlights.json. Needs the models and samples of WALLE_MODELS, and walle-core[image].
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import poster
import stream

import walle_core as walle
from walle_core import cv, vm
from walle_core import matrix as xp

HERE = Path(__file__).resolve().parent
MODELS = {
    "faces": "rfb320_face.onnx",
    "items": "squeezenet11_imagenet.onnx",
    "voice": "silero_vad_16k_op15.onnx",
}
LIMITS = vm.Limits(wall_s=60, memory_mb=512)
PARTS = ("faces", "items", "voice", "highlights")


@attrs.define
class Pass:
    """One pass over the stream: what was found, seconds of each run by part, and of all."""

    found: dict[str, Any]
    runs: dict[str, list[float]]
    seconds: float


class Analysis:
    """The four tasks on one host."""

    def __init__(self, isolation: str) -> None:
        self.host = vm.TaskHost(workers=3, isolation=isolation)
        self.tasks = {
            name: vm.Task(name, (HERE / "tasks" / f"{name}.py").read_text(encoding="utf-8")) for name in PARTS
        }

    def start(self, part: str, **inputs: Any) -> vm.TaskRun:
        """Submits a part's next run."""
        return self.host.submit(self.tasks[part], inputs, LIMITS)

    def over(self, made: stream.Stream) -> Pass:
        """Analyses a stream, second by second."""
        faces: list[Any] = []
        items: list[Any] = []
        voice: list[float] = []
        heard: dict[str, Any] = {}
        runs: dict[str, list[float]] = {name: [] for name in PARTS}
        sound = xp.asarray(made.sound)
        result: dict[str, Any] = {}
        begin = time.perf_counter()
        for second in range(len(made.scenes)):
            frames = made.frames[second * stream.FPS : (second + 1) * stream.FPS]
            samples = sound[second * stream.RATE : (second + 1) * stream.RATE].tensor
            started = {
                "faces": self.start("faces", frames=frames, window=stream.WINDOW),
                "items": self.start("items", frames=frames, window=stream.WINDOW),
                "voice": self.start("voice", samples=samples, **heard),
            }
            faces += started["faces"].result()
            items += started["items"].result()
            spoken, state, context = started["voice"].result()
            voice += spoken
            heard = {"state": state, "context": context}
            started["highlights"] = self.start(
                "highlights", faces=faces, items=items, voice=voice, fps=stream.FPS,
                windows_per_s=len(voice) / (second + 1),
            )  # fmt: skip
            result = started["highlights"].result()
            for name, run in started.items():
                runs[name].append(run.timings.run_s)
        found = {"faces": faces, "items": items, "voice": voice, "highlights": result}
        return Pass(found, runs, time.perf_counter() - begin)


def share(name: str, path: Path) -> vm.SharedModel:
    """Loads a model once for the tasks of all hosts, on the backend that is predicted to be the fastest of those that can be shared."""
    graph = walle.load(path)
    for row in walle.rank(graph, threads=1):
        with contextlib.suppress(walle.UnsupportedError):
            return vm.share_model(name, graph, row.backend)
    raise walle.UnsupportedError(f"no backend that is installed can share the plan of {path}")


def compare(made: stream.Stream, isolation: str, rounds: int) -> tuple[list[Pass], list[Pass]]:
    """Passes in the wanted isolation, and in threads under one GIL, in turn, after one of each that is not counted."""
    apart, together = Analysis(isolation), Analysis("thread")
    passes: tuple[list[Pass], list[Pass]] = ([], [])
    try:
        for number in range(rounds + 1):
            for kept, analysis in zip(passes, (apart, together), strict=True):
                one = analysis.over(made)
                if number:
                    kept.append(one)
    finally:
        apart.host.close()
        together.host.close()
    return passes


def table(apart: list[Pass], together: list[Pass], mode: str, seconds: int) -> list[str]:
    """Lines with the latency of each part per second of the stream, and the speed-up."""
    lines = [f"{'median per second of the stream, ms':<36}{mode:>12}{'one GIL':>12}"]
    for part in PARTS:
        one, other = (
            statistics.median(s for p in passes for s in p.runs[part]) * 1e3 for passes in (apart, together)
        )
        lines.append(f"  {part:<34}{one:>12.1f}{other:>12.1f}")
    one, other = (
        statistics.median(p.seconds for p in passes) / seconds * 1e3 for passes in (apart, together)
    )
    lines.append(f"  {'all four':<34}{one:>12.1f}{other:>12.1f}")
    lines.append(f"speed-up over one GIL: {other / one:.2f}")
    return lines


def main() -> int:
    """Runs the example; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/livestream"))
    parser.add_argument("--seconds", type=int, default=len(stream.SCENES), choices=range(1, len(stream.SCENES) + 1), metavar="1..10")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="passes that are measured (default: 5)")
    parser.add_argument("--isolation", default="auto", choices=("auto", "interpreter", "process"))
    options = parser.parse_args()
    models = Path(os.environ.get("WALLE_MODELS", "../shared/models")).resolve() / "real"
    if not (models / "samples").is_dir():
        print(f"there are no models in {models}; set WALLE_MODELS to their folder")
        return 2
    from walle_core.vm.host import automatic

    mode = automatic() if options.isolation == "auto" else options.isolation
    made = stream.make(models / "samples", options.seconds)
    print(f"a stream of {options.seconds} s: {len(made.frames)} frames of {stream.WIDTH} x {stream.HEIGHT}, sound at {stream.RATE} Hz")  # fmt: skip
    shared = [share(name, models / file) for name, file in MODELS.items()]
    print(f"models shared by all tasks: {sum(m.nbytes for m in shared) / 2**20:.1f} MiB")
    apart, together = compare(made, options.isolation, max(1, options.rounds))
    found = apart[-1].found
    if found != together[-1].found:
        print("the tasks found something else under one GIL")
        return 1
    names = (HERE / "imagenet.txt").read_text(encoding="utf-8").splitlines()
    for place, moment in enumerate(found["highlights"]["moments"], 1):
        number, sure = found["items"][moment["best"]][0]
        print(
            f"highlight {place}: {moment['begin'] / stream.FPS:.1f} to {moment['end'] / stream.FPS:.1f} s, score {moment['score']:.2f} "
            f"({', '.join(moment['why'])}); {len(found['faces'][moment['best']])} faces, {names[number]} {sure:.0%}"
        )
    print("\n".join(table(apart, together, mode, options.seconds)))
    options.out.mkdir(parents=True, exist_ok=True)
    cv.imwrite(options.out / "highlights.png", poster.draw(made, found, names))
    (options.out / "highlights.json").write_text(json.dumps(found), encoding="utf-8")
    print(f"highlights.png and highlights.json are in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
