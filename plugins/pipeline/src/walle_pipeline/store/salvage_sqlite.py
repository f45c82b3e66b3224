# ruff: noqa: S608 - what is put into statements are numbers of tables
"""Reads what is left of a damaged SQLite file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from walle_pipeline.store.contract import Row


def salvage_sqlite(path: Path, deadline: float) -> Generator[tuple[str, list[Row]], None, None]:
    """What can be read of a damaged file until `deadline` (time.monotonic), some rows at a time. Raises nothing."""
    try:
        complete(path)
        db = sqlite3.connect(path, isolation_level=None, timeout=1)
    except (sqlite3.Error, OSError):
        return
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        tables = db.execute("SELECT id, name FROM tables").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        tables = []
    for number, name in tables:
        for rows in _salvage_table(db, f"rows_{number}", f"keys_{number}", deadline):
            yield name, rows
    db.close()


def _salvage_table(db: sqlite3.Connection, table: str, index: str, deadline: float) -> Iterator[list[Row]]:
    """From the front and, at damage, from the back; then one by one what the index of keys still knows."""
    done: set[bytes] = set()
    for order in ("", " DESC"):
        query = f"SELECT key, value, time FROM {table} ORDER BY time{order}, key{order}"
        ends, rows = _read(db, query, (), deadline)
        for at in range(0, len(rows), 1000):
            yield rows[at : at + 1000]
        if ends:
            return
        done.update(row[0] for row in rows)
    for order in ("", " DESC"):
        query = f"SELECT key, x'', time FROM {table} INDEXED BY {index} ORDER BY key{order}"
        for key, _, moment in _read(db, query, (), deadline)[1]:
            if key not in done and time.monotonic() < deadline:
                done.add(key)
                query = f"SELECT key, value, time FROM {table} WHERE time=? AND key=?"
                if rows := _read(db, query, (moment, key), deadline)[1]:
                    yield rows


def complete(path: Path) -> None:
    """Lengthens a file that was cut short to what its header says, because SQLite reads nothing of a shorter one."""
    with path.open("rb") as file:
        head = file.read(100)
    page = int.from_bytes(head[16:18])
    size = (65536 if page == 1 else page) * int.from_bytes(head[28:32])
    if path.stat().st_size < size <= 1 << 40:
        os.truncate(path, size)


def _read(
    db: sqlite3.Connection, query: str, values: tuple[object, ...], deadline: float
) -> tuple[bool, list[Row]]:
    """Whether the end was reached, and the rows until there; the rest of a damaged table is read from its other end."""
    rows: list[Row] = []
    try:
        for key, value, moment in db.execute(query, values):
            if type(key) is bytes and type(value) is bytes and type(moment) is int and moment >= 0:
                rows.append((key, value, moment))
            if time.monotonic() > deadline:
                return True, rows
    except (sqlite3.Error, UnicodeDecodeError, OverflowError):
        return False, rows
    return True, rows
