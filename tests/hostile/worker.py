"""A process that runs damaged models: `worker.py SEEDS.pickle FIRST STEP COUNT`.

Prints one line per case, before and after, so that the case during which the process died is known. Its memory is
limited and a case that takes too long ends the process with the stacks of all threads.
"""

import faulthandler
import os
import pickle
import random
import resource
import sys
import tempfile
import warnings
from pathlib import Path

import mutate
import numpy as np
from onnx import ModelProto

from walle_core.errors import InputError, WalleError
from walle_core.frontends import walle_file
from walle_core.graph.ir import Graph, subgraphs
from walle_core.loading import load, load_bytes
from walle_core.ops import find
from walle_core.plugins import load_plugins
from walle_core.session import Session

SECONDS = 20  # of one case, on a busy machine
ROOM = 3 << 30  # bytes of address space beyond what the libraries take
UNWANTED = ("Warning", "unexpected way")
RANDOM = ("training", "random")


def fits(value, spec):
    """An array of this spec; `value` itself where it is one."""
    sizes = [d if isinstance(d, int) else 2 for d in (spec.shape or ())]
    if np.prod(sizes, dtype=float) > 1e6 or spec.dtype.format is None or spec.dtype.kind in "cs":
        return value
    if isinstance(value, np.ndarray) and value.dtype.name == spec.dtype.name and list(value.shape) == sizes:
        return value
    flat = (
        np.zeros(1)
        if not isinstance(value, np.ndarray) or not value.size or value.dtype.kind not in "iufb"
        else value
    )
    with np.errstate(all="ignore"):
        return np.resize(flat, sizes).astype(spec.dtype.name)


def random_nodes(graph: Graph) -> bool:
    """True if the graph's results are not given by its inputs."""
    return any(
        ((op := find(n.op)) is not None and (not op.deterministic or n.op == "RNN"))
        or any(map(random_nodes, subgraphs(n)))
        for n in graph.nodes
    )


def tame(data, feeds):
    """True if no number is so extreme that two correct ways to compute with it may differ."""
    model = ModelProto.FromString(data)
    inner = mutate.graphs(model.graph)
    values = [v for v in feeds.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
    values += [mutate.decoded(t) for g in inner for t in g.initializer]
    for node in (n for g in inner for n in g.node):
        for a in node.attribute:
            values += [np.asarray([a.f, *a.floats])]
            values += [mutate.decoded(a.t)] if a.HasField("t") else []
    with np.errstate(all="ignore"):
        return all(bool((np.abs(v.astype(np.float64)) <= 1e4).all()) for v in values if v.dtype.kind == "f")


def attempt(graph, feeds, backend, threads):
    """Outputs of a run, or the WalleError."""
    try:
        session = Session(graph, backend=backend, threads=threads)
        try:
            made = session.run({n: feeds.get(n) for n in graph.inputs})
        except InputError:
            given = {
                n: fits(feeds.get(n), graph.specs[n]) if n in graph.specs else feeds.get(n)
                for n in graph.inputs
            }
            made = session.run(given)
    except WalleError as error:
        return error
    return {n: np.asarray(v) if hasattr(v, "dtype") else v for n, v in made.items()}


def differ(want, got) -> str:
    """Why two backends' outputs are not the same."""
    for name, a in want.items():
        b = got[name]
        if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
            continue
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{name}: {a.dtype}{a.shape} {b.dtype}{b.shape}"
        if a.dtype.kind not in "fiub" or not a.size:
            continue
        with np.errstate(all="ignore"):
            if a.dtype.kind == "f":
                x, y = a.astype(np.float64), b.astype(np.float64)
                usual = np.isfinite(x) & np.isfinite(y) & (np.abs(x) < 1e6)
                scale = np.abs(x[usual]).max(initial=1.0)
                wrong = usual & ~np.isclose(x, y, rtol=1e-2, atol=1e-3 * scale, equal_nan=True)
            elif a.dtype.kind == "b" or a.size < 3:
                wrong = np.zeros(
                    a.shape, bool
                )  # a threshold or a tie between numbers that may differ in rounding
            else:
                wrong = np.abs(a.astype(np.float64) - b.astype(np.float64)) > 1
                wrong &= wrong.mean() > 0.3
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            return (
                f"{name}: {wrong.sum()} of {a.size} differ, first at {[int(i) for i in at]}: {a[at]} {b[at]}"
            )
    return ""


def case(number, seeds, operators, folder, verbose=False):
    """Runs one case; returns what is wrong with it, or "" and its outcome."""
    rng = random.Random(number)
    name, data, feeds = seeds[rng.randrange(len(seeds))]
    feeds, kind = dict(feeds), rng.random()
    path = Path(folder) / ("hostile.walle" if kind < 0.05 else "hostile.onnx")
    if kind < 0.05:
        walle_file.save(load_bytes(data), path)
        whole = path.read_bytes()
        head = 8 + int.from_bytes(whole[:8], "little")
        unsealed = whole[:head].replace(
            b'"crc32"', b'"sum32"'
        )  # what lies behind the checksum must hold by itself
        path.write_bytes(mutate.damage(rng, unsealed) + whole[head:])
    elif kind < 0.12:
        path.write_bytes(mutate.damage(rng, data))
    else:
        model = ModelProto.FromString(data)
        mutate.mutate(rng, model, feeds, operators)
        data = model.SerializeToString()
        path.write_bytes(data)
    threads = rng.choice((1, 2))
    problems, made = [], {}
    try:
        graph = load(path)
    except WalleError as error:
        made = {"load": error}
    else:
        for backend in load_plugins().backends:
            made[backend] = attempt(graph, feeds, backend, threads)
    for who, result in made.items():
        if verbose:
            print(name, who, repr(result)[:1500])
        if isinstance(result, WalleError):
            text = str(result)
            problems += [f"{who}: {text[:600]}" for word in UNWANTED if word in text]
            if path.name not in text:
                problems.append(f"{who}: no file named: {text[:600]}")
    results = {k: v for k, v in made.items() if not isinstance(v, WalleError)}
    first = results.pop("reference", None)
    if (
        first is not None
        and not random_nodes(graph)
        and not any(w in name for w in RANDOM)
        and kind >= 0.12
        and tame(data, feeds)
    ):
        problems += [
            f"{k} differs from reference: {why}" for k, v in results.items() if (why := differ(first, v))
        ]
    end = (
        "ok"
        if results
        else next((type(v).__name__ for v in made.values() if isinstance(v, WalleError)), "ok")
    )
    return [f"{name}: {p}" for p in problems], end


def main():
    """Runs the cases."""
    path, first, step, count = sys.argv[1], *map(int, sys.argv[2:5])
    faulthandler.enable()
    os.environ["WALLE_MAX_TRIPS"] = "2048"
    warnings.simplefilter("error")
    seeds = pickle.loads(Path(path).read_bytes())
    operators = sorted({n.op_type for s in seeds for n in ModelProto.FromString(s[1]).graph.node})
    load_plugins()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + step * count, step):
            print("start", number, flush=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            if os.environ.get("WALLE_CRASH_AT") == str(number):
                os.abort()
            try:
                problems, kind = case(number, seeds, operators, folder, verbose=count == 1)
            except Exception as error:
                import traceback

                frames = traceback.extract_tb(error.__traceback__)[-3:]
                where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
                if count == 1:
                    traceback.print_exc()
                problems, kind = [f"{type(error).__name__}: {str(error)[:300]} at {where}"], "bug"
            faulthandler.cancel_dump_traceback_later()
            for problem in problems:
                print("bad", number, problem.replace("\n", " "), flush=True)
            print("end", number, kind, flush=True)


if __name__ == "__main__":
    main()
