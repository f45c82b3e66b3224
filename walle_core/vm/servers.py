"""The fork servers of this process, seen from the host: they are started when first needed and end with the process."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

START_S = 20.0  # for the server's imports on a busy machine


class Server:
    """A fork server of this process. One for tasks without NumPy, one for those with it."""

    def __init__(self, numpy: bool) -> None:
        self.numpy = numpy
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None

    def fork(self) -> tuple[int, int, socket.socket]:
        """A new worker: its process number, a descriptor of the process, and the socket to it. Raises OSError."""
        ours, theirs = socket.socketpair()
        with self.lock, theirs:
            for last in (False, True):
                try:
                    control = self._started()
                    socket.send_fds(control, [b"f"], [theirs.fileno()])
                    data, files, _, _ = socket.recv_fds(control, 4, 1)
                    if len(data) == 4 and files:
                        return int.from_bytes(data, "little"), files[0], ours
                    raise OSError("the fork server of task processes ended")
                except OSError:
                    self._stop()
                    if last:
                        ours.close()
                        raise
        raise AssertionError

    def _started(self) -> socket.socket:
        if self.control is None:
            ours, theirs = socket.socketpair()
            ours.settimeout(START_S)
            with theirs:
                here = str(Path(__file__).resolve().parents[2])
                path = [here, *(p for p in sys.path if p and p != here)]
                program = f"import sys; sys.path[:] = {path!r}; from walle_core.vm._forkserver import serve; serve({theirs.fileno()}, {self.numpy})"
                # Drivers want threads, folders and system calls that a sandbox refuses; some end the process then.
                threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
                self.process = subprocess.Popen(  # noqa: S603  an interpreter
                    [sys.executable, "-I", "-S", "-c", program],
                    pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    env={**threads, "LANG": "C.UTF-8", "WALLE_DEVICES": "none"},
                )  # fmt: skip
            self.control = ours
        return self.control

    def _stop(self) -> None:
        if self.control is not None:
            self.control.close()
        if self.process is not None:
            try:
                self.process.wait(1.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.control = self.process = None

    def stop(self) -> None:
        """Ends the server, and with it all its workers."""
        with self.lock:
            self._stop()


SERVERS = {numpy: Server(numpy) for numpy in (False, True)}


def stop_servers() -> None:
    """Ends the fork servers and all worker processes of this process; the next worker starts them again."""
    for server in SERVERS.values():
        server.stop()


atexit.register(stop_servers)
os.register_at_fork(after_in_child=lambda: SERVERS.update({n: Server(n) for n in (False, True)}))
