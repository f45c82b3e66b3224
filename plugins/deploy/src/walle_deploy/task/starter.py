"""A small task that works at once: it reads the visit of a page, asks a model, and makes a feature."""

from __future__ import annotations

import tempfile
from pathlib import Path

from walle_deploy.errors import TaskError
from walle_deploy.task.values import TASK_NAME

_CONFIG = """\
[task]
name = "{name}"
description = "How interested a visitor of an item's page is."
script = "main.py"
entry = "main"

[trigger]                     # when the task runs: at the end of each visit of an item's page
page_visit = "item"
within = "30m"

[inputs]                      # what the entry is called with, by name
events = {{ dtype = "events" }}

[outputs]                     # what it returns, by name
interest = {{ dtype = "float32", shape = [1, 2] }}

[model.scorer]                # models["scorer"] in the script
file = "scorer.walle"
inputs = {{ counts = {{ dtype = "float32", shape = [1, 3] }} }}
outputs = {{ "{output}" = {{ dtype = "float32", shape = [1, 2] }} }}

[features]                    # the record that goes to the cloud
clicks = "int"
seconds = "float"

[resources]                   # of one run
time_ms = 200
memory_mb = 64
"""

_SCRIPT = '''\
"""How interested a visitor of an item's page is."""

from walle_core import Tensor


def main(events, models):
    """Counts what happened during the visit and asks the model."""
    clicks = sum(event["kind"] == "click" for event in events)
    scrolls = sum(event["kind"] == "scroll" for event in events)
    seconds = (events[-1]["time"] - events[0]["time"]) / 1000 if events else 0.0
    counts = Tensor.of([[float(clicks), float(scrolls), seconds]], "float32")
    (interest,) = models["scorer"].run({"counts": counts}).values()
    return {"interest": interest, "features": {"clicks": clicks, "seconds": seconds}}
'''


def example(name: str) -> dict[str, bytes]:
    """The files of the example. Raises TaskError if the name cannot be a task's."""
    import re

    if not re.fullmatch(TASK_NAME, name):
        raise TaskError(f"task {name!r}: wanted lower-case letters, digits, '-' and '_', at most 64")
    model, output = _model()
    return {
        "walle.toml": _CONFIG.format(name=name, output=output).encode(),
        "main.py": _SCRIPT.encode(),
        "scorer.walle": model,
        ".gitignore": b"__pycache__/\n",
        ".gitattributes": b"* -text\n",  # the bytes that were signed, on every system
    }


def _model() -> tuple[bytes, str]:
    """Three counts -> the odds of little and much interest; and the name of that output."""
    from walle_core import Builder
    from walle_core.frontends.walle_file import save

    build = Builder()
    counts = build.input("counts", "float32", (1, 3))
    weights = build.const([[-0.5, 0.5], [-0.2, 0.2], [-0.05, 0.05]])
    output = build.Softmax(build.Add(build.MatMul(counts, weights), build.const([[1.0, -1.0]])), axis=-1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scorer.walle")
        save(build.graph([output], "scorer"), path)
        return path.read_bytes(), output
