"""Runs a page of the documentation: writes the files that it shows, types its commands into one shell, compares what they print."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

_BLOCK = re.compile(
    r'^(#{1,3}) ([^\n]+)$|^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL
)
_END = "__end_of_command__"


@attrs.frozen
class File:
    """A file that the page shows under its title."""

    name: str
    text: str


@attrs.frozen
class Typed:
    """A command, and what the page says that it prints."""

    command: str
    shown: str

    def fits(self, printed: str) -> bool:
        """Whether the page shows what was printed; `...` stands for anything. What shows nothing may print nothing."""
        pieces = [re.escape(" ".join(piece.split())) for piece in self.shown.split("...")]
        return re.fullmatch(".*".join(pieces), " ".join(printed.split()), re.DOTALL) is not None


def steps(page: str, without: tuple[str, ...] = ()) -> Iterator[File | Typed]:
    """What a reader of the page does, in order; sections named in `without` are passed over."""
    section = ""
    for match in _BLOCK.finditer(page):
        _, heading, language, title, text = match.groups()
        if heading:
            section = heading
        elif section in without:
            continue
        elif title:
            yield File(title, text)
        elif language == "console":
            for each in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                lines = re.match(r"(?:[^\n]*\\\n)*[^\n]*\n", each)  # a command goes on after a backslash
                assert lines is not None
                yield Typed(lines[0].rstrip("\n"), each[lines.end() :])


class Shell:
    """One bash for all commands of a page.

    Args:
        folder: where it begins.
        env: its environment.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def type(self, command: str, seconds: float) -> tuple[str, int]:
        """(what it printed, its status). Raises TimeoutError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho {_END} $?\n".encode())
        self._process.stdin.flush()
        found, end = b"", time.monotonic() + seconds
        while (done := re.search(rb"(.*?)" + _END.encode() + rb" (\d+)\n", found, re.DOTALL)) is None:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            read = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not read:
                raise TimeoutError(
                    f"{command}\n  printed {found.decode(errors='replace')!r}, and did not end in {seconds:.0f} s"
                )
            found += read
        return done[1].decode(), int(done[2])

    def close(self) -> None:
        """Ends the shell and all that it has started."""
        for sign in (signal.SIGTERM, signal.SIGKILL):  # the shell is the first of its group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            time.sleep(1)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
