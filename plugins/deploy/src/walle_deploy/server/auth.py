"""Who may do what: operators by tokens with roles, kept as hashes; devices by tokens that only the server's secret makes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import attrs
import sqlalchemy as sa

from walle_deploy.errors import DeployError
from walle_deploy.server.database import Database
from walle_deploy.server.schema import tokens as table

Role = Literal["viewer", "operator", "approver", "admin", "enrol"]
Right = Literal["read", "operate", "approve", "admin", "enrol"]

RIGHTS: dict[Role, frozenset[str]] = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "operate"}),
    "approver": frozenset({"read", "approve"}),
    "admin": frozenset({"read", "operate", "approve", "admin"}),
    "enrol": frozenset({"enrol"}),
}
ROLES = tuple(RIGHTS)
DEVICE_ID = r"^[\x21-\x7e]{1,128}\Z"
MAX_DAYS, MAX_NAME = 3650, 128

_DAY = 86_400
_BLOCK = 64  # bytes of SHA-256
_PREFIX = "walle_"
_LENGTH = len(_PREFIX) + 43
_FRESH_S = 1.0  # how long a token that was good is believed without asking the database
_MOST_FRESH = 4096


def device_token(secret: bytes, device: str) -> str:
    """The token of a device: 22 characters that nobody makes without the server's secret."""
    inner, outer = (pad.copy() for pad in _pads(secret))
    inner.update(device.encode())
    outer.update(inner.digest())
    return urlsafe_b64encode(outer.digest()[:16])[:22].decode()


@lru_cache(maxsize=4)
def _pads(secret: bytes) -> tuple[Any, Any]:
    """HMAC-SHA-256 in its two parts, begun: hmac.digest gives up the interpreter's lock, which is dear to get back."""
    key = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in key)) for pad in (0x36, 0x5C))
    inner.update(b"walle device\0")
    return inner, outer


def is_device_token(secret: bytes, device: str, token: str) -> bool:
    """Whether a token is the device's; takes as long for a wrong one."""
    given = token.encode("utf-8", "replace")
    return hmac.compare_digest(device_token(secret, device).encode(), given) and bool(device)


@attrs.frozen
class Operator:
    """Whose token it is."""

    id: int
    name: str
    role: Role
    expires: float

    def may(self, right: str) -> bool:
        """Whether the role has a right."""
        return right in RIGHTS[self.role]


@attrs.frozen
class TokenLine:
    """A token as it is listed: never the token itself. Times are Unix seconds."""

    id: int
    name: str
    role: Role
    created: float
    expires: float
    revoked: bool


class Tokens:
    """The operators' tokens in the database. Thread-safe; one that another worker revokes ends within a second."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        self._fresh: dict[str, tuple[float, Operator]] = {}

    def make(self, name: str, role: Role, days: float) -> tuple[int, str]:
        """A new token and its number; the token is not kept, and cannot be shown again. Raises DeployError."""
        if role not in RIGHTS:
            raise DeployError(f"role {role!r}: there are {', '.join(ROLES)}")
        if not 0 < len(name) <= MAX_NAME or not name.isprintable() or not 0 < days <= MAX_DAYS:
            raise DeployError(
                f"a token has a name of 1 to {MAX_NAME} printable characters, and lasts at most {MAX_DAYS} days"
            )
        token, now = _PREFIX + secrets.token_urlsafe(32), self._clock()
        values: dict[str, Any] = {
            "name": name, "role": role, "digest": _digest(token), "created": now, "expires": now + days * _DAY,
            "revoked": False,
        }  # fmt: skip
        insert = sa.insert(table).values(values).returning(table.c.id)
        return int(self._database.write(lambda found: found.execute(insert).scalar_one())), token

    def who(self, token: str) -> Operator | None:
        """Whose token it is; None for one that is unknown, expired or revoked. Raises DeployError."""
        if len(token) != _LENGTH or not token.startswith(_PREFIX):
            return None
        digest, now = _digest(token), self._clock()
        asked, known = self._fresh.get(digest, (0.0, None))
        if known is None or not asked <= now < asked + _FRESH_S:
            known = self._read(digest)
            if known is None:
                self._fresh.pop(digest, None)
                return None
            if len(self._fresh) >= _MOST_FRESH:
                self._fresh.clear()
            self._fresh[digest] = (now, known)
        return known if now < known.expires else None

    def _read(self, digest: str) -> Operator | None:
        wanted = sa.select(table).where(table.c.digest == digest, ~table.c.revoked)
        with self._database.read() as found:
            row = found.execute(wanted).one_or_none()
        return None if row is None else Operator(row.id, row.name, row.role, row.expires)

    def revoke(self, number: int) -> TokenLine | None:
        """Ends a token; None if there is none of this number. Raises DeployError."""

        def end(found: sa.Connection) -> Any:
            found.execute(sa.update(table).where(table.c.id == number).values(revoked=True))
            return found.execute(sa.select(table).where(table.c.id == number)).one_or_none()

        row = self._database.write(end)
        self._fresh.clear()
        return None if row is None else _line(row)

    def lines(self) -> list[TokenLine]:
        """All tokens, the newest first. Raises DeployError."""
        with self._database.read() as found:
            return [_line(row) for row in found.execute(sa.select(table).order_by(table.c.id.desc()))]


def _line(row: Any) -> TokenLine:
    return TokenLine(row.id, row.name, row.role, row.created, row.expires, row.revoked)


def _digest(token: str) -> str:
    # 256 random bits need no slow hash, and one that is looked up by its digest leaks nothing by its time.
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
