"""The smallest delta that can be made in time, by child processes that can be stopped."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import attrs
import msgspec

from walle_core.registry import Registry
from walle_deploy.deltas.contract import FULL, MAX_DELTA_FILE, Codec, codecs
from walle_deploy.errors import StoreError

INLINE = 64 << 10  # bytes of both files up to which no process is worth its start
_TIME = struct.Struct("<d")  # before the delta that the worker writes
_WORKER = (sys.executable, "-m", "walle_deploy.deltas.worker")


@attrs.frozen
class Made:
    """A delta that was made, applied, and gave the new file.

    Attributes:
        codec: name of its codec.
        data: the delta.
        apply_s: seconds of this machine's processor that it took to apply.
    """

    codec: str
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    apply_s: float = 0.0


def smallest(
    old: bytes | None,
    new: bytes,
    supported: Collection[str] | None = None,
    budget_s: float = 30.0,
    registry: Registry[Codec] | None = None,
    workers: int | None = None,
    apply_s: float = math.inf,
) -> Made | None:
    """The smallest of the deltas that `supported` codecs make of `old` (None: the receiver has no old file) in `budget_s`.

    None if there is none that is smaller than `new` itself, which is then what to send. A codec that fails, takes longer,
    whose delta takes longer than `apply_s` to apply here, or does not give `new` again, is left out. `registry` is `codecs()` if it is not given; all codecs are
    supported if `supported` is not. Files over `MAX_DELTA_FILE` have no deltas.
    """
    known = codecs() if registry is None else registry
    chosen = [codec for name, codec in known.items() if supported is None or name in supported]
    if old is None:
        chosen = [codec for codec in chosen if codec.name == FULL]
    if max(len(old or b""), len(new)) > MAX_DELTA_FILE or not chosen:
        return None
    deadline = time.monotonic() + budget_s
    if len(old or b"") + len(new) <= INLINE:
        found = [_inline(codec, old or b"", new, deadline) for codec in chosen]
    else:
        with ThreadPoolExecutor(workers or min(len(chosen), os.cpu_count() or 1)) as pool:
            found = list(pool.map(lambda codec: _apart(codec, old or b"", new, deadline), chosen))
    fit = [
        made for made in found if made is not None and len(made.data) < len(new) and made.apply_s <= apply_s
    ]
    return min(fit, key=lambda made: len(made.data), default=None)


def checked(codec: Codec, old: bytes, new: bytes) -> Made | None:
    """A delta that gives `new` again; None if `codec` fails or has none."""
    try:
        delta = codec.make(old, new)
        if delta is None:
            return None
        times = []
        for _ in range(2):  # the first touches memory for the first time
            start = time.thread_time()  # other work on the machine does not count
            made = codec.apply(old, delta, len(new))
            times.append(time.thread_time() - start)
            if made != new:
                return None
        return Made(codec.name, delta, min(times))
    except Exception:  # codecs are plugins; others are there
        return None


def made_again(module: str, name: str, codec: str | None = None) -> Codec | None:
    """The codec whose class is found under a name and takes no arguments; None if there is none, or of another name."""
    try:
        made: Codec = getattr(import_module(module), name)()
    except Exception:  # codecs are plugins
        return None
    return made if codec is None or made.name == codec else None


def _inline(codec: Codec, old: bytes, new: bytes, deadline: float) -> Made | None:
    return checked(codec, old, new) if time.monotonic() < deadline else None


def _apart(codec: Codec, old: bytes, new: bytes, deadline: float) -> Made | None:
    """`checked` in a process that is killed at `deadline`."""
    left = deadline - time.monotonic()
    if left <= 0:
        return None
    where = type(codec).__module__, type(codec).__qualname__
    if made_again(*where, codec.name) is None:  # it cannot be stopped
        return _inline(codec, old, new, deadline)
    try:
        work = msgspec.msgpack.encode((sys.path, *where, old, new))
        done = subprocess.run(_WORKER, input=work, capture_output=True, timeout=left, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        raise StoreError(f"delta codec {codec.name!r}: cannot start a process: {error}") from error
    if done.returncode or len(done.stdout) < _TIME.size:
        return None
    return Made(codec.name, done.stdout[_TIME.size :], *_TIME.unpack_from(done.stdout))
