"""Runs in a process of its own: imports a task's script, calls its entry, and reports what happened, line by line.

Started by `dryrun`; standard input holds the request, the report goes to the descriptor that was standard output. What
the script prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def main() -> None:
    """Reads the request and reports each phase before it begins; the last line is the result or the error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**what: Any) -> None:
        channel.write(json.dumps(what) + "\n")
        channel.flush()

    request = json.load(sys.stdin)
    sys.path[:] = request["path"]
    from walle_deploy.task import inside

    sys.path.insert(0, request["folder"])
    sys.dont_write_bytecode = True
    os.chdir(request["folder"])
    phase = "start"
    try:
        say(phase="models")
        phase = "models"
        models = inside.models(request)
        inputs, sizes = inside.inputs_of(request)
        if request["numpy"]:
            __import__("numpy")
        inside.confine(request["memory_mb"])
        inside.processor_time(request["seconds"])
        before = inside.peak()
        say(phase="import")
        phase = "import"
        entry = inside.entry_of(request)
        say(phase="run")
        phase = "run"
        if request["wants_models"]:
            inputs["models"] = models
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            result = entry(**inputs)
            seconds.append(time.perf_counter() - start)
        peak = inside.peak() - before
        phase = "result"
        wrong = list(inside.wrong_in(request, result, sizes))
        say(first_ms=seconds[0] * 1e3, ms=min(seconds) * 1e3, memory_mb=peak / 2**20, wrong=wrong)
    except BaseException as error:  # the script may raise anything, SystemExit too
        say(error=inside.text_of(error), phase=phase, line=inside.line_of(error, request))
    channel.close()
    os._exit(0)


if __name__ == "__main__":
    main()
