"""Reads what is left of a damaged LMDB file, in a process of its own: reading damaged pages may kill the reader."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from walle_pipeline.store.contract import MAX_KEY, MAX_VALUE, Row

if TYPE_CHECKING:
    import lmdb

_HEAD = struct.Struct(">HHIq")  # bytes of the table's name, of the key, of the value; time in ms


def salvage_lmdb(file: Path, folder: Path, seconds: float) -> Iterator[tuple[str, list[Row]]]:
    """Rows of a copy of `file` made in `folder`, some of one table at a time, for at most `seconds`. Raises nothing."""
    try:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(file, folder / "data.mdb")
    except OSError:
        return
    command = [sys.executable, "-m", "walle_pipeline.store.salvage_lmdb", str(folder)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}
    ) as reader:
        assert reader.stdout is not None
        timer = threading.Timer(seconds, reader.kill)
        timer.start()
        try:
            table, rows = "", list[Row]()
            for name, row in _parsed(reader.stdout):
                if name != table or len(rows) >= 500:
                    if rows:
                        yield table, rows
                    table, rows = name, []
                rows.append(row)
            if rows:
                yield table, rows
        finally:
            timer.cancel()
            reader.kill()
            timer.join()


def _parsed(source: IO[bytes]) -> Iterator[tuple[str, Row]]:
    while len(head := source.read(_HEAD.size)) == _HEAD.size:
        names, keys, values, moment = _HEAD.unpack(head)
        body = source.read(names + keys + values)
        if len(body) < names + keys + values:
            return
        yield body[:names].decode(), (body[names : names + keys], body[names + keys :], moment)


def main(folder: str) -> None:
    """Writes every row that can be read to the standard output: from the front and, at damage, from the back."""
    import lmdb

    file = Path(folder, "data.mdb")
    size = file.stat().st_size
    env = lmdb.open(folder, max_dbs=4, readonly=True, lock=False)
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if needed > size:
        os.truncate(file, needed)  # pages of zeros are refused one by one; missing ones would end the process
    meta, rows, keys = (env.open_db(name, create=False) for name in (b"meta", b"rows", b"keys"))
    names: dict[bytes, bytes] = {}
    for name, tag in walked(env, meta, backwards=False):
        names[tag] = name[2:]
    done: set[bytes] = set()
    for backwards in (False, True):
        for name, value in walked(env, rows, backwards=backwards):
            if name in done:
                return
            done.add(name)
            write(names, name, value)
    # Between the damaged pages: what the index of keys still knows, one by one.
    for backwards in (False, True):
        for name, moment in walked(env, keys, backwards=backwards):
            full = name[:4] + moment + name[4:]
            if full in done:
                continue
            done.add(full)
            with contextlib.suppress(lmdb.Error), env.begin() as txn:
                found = txn.get(full, db=rows)
                if found is not None:
                    write(names, full, found)


def walked(env: lmdb.Environment, db: Any, *, backwards: bool) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a database until the first damaged page. A transaction is of no use after an error."""
    import lmdb

    with contextlib.suppress(lmdb.Error), env.begin() as txn, txn.cursor(db) as cursor:
        yield from cursor.iterprev() if backwards else cursor.iternext()


def write(names: dict[bytes, bytes], full: bytes, value: bytes) -> None:
    """Hands one row to the other process, unless it cannot be one."""
    name, moment = names.get(full[:4]), int.from_bytes(full[4:12])
    if name and 12 < len(full) <= 12 + MAX_KEY and len(value) <= MAX_VALUE and moment >> 63 == 0:
        head = _HEAD.pack(len(name), len(full) - 12, len(value), moment)
        sys.stdout.buffer.write(head + name + full[12:] + value)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
