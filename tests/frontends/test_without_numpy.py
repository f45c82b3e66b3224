"""Models load, fold and save where NumPy cannot be imported."""

import subprocess
import sys

from samples import ALL

SCRIPT = """
import sys
sys.modules["numpy"] = None
sys.modules["ml_dtypes"] = None
from walle_core.frontends import walle_file
from walle_core.frontends.onnx import load_bytes
from walle_core.graph.fold import fold
from walle_core.graph.fusion import fold_batch_norm
from walle_core.graph.shapes import infer
for name in sys.argv[2:]:
    data = bytes.fromhex(open(name).read())
    graph = load_bytes(data, check_operators=False)
    graph = fold_batch_norm(fold(infer(graph), lambda *_: None), lambda *_: None)
    walle_file.save(graph, sys.argv[1])
    assert len(walle_file.load(sys.argv[1]).nodes) == len(graph.nodes)
    print(graph.name, len(graph.nodes))
"""


def test_whole_path(tmp_path):
    files = []
    for name, data in ALL.items():
        files.append(tmp_path / name)
        files[-1].write_text(data.hex())
    command = [sys.executable, "-c", SCRIPT, tmp_path / "m.walle", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(ALL)
