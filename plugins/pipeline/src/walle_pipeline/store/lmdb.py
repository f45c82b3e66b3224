"""LMDB under the collective store; needs the extra `lmdb`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walle_pipeline.errors import StoreError
from walle_pipeline.store.contract import Batch, Row
from walle_pipeline.store.files import Damaged, FileEngine, unused_name, wall_clock_ms
from walle_pipeline.store.salvage_lmdb import salvage_lmdb

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
if TYPE_CHECKING:
    import lmdb

VERSION = b"1"


class LmdbEngine(FileEngine):
    """Keeps the tables in the folder `path`; see `contract.Engine`.

    Durability: a committed transaction survives the death of the process (kill -9) at any point. After a power loss
    the file is intact with `sync` (the default), but the last transaction may be gone; without `sync` commits do not
    wait for the disk, and a power loss may lose or damage all of it.

    Disk use: the file never exceeds `max_bytes`. Rows use at most half of it, because LMDB writes changed pages
    to free ones and frees the old only two transactions later; a file that is larger when it is opened stays so. `keep_ms` and `now_ms` as in `SqliteEngine`.

    A file that LMDB refuses, or that is shorter than it says, is renamed to ``data.mdb.damaged-<n>``; what can be read
    from it within `salvage_s` seconds is copied by another process, because reading damaged pages may kill the one
    that does it. For the same reason damage inside of pages may go unnoticed or kill the process: LMDB has no checksums.
    """

    name = "lmdb"
    _chunk = 1 << 20, 1000  # each row may change a page of its own

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int = 256 << 20,
        keep_ms: Mapping[str, int] | None = None,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        sync: bool = True,
        salvage_s: float = 10.0,
    ) -> None:
        """Touches no file. Raises InputError if `max_bytes` is less than `MIN_BYTES`."""
        super().__init__(path, max_bytes, keep_ms, now_ms, salvage_s)
        self._budget = max_bytes // 2
        self._sync = sync
        self._environment: lmdb.Environment | None = None
        self._owner: int | None = None  # the file that says that the folder is in use
        self._meta: Any = None  # version; name of a table -> its number in 4 bytes, the "tag"
        self._rows: Any = None  # tag, time, key -> value
        self._keys: Any = None  # tag, key -> time

    def close(self) -> None:
        """See `contract.Engine`."""
        env, self._environment = self._environment, None
        if env is not None:
            env.close()
        owner, self._owner = self._owner, None
        if owner is not None:
            release(owner)

    @property
    def _env(self) -> lmdb.Environment:
        assert self._environment is not None
        return self._environment

    def _load(self) -> None:
        if self._environment is not None:
            return
        try:
            import lmdb
        except ImportError as error:
            raise StoreError("LMDB is not installed: pip install 'walle-pipeline[lmdb]'") from error
        self.path.mkdir(parents=True, exist_ok=True)
        self._owner = claim(self.path)
        try:
            self._environment = lmdb.open(
                str(self.path),
                map_size=self.max_bytes,
                max_dbs=4,
                metasync=False,
                sync=self._sync,
                readahead=False,
            )
            self._prepare(self._environment)
        except BaseException:
            self.close()
            raise

    def _prepare(self, env: lmdb.Environment) -> None:
        file = self.path / "data.mdb"
        info = env.info()
        if file.stat().st_size < (info["last_pgno"] + 1) * env.stat()["psize"]:
            raise Damaged(f"{file.stat().st_size} bytes, page {info['last_pgno']} is missing")
        meta = env.open_db(b"meta")
        self._rows, self._keys = env.open_db(b"rows"), env.open_db(b"keys")
        with env.begin(write=True) as txn:
            version = txn.get(b"version", db=meta)
            if version is None:
                txn.put(b"version", VERSION, db=meta)
            elif version != VERSION:
                if not version.isdigit():
                    raise Damaged(f"version {version!r}")
                raise StoreError(
                    f"{self.path}: has version {int(version)}, this program knows {int(VERSION)}: update it, or use "
                    "another folder"
                )
        self._meta = meta
        with env.begin() as txn, txn.cursor(meta) as cursor:
            names = [(name[2:], tag) for name, tag in cursor if name.startswith(b"t ")]
        try:
            self._tables = {name.decode(): int.from_bytes(tag) for name, tag in names}
        except UnicodeDecodeError as error:
            raise Damaged(f"a table's name: {error}") from error
        if sorted(self._tables.values()) != list(range(1, len(names) + 1)):
            raise Damaged("the numbers of tables")

    def _used(self) -> int:
        with self._env.begin() as txn:
            stats = [txn.stat(self._rows), txn.stat(self._keys)]
        pages = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return int(stats[0]["psize"]) * (pages + 4)

    def _write(self, batches: Sequence[Batch]) -> None:
        made: dict[str, int] = {}
        with self._env.begin(write=True) as txn:
            for batch in batches:
                number = self._tables.get(batch.table) or made.get(batch.table)
                if number is None:
                    number = made[batch.table] = len(self._tables) + len(made) + 1
                    txn.put(b"t " + batch.table.encode(), number.to_bytes(4), db=self._meta)
                tag = number.to_bytes(4)
                if batch.delete:
                    for key, _, _ in batch.rows:
                        moment = txn.pop(tag + key, db=self._keys)
                        if moment is not None:
                            txn.delete(tag + moment + key, db=self._rows)
                else:
                    self._insert(txn, tag, batch.rows)
        self._tables |= made

    def _insert(self, txn: lmdb.Transaction, tag: bytes, given: list[Row]) -> None:
        last = {row[0]: row for row in given}
        rows = list(last.values()) if len(last) < len(given) else given
        moments = [row[2].to_bytes(8) for row in rows]
        keys = [(tag + row[0], moment) for row, moment in zip(rows, moments, strict=True)]
        with txn.cursor(self._keys) as cursor:
            _, fresh = cursor.putmulti(keys, overwrite=False)
        if fresh < len(keys):
            for name, moment in keys:
                old = txn.replace(name, moment, db=self._keys)
                if old is not None and old != moment:
                    txn.delete(tag + old + name[4:], db=self._rows)
        with txn.cursor(self._rows) as cursor:
            cursor.putmulti([(tag + m + row[0], row[1]) for m, row in zip(moments, rows, strict=True)])

    def _find(self, number: int, key: bytes) -> tuple[bytes, int] | None:
        tag = number.to_bytes(4)
        with self._env.begin() as txn:
            moment = txn.get(tag + key, db=self._keys)
            if moment is None:
                return None
            value = txn.get(tag + moment + key, db=self._rows)
        return (value or b""), int.from_bytes(moment)

    def _ordered(
        self, number: int, after: tuple[int, bytes] | None, start: int, stop: int
    ) -> Generator[Row, None, None]:
        tag = number.to_bytes(4)
        floor, end = tag + start.to_bytes(8), tag + stop.to_bytes(8)
        if after is not None:
            # No key lies between a key and the same key with a zero byte behind it.
            floor = max(floor, tag + after[0].to_bytes(8) + after[1] + b"\0")
        with self._env.begin() as txn, txn.cursor(self._rows) as cursor:
            if cursor.set_range(floor):
                for name, value in cursor:
                    if name >= end:
                        return
                    yield name[12:], value, int.from_bytes(name[4:12])

    def _remove(self, bounds: Mapping[int, tuple[int, bytes]]) -> int:
        gone = 0
        with self._env.begin(write=True) as txn, txn.cursor(self._rows) as cursor:
            for number, (moment, key) in bounds.items():
                tag = number.to_bytes(4)
                last = tag + moment.to_bytes(8) + key
                found = cursor.set_range(tag)
                while found and (name := cursor.key()) <= last:
                    txn.delete(tag + name[12:], db=self._keys)
                    cursor.delete()  # goes on to the next
                    found = bool(cursor.key())
                    gone += 1
        return gone

    def _crowded(self, error: Exception, need: int) -> bool:
        import lmdb

        return isinstance(error, lmdb.MapFullError)

    def _meaning(self, error: Exception) -> Damaged | StoreError | None:
        import lmdb

        if not isinstance(error, (lmdb.Error, OSError)):
            return None
        # After a failed write the environment may refuse all others until it is opened again.
        self.close()
        bad = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)
        if isinstance(error, bad):
            return Damaged(str(error))
        return StoreError(f"{self.path}: {error}; is the disk full, or the folder not writable?")

    def _set_aside(self) -> Path:
        aside = unused_name(self.path / "data.mdb")
        os.replace(self.path / "data.mdb", aside)
        (self.path / "lock.mdb").unlink(missing_ok=True)
        return aside

    def _salvage(self, aside: Path) -> Generator[tuple[str, list[Row]], None, None]:
        work = self.path / "salvage"
        try:
            yield from salvage_lmdb(aside, work, self._salvage_s)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def claim(folder: Path) -> int:
    """Marks a folder as in use: two stores that number tables on their own would mix them. Raises StoreError."""
    file = os.open(folder / "owner", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise StoreError(f"{folder}: another process or store uses it ({error.strerror})") from error
    return file


def release(file: int) -> None:
    """Ends a `claim`, also where a forked process has inherited the file."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)
