"""Conformance and latency of the backends that have a GPU, against other engines' GPU backends.

    make bench-gpu                                # all of it, and a dated section in docs/benchmarks.md
    python benchmarks/gpu.py --python .venv-peers/bin/python --only resnet18 --markdown build/gpu.md
    python benchmarks/gpu.py --any-device --only squeezenet11   # where there is no GPU: a trial on PoCL, lavapipe, ...

Backends are found by what their devices say (trait ``kind`` is ``gpu``), never by name. Each runs the
conformance kit first (with WALLE_FULL=0 the share of it that backends which compile kernels run by default). Then every
(engine, model) runs in a process of its own, in rounds that rotate among the engines; the figure is the median of all runs, copies to and from
the device included. Outputs are compared with those stored beside the model, else with the NumPy definitions. Engines
that are not installed, or would use the processor instead, are left out and named.

Exit code: 0; 1 if a backend fails conformance or gives a wrong output; 3 if there is no device.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from conversions import load_arrays
from gpu_engines import PEERS
from peers import QUANTISED, WRONG, Worker, calm_slice, error_of
from report import geometric_mean, write_section

import walle_core as walle

NO_DEVICE = 3
NEEDED = (
    "needed: a GPU, its vendor's driver with Vulkan or OpenCL, the loader (libvulkan.so.1 or libOpenCL.so.1), and Walle's "
    "plugin for it (pip install walle-backend-vulkan or walle-backend-opencl); `walle devices` shows what is found. "
    "--any-device tries this script on what is no GPU"
)


@attrs.define
class Tested:
    """A backend, its device, and counts of the conformance kit's outcomes."""

    backend: str
    device: Any
    counts: dict[str, int] = attrs.field(factory=dict)

    @property
    def conforms(self) -> bool:
        return bool(self.counts.get("passed")) and not {"failed", "error", "errors"} & {*self.counts}


def chosen(names: Sequence[str], any_device: bool) -> list[Tested]:
    """Backends whose first device is a GPU; with `any_device`, those named, else all whose devices say what they are."""
    here = walle.backends()
    if unknown := {*names} - {*here}:
        raise SystemExit(f"no backend {', '.join(sorted(unknown))}; installed: {', '.join(here)}")
    found = []
    for name, devices in here.items():
        kind = devices[0].traits.get("kind") if devices else None
        if name in names or not names:
            if kind == "gpu" or (any_device and devices and (kind or names)):
                found.append(Tested(name, devices[0]))
    return found


def nothing(names: Sequence[str]) -> str:
    """Why there is nothing to do, and what would help."""
    rows = [
        f"  {name}: "
        + ("; ".join(f"{d.name} (kind {d.traits.get('kind', 'not given')})" for d in ds) or "no device")
        for name, ds in walle.backends().items()
        if not names or name in names
    ]
    return "\n".join(["no backend has a GPU on this machine:", *rows, NEEDED])


def conformance(backend: str, kit: str, which: str, folder: Path) -> dict[str, int]:
    """Outcome -> count of the kit on a backend; its output goes to a log in `folder`."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--pyargs",
        kit,
    ]
    command += ["--walle-backend", backend, *(["-k", which] if which else [])]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"conformance-{backend}.log"
    with log.open("w", encoding="utf-8") as out:
        env = {"WALLE_FULL": "1", **os.environ, "WALLE_REQUIRE_DEVICES": "1"}
        subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=env, check=False)
    last = log.read_text(encoding="utf-8").strip().rpartition("\n")[2]
    return {what: int(count) for count, what in re.findall(r"(\d+) (\w+)", last.partition(" in ")[0])}


def expected(model: Path, outputs: Sequence[str]) -> list[np.ndarray]:
    """The model's outputs for its stored inputs."""
    stored = load_arrays(model, ("out_",))
    if all(name in stored for name in outputs):
        return [stored[name] for name in outputs]
    made = walle.Session(model, backend="reference", cache=False).run(load_arrays(model))
    return [np.asarray(v) for v in made.values()]


def compare(model: Path, tested: Sequence[Tested], options: argparse.Namespace) -> dict[str, Any]:
    """Per engine: median seconds and error, or why it cannot."""
    graph = walle.load(model)
    limit = QUANTISED if any(n.op == "QuantizeLinear" for n in graph.nodes) else WRONG
    want, workers, rows = expected(model, graph.outputs), [], {}
    try:
        for engine in [*(f"walle:{t.backend}" for t in tested), *options.engines]:
            python = sys.executable if engine.startswith("walle:") else options.python
            worker = Worker(
                engine, model, options.threads, options.folder, python, graph.outputs, script="gpu_engines.py"
            )
            rows[engine] = dict(worker.facts)
            if "error" in worker.facts:
                worker.close()
                continue
            workers.append(worker)
            rows[engine]["difference"] = error_of(worker.outputs(), want)
            rows[engine]["wrong"] = not rows[engine]["difference"] <= limit
        times: dict[str, list[float]] = {w.engine: [] for w in workers}
        for round_ in range(options.rounds):
            for worker in workers[round_ % len(workers) :] + workers[: round_ % len(workers)]:
                times[worker.engine] += calm_slice(worker, options.slice)
        for engine, values in times.items():
            rows[engine]["median_s"] = statistics.median(values)
    finally:
        for worker in workers:
            worker.close()
    return {"model": model.stem, "engines": rows}


def fastest(row: dict[str, Any], ours: bool) -> tuple[float, str]:
    """(seconds, engine) of the fastest one with right outputs, among Walle's backends or the others."""
    right = [
        (facts["median_s"], engine)
        for engine, facts in row["engines"].items()
        if engine.startswith("walle:") is ours and "median_s" in facts and not facts["wrong"]
    ]
    return min(right, default=(float("nan"), "-"))


def cells(row: dict[str, Any], engines: Sequence[str]) -> list[str]:
    """A row of the table."""
    shown = []
    for engine in engines:
        facts = row["engines"][engine]
        text = f"{facts['median_s'] * 1e3:.3f}" if "median_s" in facts else "-"
        shown.append(f"{text} (err {facts['difference']:.1g})" if facts.get("wrong") else text)
    (mine, _), (theirs, peer) = fastest(row, True), fastest(row, False)
    return [row["model"], *shown, f"{mine / theirs:.2f}" if mine / theirs > 0 else "-", peer]


def section(
    tested: Sequence[Tested], rows: Sequence[dict[str, Any]], options: argparse.Namespace
) -> list[str]:
    """The lines for docs/benchmarks.md."""
    real = all(t.device.traits.get("kind") == "gpu" for t in tested)
    lines = [
        "## GPUs" if real else "## A trial of the GPU benchmark on devices that are none", "",
        f"Made by `python benchmarks/gpu.py` on {date.today()}: {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}.", "",
        "| backend | device | kind | driver | conformance |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for t in tested:
        counts = ", ".join(f"{n} {what}" for what, n in t.counts.items()) or "not run"
        traits = [str(t.device.traits.get(key, "-")) for key in ("kind", "driver")]
        lines.append(f"| {' | '.join([t.backend, t.device.name, *traits, counts])} |")
    if not rows:
        return [*lines, ""]
    engines = [e for e in rows[0]["engines"] if any("median_s" in r["engines"][e] for r in rows)]
    heads = ["model", *engines, "ratio", "fastest peer"]
    lines += [
        "", f"Median latency in milliseconds per run, batch 1, float32, copies included, {options.rounds} interleaved rounds of "
        f"{options.slice} s; ratio: Walle's fastest backend against the fastest other engine whose output is right.", "",
        f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 2) + "---|",
    ]  # fmt: skip
    lines += [f"| {' | '.join(cells(r, engines))} |" for r in rows]
    mean = geometric_mean([fastest(r, True)[0] / fastest(r, False)[0] for r in rows])
    lines += ["", f"Geometric mean of the ratios: {mean:.2f}"] if mean == mean else []
    absent = {e: r["engines"][e]["error"] for r in rows for e in r["engines"] if e not in engines}
    lines += ["", *(f"Left out: {engine} ({why})" for engine, why in absent.items())] if absent else []
    return [*lines, ""]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say whether there is a device")
    parser.add_argument("--any-device", action="store_true", help="also devices that are no GPU")
    parser.add_argument(
        "--backend", action="append", default=[], metavar="NAME", help="only this one (repeatable)"
    )
    models = Path(os.environ.get("WALLE_MODELS", "../shared/models"))
    parser.add_argument("--models", type=Path, default=models)
    parser.add_argument(
        "--paper", type=Path, default=Path("build/paper"), help="folder of the paper's models"
    )
    parser.add_argument("--folder", type=Path, default=Path("build/peers"), help="keeps converted models")
    parser.add_argument("--logs", type=Path, default=Path("build/gpu"))
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the other engines")
    parser.add_argument("--engines", default=",".join(PEERS), help="comma-separated; default: all")
    parser.add_argument("--only", default="", help="comma-separated model names")
    parser.add_argument(
        "--conformance",
        default="",
        metavar="EXPRESSION",
        help="part of the kit, as pytest's -k; none: leave it out",
    )
    parser.add_argument(
        "--kit", default="walle_core.testing.conformance", help="all of the kit, or one of its modules"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the host")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice", type=float, default=0.3, help="seconds per engine and round")
    parser.add_argument("--markdown", type=Path, help="page whose section on GPUs is written")
    options = parser.parse_args()
    options.engines = [e for e in options.engines.split(",") if e]
    if unknown := {*options.engines} - {*PEERS}:
        parser.error(f"no engine {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    tested = chosen(options.backend, options.any_device)
    if not tested:
        print(nothing(options.backend), file=sys.stderr)
        return NO_DEVICE
    if options.check:
        print(*(f"{one.backend}: {one.device.name}" for one in tested), sep="\n")
        return 0
    for one in tested:
        print(f"{one.backend}: {one.device.name}", flush=True)
        if options.conformance != "none":
            one.counts = conformance(one.backend, options.kit, options.conformance, options.logs)
            print(f"  conformance: {one.counts or f'did not run; see {options.logs}'}", flush=True)
    wanted, rows = {*filter(None, options.only.split(","))}, []
    for file in sorted(options.paper.glob("*.onnx")) + sorted((options.models / "real").glob("*.onnx")):
        if not wanted or file.stem in wanted:
            rows.append(compare(file, tested, options))
            for engine, facts in rows[-1]["engines"].items():
                print(
                    f"{file.stem}  {engine}  {facts.get('error') or cells(rows[-1], [engine])[1] + ' ms'}",
                    flush=True,
                )
    lines = section(tested, rows, options)
    if options.markdown:
        write_section(options.markdown, "gpu", lines)
    print("\n".join(lines))
    ours = [f for r in rows for e, f in r["engines"].items() if e.startswith("walle:")]
    bad = any(f.get("wrong") or "error" in f for f in ours)
    bad |= options.conformance != "none" and not all(t.conforms for t in tested)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
