"""Operators' Ed25519 keys: encrypted PEM files that only their owner can read, never inside a git working tree."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from walle_deploy.errors import TrustError

Passphrase = Callable[[Path], str]

PASSPHRASE_VARIABLE = "WALLE_KEY_PASSPHRASE"  # noqa: S105
_SHORTEST = 8
_MAX_FILE = 16_384


@attrs.frozen(slots=False)
class PublicKey:
    """The 32 bytes of an Ed25519 public key."""

    raw: bytes

    def __attrs_post_init__(self) -> None:
        if len(self.raw) != 32:
            raise TrustError(f"an Ed25519 public key has 32 bytes, this one has {len(self.raw)}")

    @cached_property
    def id(self) -> bytes:
        """Eight bytes that name the key in an answer."""
        return hashlib.sha256(self.raw).digest()[:8]

    @property
    def fingerprint(self) -> str:
        """For people to compare: the SHA-256 of the key, in groups of four hex digits."""
        digest = hashlib.sha256(self.raw).hexdigest()
        return " ".join(digest[at : at + 4] for at in range(0, 32, 4))

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature is this key's over the data."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    @cached_property
    def tuf(self) -> SSlibKey:
        """The key as TUF metadata names it."""
        return SSlibKey.from_crypto(self._key)


@attrs.frozen(slots=False)
class SigningKey:
    """A private key in memory; make_key and load_key give one."""

    private: Ed25519PrivateKey = attrs.field(repr=False)

    @cached_property
    def public(self) -> PublicKey:
        """What others verify with."""
        raw = serialization.Encoding.Raw
        return PublicKey(self.private.public_key().public_bytes(raw, serialization.PublicFormat.Raw))

    @cached_property
    def fastest(self) -> Callable[[bytes], bytes]:
        """Signs as `private` does, byte for byte: by libsodium where PyNaCl is installed, in two thirds of the time."""
        try:
            from nacl.bindings import crypto_sign
        except ImportError:
            return self.private.sign
        both = self.private.private_bytes_raw() + self.public.raw
        return lambda data: crypto_sign(data, both)[:64]

    @property
    def tuf(self) -> CryptoSigner:
        """The key as python-tuf signs with it."""
        return CryptoSigner(self.private)


def from_environment(name: str = PASSPHRASE_VARIABLE) -> Passphrase:
    """A passphrase from an environment variable, asked for when a key needs it."""

    def passphrase(path: Path) -> str:
        if value := os.environ.get(name):
            return value
        raise TrustError(
            f"{path}: the key is encrypted; put its passphrase into the environment variable {name}"
        )

    return passphrase


def from_terminal(path: Path) -> str:
    """Ask the person at the terminal. Raises TrustError if there is none."""
    if not sys.stdin.isatty():
        raise TrustError(
            f"{path}: needs its passphrase: set {PASSPHRASE_VARIABLE}, or run this at a terminal"
        )
    return getpass.getpass(f"Passphrase of {path}: ")


def new_key() -> SigningKey:
    """A key that is in no file, as tests and demonstrations want it."""
    return SigningKey(Ed25519PrivateKey.generate())


def make_key(path: str | os.PathLike[str], passphrase: Passphrase) -> SigningKey:
    """Make a key in a new encrypted file of mode 0600, its public half beside it as ``.pub``. Raises TrustError."""
    path = Path(path)
    if os.path.lexists(path):
        raise TrustError(f"{path}: there is a file already; a key is never overwritten")
    key = new_key()
    _store(path, key, passphrase)
    return key


def load_key(path: str | os.PathLike[str], passphrase: Passphrase) -> SigningKey:
    """Read a private key. Raises TrustError for an open file mode, a wrong passphrase, no encryption, another kind."""
    path = Path(path)
    data = _read(path, private=True)
    if b"BEGIN ENCRYPTED PRIVATE KEY" not in data:
        raise TrustError(f"{path}: not an encrypted private key in PEM (PKCS 8); make one with `make_key`")
    try:
        private = serialization.load_pem_private_key(data, passphrase(path).encode())
    except UnsupportedAlgorithm as error:
        raise TrustError(f"{path}: the key cannot be used here: {error}") from error
    except (ValueError, TypeError) as error:
        raise TrustError(f"{path}: wrong passphrase, or a damaged file") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise TrustError(f"{path}: expected an Ed25519 key, found {type(private).__name__}")
    return SigningKey(private)


def load_public(path: str | os.PathLike[str]) -> PublicKey:
    """Read a public key in PEM. Raises TrustError."""
    path = Path(path)
    try:
        public = serialization.load_pem_public_key(_read(path, private=False))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{path}: not a public key in PEM: {error}") from error
    if not isinstance(public, Ed25519PublicKey):
        raise TrustError(f"{path}: expected an Ed25519 key, found {type(public).__name__}")
    return PublicKey(public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def rotate_key(path: str | os.PathLike[str], passphrase: Passphrase) -> tuple[SigningKey, SigningKey]:
    """Put a new key into the file and keep the old one beside it, named by its fingerprint: (old, new).

    Devices go on trusting the old key until a root, or a delegation, that names the new one is published
    (ImageRepository.replace_key); a new root is signed by both. Raises TrustError.
    """
    path = Path(path)
    old = load_key(path, passphrase)
    kept = path.with_name(f"{path.name}.{old.public.id.hex()}")
    for suffix in ("", ".pub"):
        with contextlib.suppress(FileNotFoundError):
            os.link(f"{path}{suffix}", f"{kept}{suffix}")
    if load_key(kept, passphrase).public != old.public:
        raise TrustError(f"{kept}: holds another key than {path}; move it away")
    new = new_key()
    _store(path, new, passphrase)
    return old, new


def _store(path: Path, key: SigningKey, passphrase: Passphrase) -> None:
    for folder in path.absolute().parents:
        if (folder / ".git").exists():
            raise TrustError(
                f"{path}: a private key must not lie in a git working tree ({folder}); choose another place"
            )
    secret = passphrase(path)
    if len(secret) < _SHORTEST:
        raise TrustError(f"{path}: a passphrase has at least {_SHORTEST} characters")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write_durably(
        path, key.private.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(secret.encode()))
    )
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    write_durably(
        path.with_name(f"{path.name}.pub"), key.private.public_key().public_bytes(pem, info), mode=0o644
    )


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if private and os.name == "posix" and mode & 0o077:
                raise TrustError(
                    f"{path}: mode {mode:04o} lets others at the private key; run `chmod 600 {path}`"
                )
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise TrustError(f"{path}: the key cannot be read: {error}") from error
    if len(data) > _MAX_FILE:
        raise TrustError(f"{path}: too long for a key")
    return data


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file so that a power cut leaves the old content or the new. Raises TrustError."""
    name = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if os.name == "posix":
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        raise TrustError(f"{path}: cannot be written: {error}") from error
