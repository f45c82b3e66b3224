"""Starts and ends processes that run a task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

NOTHING = subprocess.DEVNULL


def start(
    program: Path, *arguments: str, stdin: int = NOTHING, stdout: int = NOTHING, keep: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Runs a file of Python, in a session of its own, with no keys of ours and no files but the descriptors `keep`.

    Raises OSError.
    """
    return subprocess.Popen(  # noqa: S603  our own file
        [sys.executable, "-I", str(program), *arguments],
        stdin=stdin, stdout=stdout, stderr=NOTHING, env=environment(), start_new_session=True, pass_fds=keep,
    )  # fmt: skip


def environment() -> dict[str, str]:
    """What the process sees of ours: no keys and tokens."""
    secret = ("KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "ENROL")
    return {
        name: value for name, value in os.environ.items() if not any(word in name.upper() for word in secret)
    }


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, and on POSIX all that it has started."""
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        return
