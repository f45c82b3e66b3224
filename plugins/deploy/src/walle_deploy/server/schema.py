"""The tables. Times are Unix seconds of the server's clock; `epoch` is that of the last change of what may be offered."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql

SCHEMA = 1  # raised when a table changes; a database of another number is not opened

metadata = MetaData()

_Big = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows of INTEGER keys only
_Float = Float(53)
_Key = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")  # compares by bytes, as SQLite does

meta = Table(
    "meta",
    metadata,
    Column("one", SmallInteger, primary_key=True),
    Column("schema", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
)

counting = Table(
    "counting",
    metadata,
    Column("one", SmallInteger, primary_key=True),
    Column("counter", BigInteger, nullable=False),  # no answer's counter is above it
    Column("clock", Text, nullable=False),  # whose monotonic clock counts, and
    Column("offset", BigInteger, nullable=False),  # what is added to it, in microseconds
)

tasks = Table(
    "tasks",
    metadata,
    Column("name", _Key, primary_key=True),
    Column("policy", Text, nullable=False),
    Column("stable", BigInteger),
    Column("release", BigInteger),  # that decides beside `stable`; it may be over if its budget still holds
    Column("retired", Boolean, nullable=False),
    Column("created", _Float, nullable=False),
    Column("epoch", BigInteger, nullable=False, index=True),
)

segments = Table(
    "segments",
    metadata,
    Column("name", _Key, primary_key=True),
    Column("policy", Text),  # NULL: it was taken away
    Column("epoch", BigInteger, nullable=False, index=True),
)

versions = Table(
    "versions",
    metadata,
    Column("task", _Key, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("commit", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("signer", Text, nullable=False),
    Column("created", _Float, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("manifest_bytes", BigInteger, nullable=False),
    Column("files", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("exclusive", Boolean, nullable=False),
    Column("published", Boolean, nullable=False),
    Column("revoked", Text, nullable=False),
)

manifests = Table(
    "manifests",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("id", _Big, primary_key=True),
    Column("task", _Key, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("previous", BigInteger),
    Column("plan", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created", _Float, nullable=False),
    Column("changed", _Float, nullable=False),
    Column("due", _Float, nullable=False),  # when it wants a Tick, while it goes on
    Column("heard", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),  # reasons that were kept so far
    Column("point", BigInteger, nullable=False),  # number of the last point
    Column("points", Integer, nullable=False),  # how many are left
    Column("pointed", _Float, nullable=False),  # time of the last one
    Column("step", BigInteger, nullable=False),  # points of these multiples are left when they are thinned
    Index("releases_of_task", "task", "id"),
    Index("releases_by_status", "status", "due"),
)

devices = Table(
    "devices",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("digest", LargeBinary(8), nullable=False),  # empty: the row only holds the place
    Column("profile", LargeBinary, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("granted", LargeBinary),  # ids of the releases that admitted it under a budget
)

installed = Table(
    "installed",  # devices by version; task "" is all devices
    metadata,
    Column("task", _Key, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
)

points = Table(
    "points",
    metadata,
    Column("release", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _Float, nullable=False),
    Column("reached", BigInteger, nullable=False),
    Column("treated", BigInteger, nullable=False),
    Column("treated_failed", BigInteger, nullable=False),
    Column("control", BigInteger, nullable=False),
    Column("control_failed", BigInteger, nullable=False),
)

failures = Table(
    "failures",  # a ring for each release
    metadata,
    Column("release", BigInteger, primary_key=True, autoincrement=False),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("at", _Float, nullable=False),
    Column("device", Text, nullable=False),
    Column("version", Text),
    Column("why", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Big, primary_key=True),
    Column("at", _Float, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("what", _Key, nullable=False),
    Column("text", Text, nullable=False),
    Index("audit_of", "what", "id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _Big, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the token, in hex
    Column("role", Text, nullable=False),
    Column("created", _Float, nullable=False),
    Column("expires", _Float, nullable=False),
    Column("revoked", Boolean, nullable=False, server_default=text("false")),
)
