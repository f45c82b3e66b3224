"""The device's durable outbox: what was put is sent until it is acknowledged, over crashes and power loss.

SQLite in WAL mode with synchronous=FULL: a put that returned is on disk. With NORMAL a power loss could take back a
transaction whose seq was sent already, and the next payload would reuse the seq and be taken for a repetition. Deleting
what was acknowledged may be lost (the server says its high water again), so that runs with NORMAL.

One process owns an outbox (a lock file says so); within it any thread may call any method.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, Self

import attrs

from walle_pipeline.errors import StoreError, TunnelError
from walle_pipeline.tunnel.frames import MAX_PAYLOAD, check_stream

try:
    import fcntl
except (
    ImportError
):  # Windows: SQLite's own locks then refuse the second writer only while the first one writes
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

ROW = 64  # bytes that a pending payload counts in addition to its own, so that tombstones are bounded as well
KEY_WINDOW = 10_000  # seqs per stream, from the last acknowledged one back, whose unique keys are remembered
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, last INTEGER NOT NULL, acked INTEGER NOT NULL,
    based INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pending (
    place INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL,
    UNIQUE (stream, seq));
CREATE TABLE IF NOT EXISTS keys (
    stream INTEGER NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (stream, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_by_seq ON keys (stream, seq);
PRAGMA user_version = 1;
"""

Item = tuple[str, bytes, str | None]


@attrs.define
class Stream:
    """What is known of one stream.

    Attributes:
        last: seq of the newest put; acked: all up to it are acknowledged.
        based: False until the server's high water is known: until then seqs are provisional and nothing is sent.
    """

    id: int
    last: int
    acked: int
    based: bool


class Outbox:
    """Payloads that wait for the server's acknowledgement.

    Arguments:
        path: the SQLite file; it is created. A damaged one is renamed to `<path>.damaged-N`, which `damaged` then names,
            and a new one begun: what was pending in it is not sent, and its seqs are not used again.
        max_bytes: bound of all pending payloads, each counted with 64 bytes more.
        evict: what happens at the bound. "refuse": `put_many` raises StoreError, nothing is lost. "oldest": the oldest
            payloads are replaced by empty ones, which keep their seqs, and counted in `evicted`.
        key_window: how many seqs per stream a unique key is remembered after its payload was acknowledged.

    Raises StoreError if the file cannot be opened or another process uses it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 64 << 20,
        evict: Literal["refuse", "oldest"] = "refuse",
        key_window: int = KEY_WINDOW,
    ) -> None:
        self.path = Path(path)
        self.damaged: Path | None = None
        self.evicted = 0
        self._max_bytes, self._evict, self._key_window = max_bytes, evict, key_window
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._lock_file = self._claim()
        try:
            self._open()
        except BaseException:
            self._release()
            raise

    # -- life ---------------------------------------------------------------------------------------------------------

    def _claim(self) -> IO[bytes]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = open(f"{self.path}.lock", "ab")  # noqa: SIM115
        except OSError as error:
            raise StoreError(f"{self.path}: the outbox cannot be opened: {error.strerror}") from error
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                raise StoreError(
                    f"{self.path}: another process uses this outbox; give each its own"
                ) from error
        return file

    def _release(self) -> None:
        self._lock_file.close()

    def _open(self) -> None:
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise StoreError(f"{self.path}: the outbox cannot be opened: {error}") from error
            self._set_aside(error)
            try:
                self._connect()
            except sqlite3.Error as again:
                raise StoreError(f"{self.path}: the outbox cannot be created: {again}") from again

    def _connect(self) -> None:
        with contextlib.ExitStack() as undo:
            write = undo.enter_context(contextlib.closing(_connection(self.path)))
            write.execute("PRAGMA journal_mode=WAL")
            found = write.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                error = sqlite3.DatabaseError(found)
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
            write.executescript(_SCHEMA)
            rows = write.execute("SELECT name, id, last, acked, based FROM streams").fetchall()
            size = write.execute("SELECT count(*), coalesce(sum(length(payload)), 0) FROM pending").fetchone()
            read = undo.enter_context(contextlib.closing(_connection(self.path)))
            read.execute("PRAGMA query_only=1")
            undo.pop_all()
        self._write, self._read = write, read
        self._streams = {name: Stream(i, last, acked, bool(based)) for name, i, last, acked, based in rows}
        self._count: int = size[0]
        self._bytes: int = size[1]

    def _set_aside(self, error: sqlite3.Error) -> None:
        number = 1
        while (target := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        self.path.replace(target)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{target}{suffix}")
        self.damaged = target
        log.warning("outbox %s is damaged (%s); kept as %s, a new one is begun", self.path, error, target)

    def close(self) -> None:
        """Lets another process use the outbox; calling it again does nothing."""
        with self._write_lock, self._read_lock:
            self._read.close()
            self._write.close()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- the writing side ---------------------------------------------------------------------------------------------

    def put_many(self, items: Sequence[Item]) -> list[int]:
        """Stores payloads, all or none; durable when it returns. Their seqs, provisional while the stream is not based.

        A unique key that was put before, and is inside the window, stores nothing and gives the seq of back then.
        Raises StoreError ("full", disk full, damaged, closed), TunnelError for an empty payload (what is evicted is
        sent empty), one over MAX_PAYLOAD, or a bad stream name.
        """
        for stream, payload, _ in items:
            check_stream(stream)
            if not 0 < len(payload) <= MAX_PAYLOAD:
                raise TunnelError(f"payload of {len(payload)} bytes; 1 to {MAX_PAYLOAD} are allowed")
        with self._write_lock:
            added: list[tuple[int, int, bytes]] = []
            last: dict[str, int] = {}
            with self._transaction("FULL"):
                seqs = [self._put(item, last, added) for item in items]
                evicted, freed = self._room(sum(len(payload) + ROW for _, _, payload in added))
                self._write.executemany("INSERT INTO pending (stream, seq, payload) VALUES (?, ?, ?)", added)
                self._write.executemany(
                    "UPDATE streams SET last=? WHERE id=?",
                    [(n, self._streams[s].id) for s, n in last.items()],
                )
            for stream, seq in last.items():
                self._streams[stream].last = seq
            self._count += len(added)
            self._bytes += sum(len(payload) for _, _, payload in added) - freed
            self.evicted += evicted
        if added:
            for listener in tuple(self._listeners):
                listener()
        return seqs

    def put(self, stream: str, payload: bytes, unique_key: str | None = None) -> int:
        """One payload; see `put_many`."""
        return self.put_many([(stream, payload, unique_key)])[0]

    def _put(self, item: Item, last: dict[str, int], added: list[tuple[int, int, bytes]]) -> int:
        stream, payload, key = item
        known = self._streams.get(stream)
        if known is None:
            row = self._write.execute(
                "INSERT INTO streams (name, last, acked, based) VALUES (?, 0, 0, 0) "
                "ON CONFLICT (name) DO UPDATE SET name=name RETURNING id",
                (stream,),
            ).fetchone()
            known = self._streams[stream] = Stream(row[0], 0, 0, based=False)
        if key is not None:
            found = self._write.execute(
                "SELECT seq FROM keys WHERE stream=? AND key=?", (known.id, key)
            ).fetchone()
            if found:
                return int(found[0])
        seq = last[stream] = last.get(stream, known.last) + 1
        if key is not None:
            self._write.execute("INSERT INTO keys VALUES (?, ?, ?)", (known.id, key, seq))
        added.append((known.id, seq, bytes(payload)))
        return seq

    def _room(self, wanted: int) -> tuple[int, int]:
        """Makes room in the transaction of the put: how many payloads were evicted, and their bytes."""
        excess = self.size + wanted - self._max_bytes
        if excess <= 0:
            return 0, 0
        if self._evict == "refuse":
            raise StoreError(
                f"{self.path}: full: {self._count} payloads with {self._bytes} bytes wait for the server; "
                "send again later, or allow evict='oldest'"
            )
        victims: list[tuple[int, int]] = []
        for place, size in self._write.execute(
            "SELECT place, length(payload) FROM pending WHERE length(payload) > 0 ORDER BY place"
        ):
            victims.append((place, size))
            excess -= size
            if excess <= 0:
                break
        if excess > 0:
            raise StoreError(
                f"{self.path}: full: even without all older payloads there is no room; raise max_bytes"
            )
        self._write.executemany("UPDATE pending SET payload=x'' WHERE place=?", [(p,) for p, _ in victims])
        return len(victims), sum(size for _, size in victims)

    def ack(self, stream: str, seq: int) -> None:
        """Deletes a stream's payloads up to `seq`. Raises StoreError; TunnelError if that many were never put."""
        self.ack_many({stream: seq})

    def ack_many(self, acks: Mapping[str, int]) -> None:
        """`ack` for several streams, in one transaction."""
        with self._write_lock:
            done: dict[str, int] = {}
            for stream, seq in acks.items():
                known = self._streams.get(stream)
                if known is None or seq > known.last:
                    raise TunnelError(f"the server acknowledges {stream} {seq}, which was never put")
                if seq > known.acked:
                    done[stream] = seq
            if not done:
                return
            count = size = 0
            with self._transaction("NORMAL"):
                for stream, seq in done.items():
                    n, s = self._delete(self._streams[stream], seq)
                    count, size = count + n, size + s
            for stream, seq in done.items():
                self._streams[stream].acked = seq
            self._count -= count
            self._bytes -= size

    def _delete(self, known: Stream, seq: int) -> tuple[int, int]:
        n, size = self._write.execute(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM pending WHERE stream=? AND seq<=?",
            (known.id, seq),
        ).fetchone()
        self._write.execute("DELETE FROM pending WHERE stream=? AND seq<=?", (known.id, seq))
        self._write.execute("DELETE FROM keys WHERE stream=? AND seq<=?", (known.id, seq - self._key_window))
        self._write.execute("UPDATE streams SET acked=? WHERE id=?", (seq, known.id))
        return n, size

    def base(self, stream: str, high_water: int) -> None:
        """Takes the server's high water of a stream into account, once the server has said it.

        A stream that was never based (a new outbox, perhaps after damage) is moved behind it, so that no seq means two
        payloads. Otherwise all up to it is acknowledged, and if the server has more than was ever put (an older copy of
        this file was put back), seqs go on behind it.

        A high water that is older than acknowledgements which came meanwhile changes nothing.
        """
        with self._write_lock:
            known = self._streams[stream]
            if known.based and high_water <= known.acked:
                return
            after = attrs.evolve(known, based=True, acked=high_water)
            count = size = 0
            with self._transaction("FULL"):
                if known.based:
                    count, size = self._delete(known, high_water)
                    after.last = max(known.last, high_water)
                else:
                    after.last = known.last + high_water
                    # Through negative numbers: the rows of one UPDATE must not meet each other's old seqs.
                    for table in ("pending", "keys"):
                        there = f"UPDATE {table} SET seq=-seq-? WHERE stream=?"  # noqa: S608
                        back = f"UPDATE {table} SET seq=-seq WHERE stream=? AND seq<0"  # noqa: S608
                        self._write.execute(there, (high_water, known.id))
                        self._write.execute(back, (known.id,))
                self._write.execute(
                    "UPDATE streams SET last=?, acked=?, based=1 WHERE id=?",
                    (after.last, after.acked, known.id),
                )
            self._streams[stream] = after
            self._count -= count
            self._bytes -= size

    # -- the reading side ---------------------------------------------------------------------------------------------

    def pending(
        self, stream: str, after: int, limit: int, max_bytes: int = MAX_PAYLOAD
    ) -> list[tuple[int, bytes]]:
        """The next (seq, payload) behind `after`: at most `limit`, and at most `max_bytes` but at least one.

        Evicted ones have an empty payload. Raises StoreError.
        """
        known = self._streams.get(stream)
        if known is None:
            return []
        chosen: list[tuple[int, bytes]] = []
        with self._read_lock, self._errors():
            for seq, payload in self._read.execute(
                "SELECT seq, payload FROM pending WHERE stream=? AND seq>? ORDER BY seq LIMIT ?",
                (known.id, after, limit),
            ):
                max_bytes -= len(payload)
                if max_bytes < 0 and chosen:
                    break
                chosen.append((seq, payload))
        return chosen

    @property
    def streams(self) -> Mapping[str, Stream]:
        """All streams by name, to be read only; later puts show in the streams, new streams do not."""
        return dict(self._streams)

    @property
    def size(self) -> int:
        """What counts against `max_bytes`."""
        return self._bytes + ROW * self._count

    def __len__(self) -> int:
        return self._count

    def on_put(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` after each put, in the thread of the put. Calling the result ends that."""
        self._listeners.append(listener)

        def remove() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return remove

    # -- SQLite -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error

    @contextlib.contextmanager
    def _transaction(self, synchronous: Literal["FULL", "NORMAL"]) -> Any:
        with self._errors():
            self._write.execute(f"PRAGMA synchronous={synchronous}")
            self._write.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._write.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._write.execute("ROLLBACK")
                for name, known in tuple(self._streams.items()):
                    if not known.last and not known.based:
                        del self._streams[name]  # its row may just have been rolled back
                raise


def _connection(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    db.execute("PRAGMA temp_store=MEMORY")
    return db
