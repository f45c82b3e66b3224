"""The process in which `choose.smallest` makes one delta; reads its work from stdin, which only its parent writes."""

from __future__ import annotations

import sys

import msgspec


def main() -> None:
    """Writes the seconds that it takes to apply, and the delta; nothing if there is none."""
    path, module, name, old, new = msgspec.msgpack.decode(sys.stdin.buffer.read())
    sys.path[:] = path
    from walle_deploy.deltas.choose import _TIME, checked, made_again

    codec = made_again(module, name)
    made = None if codec is None else checked(codec, old, new)
    if made is not None:
        sys.stdout.buffer.write(_TIME.pack(made.apply_s) + made.data)


if __name__ == "__main__":
    main()
