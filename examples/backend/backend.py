"""Installs a backend plugin of one file into a folder, and runs a softmax on it that it has never heard of.

    python examples/backend/backend.py

The plugin is walle_backend_counting.py. What it has no kernel for is decomposed into what it has, and the rest runs elsewhere.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

import walle_core as walle

HERE = Path(__file__).resolve().parent
NAME = "walle_backend_counting"


def install(folder: Path) -> None:
    """What pip would do: the module, and who it is."""
    shutil.copy(HERE / f"{NAME}.py", folder)
    info = folder / f"{NAME}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: walle-backend-counting\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[walle]\ncounting = {NAME}\n")
    sys.path.insert(0, str(folder))


def main() -> int:
    """Runs it; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder))
        if "counting" not in walle.backends():
            print("the plugin was not found; `walle plugins` says why", file=sys.stderr)
            return 1
        g = walle.Builder()
        x = g.input("x", "float32", (4, 16))
        weight = g.const(np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32))
        graph = g.graph([g.Softmax(g.Relu(g.Add(g.MatMul(x, weight), g.const(0.5))), axis=-1)])
        given = {"x": np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32)}
        session = walle.Session(graph, backend="counting")
        (found,) = session.run(given).values()
        (wanted,) = walle.Session(graph, backend="reference").run(given).values()
        print(f"parts of the plan: {', '.join(part.backend for part in session.plan.parts)}")
        from walle_backend_counting import RUNS

        print(f"run by the plugin: {', '.join(f'{count} {op}' for op, count in sorted(RUNS.items()))}")
        apart = float(np.abs(np.asarray(found) - np.asarray(wanted)).max())
        print(f"largest difference from the definition: {apart:.1e}")
        print(walle.rank(graph, measure=True, inputs=given).table())
    return 0 if apart < 1e-5 and RUNS else 1


if __name__ == "__main__":
    sys.exit(main())
