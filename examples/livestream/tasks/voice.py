"""Task: how likely it is that somebody speaks, every 32 ms (Silero's voice activity detector, 16 kHz)."""

from __future__ import annotations

from typing import Any

from walle_core import Tensor, shared_model
from walle_core import matrix as xp

WINDOW, CONTEXT = 512, 64
session: Any = None


def main(samples: Any, state: Any = None, context: Any = None) -> tuple[list[float], Any, Any]:
    """(probability of each window of `samples`, state, context); the last two are for the samples that follow."""
    global session
    if session is None:
        session = shared_model("voice")
    rate = Tensor.of(16000, "int64")
    state = Tensor((2, 1, 128)) if state is None else state
    context = xp.zeros(CONTEXT, dtype=xp.float32) if context is None else xp.asarray(context)
    sound, found = xp.asarray(samples), []
    for begin in range(0, sound.size - WINDOW + 1, WINDOW):
        heard = xp.concat([context, sound[begin : begin + WINDOW]])
        made = session.run({"input": heard.tensor.reshape(1, -1), "state": state, "sr": rate})
        found.append(made["output"].item())
        state, context = made["stateN"], heard[-CONTEXT:]
    return found, state, context.tensor
