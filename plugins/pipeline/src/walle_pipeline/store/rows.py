"""Rows on their way to an engine: what a store accepts, and what goes into one transaction."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

from walle_core.errors import InputError
from walle_pipeline.store.contract import MAX_KEY, MAX_TIME, MAX_VALUE, ROW_OVERHEAD, Batch, Row

MAX_NAME = 120  # characters of a table's name


def check_table(table: str) -> None:
    """Raises InputError for a name that no engine stores."""
    good = isinstance(table, str) and 0 < len(table) <= MAX_NAME
    try:
        if good:
            table.encode()
    except UnicodeEncodeError:
        good = False
    if not good:
        raise InputError(
            f"table {reprlib.repr(table)}: a name of 1 to {MAX_NAME} characters of UTF-8 is needed"
        )


def checked(table: str, given: Sequence[tuple[bytes | str, bytes, int]]) -> tuple[list[Row], int]:
    """`given` with keys as bytes, and what it is charged with; see `contract.charged`.

    Raises InputError for a type or size that no engine stores.
    """
    check_table(table)
    if not given:
        return [], 0
    try:
        keys, values, times = zip(*given, strict=True)
    except (TypeError, ValueError):
        raise InputError(f"table {table!r}: every row has to be (key, value, time in ms)") from None
    if str in set(map(type, keys)) or set(map(type, given)) != {tuple}:
        try:
            keys = tuple([key.encode() if isinstance(key, str) else key for key in keys])
        except UnicodeEncodeError as error:
            raise InputError(f"table {table!r}: a key is no UTF-8: {error.reason}") from None
        rows = list(zip(keys, values, times, strict=True))
    else:
        rows = [*given]
    if set(map(type, keys)) != {bytes} or set(map(type, values)) != {bytes} or set(map(type, times)) != {int}:
        raise InputError(
            f"table {table!r}: keys have to be bytes or text, values bytes, times whole milliseconds"
        )
    lengths, sizes = [*map(len, keys)], [*map(len, values)]
    least, most, size = min(lengths), max(lengths), max(sizes)
    if least < 1 or most > MAX_KEY or size > MAX_VALUE or min(times) < 0 or max(times) >= MAX_TIME:
        raise InputError(
            f"table {table!r}: keys of {least} to {most} bytes, values of up to {size}, times {reprlib.repr(min(times))} "
            f"to {reprlib.repr(max(times))} ms; allowed are keys of 1 to {MAX_KEY}, values of {MAX_VALUE}, times 0 to "
            f"{MAX_TIME - 1}"
        )
    return rows, sum(lengths) + sum(sizes) + ROW_OVERHEAD * len(rows)


def first_part(batches: list[Batch], limit: int) -> list[Batch]:
    """What of `batches` goes into one transaction: all, or the first of it up to `limit` bytes."""
    part: list[Batch] = []
    left = limit
    for batch in batches:
        size = batch.size
        if size <= left:
            part.append(batch)
            left -= size
            continue
        count = 0
        for key, value, _ in batch.rows:
            left -= len(key) + len(value) + ROW_OVERHEAD
            if left < 0:
                break
            count += 1
        if count or not part:
            part.append(Batch(batch.table, batch.rows[: max(count, 1)], batch.delete))
        break
    return part


def remaining(batches: list[Batch], part: list[Batch]) -> list[Batch]:
    """What of `batches` comes after `part`."""
    last = len(part) - 1
    cut = batches[last]
    rest = batches[last + 1 :]
    if len(part[last].rows) < len(cut.rows):
        rest.insert(0, Batch(cut.table, cut.rows[len(part[last].rows) :], cut.delete))
    return rest
