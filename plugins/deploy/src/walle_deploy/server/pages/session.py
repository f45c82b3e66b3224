"""Who is logged in: the operator's token, encrypted in a cookie, so that any worker knows it and revoking it ends the session."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable

from cryptography.fernet import Fernet, InvalidToken

LIFETIME_S = 12 * 3600
SESSION, ENTRY = (
    "walle_session",
    "walle_login",
)  # cookies of those who have logged in, and of those who are about to
MAX_TOKEN, MAX_COOKIE = 512, 2048  # characters


class Sessions:
    """Makes and reads session cookies, and the tokens that a form must bring along.

    Args:
        secret: of the server; keys are derived from it.
        clock: seconds since 1970.
        lifetime_s: after which one has to log in again.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float], lifetime_s: int = LIFETIME_S) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(_derived(secret, b"session")))
        self._form_key = _derived(secret, b"form")
        self._clock = clock
        self.lifetime_s = lifetime_s

    def issue(self, token: str = "") -> str:
        """The cookie of somebody who showed this operator token; without one, of somebody who is about to log in."""
        return self._fernet.encrypt_at_time(
            f"{secrets.token_hex(8)} {token}".encode(), int(self._clock())
        ).decode()

    def token(self, cookie: str | None) -> str | None:
        """The operator token of a cookie; None if it is none of ours, or too old; "" of one that was issued without."""
        if not cookie or len(cookie) > MAX_COOKIE:
            return None
        try:
            said = self._fernet.decrypt_at_time(cookie, self.lifetime_s, int(self._clock())).decode()
        except (InvalidToken, ValueError):
            return None
        return said.partition(" ")[2]

    def form_token(self, cookie: str) -> str:
        """What forms of this session carry, so that other sites cannot send them."""
        made = hmac.new(self._form_key, cookie.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(made[:18]).decode()

    def fits(self, cookie: str | None, form_token: str) -> bool:
        """Whether a form comes from a page of this session."""
        return cookie is not None and hmac.compare_digest(
            self.form_token(cookie).encode(), form_token.encode(errors="replace")
        )


def cookie_name(name: str, secure: bool) -> str:
    """As it is sent: with this prefix browsers take it only over TLS, for one host and all of its paths."""
    return f"__Host-{name}" if secure else name


def _derived(secret: bytes, what: bytes) -> bytes:
    return hmac.new(secret, b"walle pages " + what, hashlib.sha256).digest()
