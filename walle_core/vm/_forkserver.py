"""A small process that has imported what tasks need, and forks one worker process per request.

It never runs a task, holds nothing of the host (a fresh process with an empty environment), and has one thread, so that forking
is safe. It tells a worker's host how the worker ended, on the worker's own socket.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from importlib import import_module

from walle_core.matrix.tables import kernels
from walle_core.vm import _inside, wire
from walle_core.vm._inside import Inside

_PRELOAD = """walle_core._native walle_core.matrix walle_core.cv array base64 bisect cmath collections contextlib copy
dataclasses datetime decimal enum fractions functools hashlib heapq itertools json logging math operator random re statistics string
struct time traceback typing zlib encodings.idna""".split()


def serve(control_fd: int, numpy: bool) -> None:
    """Answers requests until the host closes its end; then all workers die with this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    for name in [*_PRELOAD, *(["numpy"] if numpy else [])]:
        with contextlib.suppress(ImportError):
            import_module(name)
    with contextlib.suppress(Exception):  # a plugin that is broken: `walle plugins` says why
        kernels()  # of large arrays, found once for all workers
    inside = Inside()
    gc.collect()
    gc.freeze()  # a collection in a worker would otherwise copy every page that was inherited
    poller = select.poll()
    poller.register(control, select.POLLIN)
    workers: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for fd, _ in poller.poll():
            if fd == control.fileno():
                data, files, _, _ = socket.recv_fds(control, 1, 1)
                if not data:
                    return
                pid, pidfd = _fork(control, socket.socket(fileno=files[0]), inside, workers, poller)
                socket.send_fds(control, [pid.to_bytes(4, "little")], [pidfd])
            elif fd in workers:
                poller.unregister(fd)
                _bury(fd, *workers.pop(fd))


def _fork(
    control: socket.socket,
    channel: socket.socket,
    inside: Inside,
    workers: dict[int, tuple[int, socket.socket]],
    poller: select.poll,
) -> tuple[int, int]:
    pid = os.fork()
    if pid == 0:
        try:
            control.close()
            for pidfd, (_, other) in workers.items():
                os.close(pidfd)
                other.close()
            _inside.serve(channel, inside)
        finally:
            os._exit(0)
    pidfd = os.pidfd_open(pid)
    workers[pidfd] = pid, channel
    poller.register(pidfd, select.POLLIN)
    return pid, pidfd


def _bury(pidfd: int, pid: int, channel: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    channel.setblocking(False)
    with contextlib.suppress(
        OSError
    ):  # the host may be gone, or amid an answer that was cut off: it sees the end either way
        wire.send(channel, wire.DIED, os.waitstatus_to_exitcode(status))
    channel.close()
    os.close(pidfd)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2] == "1")
