"""Rules about files and networks (landlock), by thread: what is not granted is refused by the kernel.

Layouts and constants are those of ``linux/landlock.h``. A rule cannot be taken off again.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from walle_core.vm import _system

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE = 1 << 14
_CHANGE = _WRITE_FILE | 0b1_1111_1111 << 4 | _TRUNCATE  # write, remove, make any kind, truncate
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP = 0b11  # bind, connect
_SCOPED = 0b11  # abstract sockets and signals of others


def version() -> int:
    """The kernel's version of landlock; 0 where there is none."""
    return max(0, _system.call(_CREATE, 0, 0, 1))


def _handled(abi: int) -> int:
    bits = 0x1FFF  # the first version
    for needed, bit in ((2, 1 << 13), (3, _TRUNCATE), (5, 1 << 15)):
        bits |= bit if abi >= needed else 0
    return bits


def restrict(read: Iterable[str], write: Iterable[str], *, network: bool) -> int:
    """Leaves to this thread, and what it starts, only the files in `read` and `write`; returns the kernel's version.

    Args:
        read: files and folders that may be read.
        write: files and folders that may be read and changed; one that is missing grants nothing.
        network: whether TCP stays open (it can be closed from version 4 on; seccomp closes it everywhere).

    Raises:
        OSError: the kernel has no landlock, or refuses the rules.
    """
    abi = version()
    if not abi:
        raise OSError("the kernel has no landlock")
    handled = _handled(abi)
    net = _TCP if abi >= 4 and not network else 0
    rules = struct.pack("=QQQ", handled, net, _SCOPED if abi >= 6 else 0)[
        : 24 if abi >= 6 else 16 if abi >= 4 else 8
    ]
    ruleset = _checked(_system.call(_CREATE, rules, len(rules), 0), "ruleset")
    try:
        for paths, access in ((read, _READ_FILE | _READ_DIR), (write, _READ_FILE | _READ_DIR | _CHANGE)):
            for path in paths:
                _grant(ruleset, path, access & handled)
        _checked(_system.call(157 if os.uname().machine == "x86_64" else 167, 38, 1, 0, 0, 0), "no_new_privs")
        _checked(_system.call(_RESTRICT, ruleset, 0), "rules")
    finally:
        os.close(ruleset)
    return abi


def _grant(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not Path(path).is_dir():
            access &= _FILE_ONLY
        _checked(_system.call(_ADD, ruleset, 1, struct.pack("=Qi", access, fd), 0), f"rule for {path}")
    finally:
        os.close(fd)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(-result, f"landlock refuses the {what}")
    return result
