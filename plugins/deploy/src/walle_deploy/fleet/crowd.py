"""The processes of a fleet: started, told where the release stands, asked what they have done, and ended."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Self

import msgspec

from walle_deploy.fleet.errors import BrokenRuleError, FleetError
from walle_deploy.fleet.fleet import add
from walle_deploy.fleet.rules import Moment
from walle_deploy.fleet.worker import Look, Part, Status, encode

END_S = 10.0  # for a process to end by itself
_status = msgspec.json.Decoder(Status).decode


class Crowd:
    """Runs a process for each part, as long as the context lasts."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._processes: list[subprocess.Popen[bytes]] = []
        self._told: list[Status | None] = [None] * len(parts)
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for number, part in enumerate(self._parts):
            process = subprocess.Popen(
                [sys.executable, "-m", "walle_deploy.fleet.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(encode(part) + b"\n")
            process.stdin.flush()
            self._processes.append(process)
            reader = threading.Thread(target=self._read, args=(number, process.stdout), daemon=True)
            reader.start()
            self._readers.append(reader)
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    def look(self, at: float, moment: Moment) -> None:
        """Tells all where the release stood at a Unix time."""
        line = encode(Look(at, moment)) + b"\n"
        for process in self._processes:
            with contextlib.suppress(OSError, ValueError):  # it has ended; `status` says why
                assert process.stdin is not None
                process.stdin.write(line)
                process.stdin.flush()

    def status(self) -> Status | None:
        """All of them as one; None before each has told something. Raises FleetError, BrokenRuleError as theirs."""
        told = [each for each in self._told if each is not None]
        for each in told:
            if each.error:
                raise (BrokenRuleError if each.broken else FleetError)(each.error)
        for process, reader in zip(self._processes, self._readers, strict=True):
            if process.poll() and not reader.is_alive():
                raise FleetError(
                    f"a process of the fleet ended with status {process.returncode}; see its error output"
                )
        return _sum(told) if len(told) == len(self._parts) else None

    def end(self) -> None:
        """Ends all processes; `status` then has their last words."""
        for process in self._processes:
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
        for process, reader in zip(self._processes, self._readers, strict=True):
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join(END_S)
            if process.stdout is not None:
                process.stdout.close()

    def _read(self, number: int, lines: IO[bytes]) -> None:
        with contextlib.suppress(ValueError):  # closed
            for line in lines:
                self._told[number] = _status(line)


def _sum(told: Sequence[Status]) -> Status:
    return Status(
        tally=add([each.tally for each in told]),
        covered=sum(each.covered for each in told),
        living=sum(each.living for each in told),
        kept=sum(each.kept for each in told),
        judged=sum(each.judged for each in told),
        waiting=sum(each.waiting for each in told),
        verified=sum(each.verified for each in told),
        delays=(max(each.delays[0] for each in told), max(each.delays[1] for each in told)),
    )


def split(size: int, parts: int) -> list[tuple[int, int]]:
    """The first device of each part, and the one after its last."""
    ends = [size * number // parts for number in range(parts + 1)]
    return list(zip(ends, ends[1:], strict=False))
