"""The process in which `choose.smallest` makes one delta; reads its work from stdin, which only its parent writes."""

from __future__ import annotations

import sys

import msgspec


def main() -> None:
    """Writes a byte 1 and the delta, or a byte 0."""
    path, module, name, old, new = msgspec.msgpack.decode(sys.stdin.buffer.read())
    sys.path[:] = path
    from walle_deploy.deltas.choose import checked, made_again

    codec = made_again(module, name)
    delta = None if codec is None else checked(codec, old, new)
    sys.stdout.buffer.write(b"\0" if delta is None else b"\1" + delta)


if __name__ == "__main__":
    main()
