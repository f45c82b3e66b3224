"""Three versions of the demonstration's task, which reads a handwritten digit that a user drew, and the larger model.

v1 works. v2 stretches the contrast, and divides by zero when nothing was drawn: recorded logs have no such drawing.
v3 mends that, and asks the cloud when the small network is not sure.
"""

from __future__ import annotations

import msgspec
import numpy as np
from walle_pipeline import Click

NAME, STREAM, SURE = "digits", "digits-unsure", 0.9

_CONFIG = f"""\
[task]
name = "{NAME}"
description = "Reads the digit that a user has drawn."
sample = "sample.json"

[trigger]                     # at every drawing
steps = [{{ kind = "click", page = "drawing" }}]

[inputs]
events = {{ dtype = "events" }}

[outputs]
digit = {{ dtype = "json" }}
share = {{ dtype = "float32", shape = [1] }}

[model.small]
file = "small.onnx"
inputs = {{ image = {{ dtype = "float32", shape = [1, 64] }} }}
outputs = {{ probability = {{ dtype = "float32", shape = [1, 10] }} }}

[features]
digit = "int"
share = "float"

[resources]
time_ms = 500
memory_mb = 64
"""

_CLOUD = f"""
[cloud]                       # a drawing of which the small network is not sure goes to the large one
stream = "{STREAM}"
confidence = "share"
below = {SURE}
"""

_SCRIPT = '''\
"""Reads the digit that a user has drawn."""

from walle_core import Tensor


def main(events, models):
    """The most probable digit of the newest drawing, and its probability."""
    image = events[-1]["contents"]["image"]
{scaling}
    (row,) = models["small"].run({{"image": Tensor.of([pixels], "float32")}})["probability"].tolist()
    digit = max(range(10), key=row.__getitem__)
    return {{
        "digit": digit,
        "share": Tensor.of([row[digit]], "float32"),
        "features": {{"digit": digit, "share": row[digit]}},
    }}
'''

_SCALING = {
    1: "    pixels = [value / 16 for value in image]",
    2: "    pixels = [value / max(image) for value in image]  # more contrast",
    3: "    pixels = [value / max(1, *image) for value in image]  # more contrast",
}


def files(version: int, small: bytes, drawing: np.ndarray) -> dict[str, bytes]:
    """Path -> content of a version. `small` is the model, `drawing` [64] an image for the check's run."""
    sample = {"events": [msgspec.to_builtins(drawn(drawing, 0, "sample"))]}
    return {
        "walle.toml": (_CONFIG + (_CLOUD if version == 3 else "")).encode(),
        "main.py": _SCRIPT.format(scaling=_SCALING[version]).encode(),
        "small.onnx": small,
        "sample.json": msgspec.json.encode(sample),
    }


def drawn(drawing: np.ndarray, time: int, user: str) -> Click:
    """The event of a drawing: [64] whole numbers from 0 to 16, at `time` in ms."""
    return Click("drawing", time, user, contents={"image": [int(value) for value in drawing]})
