"""Runs in a process of its own: one version of a task, its models loaded once, called for each message that comes.

Started by `contained`; the argument is the descriptor of a socket. A message is its length (4 bytes, little-endian) and
packed values (see walle_deploy.task.packing). The first one says what the task is; it is answered by the phases of the
start, the last of which is ``ready``. Each further one holds inputs, and gets one answer. What the script prints is dropped.
"""

from __future__ import annotations

import os
import queue
import socket
import struct
import sys
import threading
import time
from typing import Any

LENGTH = struct.Struct("<I")
MAX_RESULT = 1 << 20  # bytes of an answer


def main() -> None:
    """Serves until the socket ends, which is when the agent's process does."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _die_with_parent()
    coming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, coming), daemon=True).start()
    import json

    request = json.loads(coming.get())
    sys.path[:] = request["path"]
    from walle_deploy.task import inside
    from walle_deploy.task.packing import pack, unpack

    def say(**what: Any) -> None:
        data = pack(what)
        if len(data) > MAX_RESULT:
            data = pack({"error": f"a result of {len(data)} bytes; at most {MAX_RESULT} are taken"})
        channel.sendall(LENGTH.pack(len(data)) + data)

    sys.path.insert(0, request["folder"])
    sys.dont_write_bytecode = True
    os.chdir(request["folder"])
    phase = "models"
    try:
        models = {"models": inside.models(request)} if request["wants_models"] else {}
        if request["numpy"]:
            __import__("numpy")
        inside.confine(request["memory_mb"])
        before = inside.peak()
        phase = "import"
        inside.processor_time(request["seconds"])
        entry = inside.entry_of(request)
    except BaseException as error:  # the script may raise anything, SystemExit too
        say(error=inside.text_of(error), phase=phase, line=inside.line_of(error, request))
        os._exit(0)
    say(phase="ready")
    while True:
        inputs = unpack(coming.get())
        inside.processor_time(request["seconds"])
        start = time.perf_counter()
        try:
            result = entry(**inputs, **models)
            taken = {"ms": (time.perf_counter() - start) * 1e3, "memory_mb": (inside.peak() - before) / 2**20}
            wrong = list(inside.wrong_in(request, result, {}))
            say(**taken, wrong=wrong[:10], result={} if wrong else _plain(request, result))
        except BaseException as error:
            say(error=inside.text_of(error), line=inside.line_of(error, request))


def _plain(request: Any, result: dict[str, Any]) -> dict[str, Any]:
    """The result with tensors where they are declared: a script may return lists."""
    from walle_core import Tensor

    def plain(name: str, value: Any) -> Any:
        spec = request["outputs"].get(name, {})
        tensor = spec.get("shape") is not None and not isinstance(value, Tensor)
        return Tensor.of(value, spec["dtype"]) if tensor else value

    return {name: plain(name, value) for name, value in result.items()}


def _listen(channel: socket.socket, coming: queue.SimpleQueue[bytes]) -> None:
    """Hands messages on; ends the process when the agent's has ended, whatever the script does at that time."""
    try:
        with channel.makefile("rb") as file:
            while len(head := file.read(LENGTH.size)) == LENGTH.size:
                coming.put(file.read(LENGTH.unpack(head)[0]))
    finally:
        os._exit(0)


def _die_with_parent() -> None:
    """On Linux the system ends this process with the agent's thread that started it, even if a C function hangs."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(
            1, signal.SIGKILL
        )  # PR_SET_PDEATHSIG; if the thread is gone, the socket has ended


if __name__ == "__main__":
    main()
