"""The process in which `choose.smallest` makes one delta; reads its work from stdin, which only its parent writes."""

from __future__ import annotations

import pickle
import sys


def main() -> None:
    """Writes a byte 1 and the delta, or a byte 0."""
    path, packed, old, new = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the parent process
    sys.path[:] = path
    from walle_deploy.deltas.choose import checked

    delta = checked(pickle.loads(packed), old, new)  # noqa: S301 - from the parent process
    sys.stdout.buffer.write(b"\0" if delta is None else b"\1" + delta)


if __name__ == "__main__":
    main()
