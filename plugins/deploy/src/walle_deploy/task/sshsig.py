"""SSH signatures (the SSHSIG format of OpenSSH, as git makes them with gpg.format=ssh), Ed25519 only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import struct
from collections.abc import Mapping
from pathlib import Path

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from walle_deploy.errors import TaskError, TrustError

BEGIN, END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
NAMESPACE = b"git"
MAX_ARMORED = 1 << 14  # bytes
_MAGIC = b"SSHSIG"
_TYPE = b"ssh-ed25519"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}


@attrs.frozen
class SigningKey:
    """An Ed25519 key that signs versions."""

    private: Ed25519PrivateKey = attrs.field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | os.PathLike[str], password: str | None = None) -> SigningKey:
        """Reads a private key as ssh-keygen writes it. Raises TaskError if it cannot be read or is of another type."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise TaskError(f"{path}: the signing key cannot be read: {error.strerror}") from error
        try:
            key = load_ssh_private_key(data, password.encode() if password else None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise TaskError(
                f"{path}: no private key in OpenSSH's form, or its password, WALLE_KEY_PASSWORD, is missing or wrong: {error}"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise TaskError(f"{path}: wanted an Ed25519 key; make one with ssh-keygen -t ed25519")
        return cls(key)

    def save(self, path: str | os.PathLike[str], password: str | None = None) -> None:
        """Writes the key for its owner only, and the public one beside it (``.pub``). Raises TaskError if one is there."""
        cipher = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        try:
            data = self.private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, cipher)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
            Path(f"{os.fspath(path)}.pub").write_text(self.public + "\n", "ascii")
        except OSError as error:
            raise TaskError(f"{path}: the key cannot be written: {error.strerror}") from error
        except UnsupportedAlgorithm as error:
            raise TaskError(f"{path}: keys with passwords need bcrypt: pip install bcrypt") from error

    @property
    def public(self) -> str:
        """The public key as a line ``ssh-ed25519 AAAA…``."""
        return self.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def sign(self, message: bytes) -> bytes:
        """The armored signature, as git puts it behind a tag."""
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        made = self.private.sign(_signed(message, b"sha512"))
        blob = _MAGIC + struct.pack(">I", 1)
        blob += (
            _packed(_packed(_TYPE) + _packed(raw)) + _packed(NAMESPACE) + _packed(b"") + _packed(b"sha512")
        )
        text = base64.b64encode(blob + _packed(_packed(_TYPE) + _packed(made)))
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        return b"\n".join([BEGIN, *lines, END]) + b"\n"


@attrs.frozen
class Signers:
    """Who may sign: raw public keys -> names. What it does not hold is refused."""

    keys: Mapping[bytes, str]

    @classmethod
    def of(cls, *keys: SigningKey | str) -> Signers:
        """From keys, or their public lines."""
        return cls.parse("\n".join(f"signer {k if isinstance(k, str) else k.public}" for k in keys))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Signers:
        """Reads a file as git's gpg.ssh.allowedSignersFile. Raises TaskError."""
        try:
            return cls.parse(Path(path).read_text("utf-8"), os.fspath(path))
        except (OSError, UnicodeDecodeError) as error:
            raise TaskError(f"{path}: the allowed signers cannot be read: {error}") from error

    @classmethod
    def parse(cls, text: str, where: str = "allowed signers") -> Signers:
        """Lines ``names [namespaces="git"] ssh-ed25519 AAAA…``. Keys for other namespaces are left out.

        Raises TaskError for options (validity, certificates) that would have to be understood to be honoured.
        """
        keys: dict[bytes, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            try:
                words = shlex.split(line, comments=True)
                if not words:
                    continue
                names, *options = words[: words.index("ssh-ed25519")]
                raw = _public(base64.b64decode(words[words.index("ssh-ed25519") + 1], validate=True))
            except (ValueError, IndexError, TrustError) as error:
                raise TaskError(
                    f"{where}, line {number}: wanted 'names ssh-ed25519 AAAA…': {error}"
                ) from error
            spaces = [o.partition("=")[2] for o in options if o.lower().startswith("namespaces=")]
            if len(spaces) != len(options):
                raise TaskError(
                    f"{where}, line {number}: {options[0]!r} is not supported here; remove the line"
                )
            if not spaces or NAMESPACE.decode() in spaces[0].split(","):
                keys[raw] = names
        return cls(keys)

    def verify(self, message: bytes, armored: bytes) -> str:
        """Name of who signed. Raises TrustError if the signature is malformed, wrong, or of a key that is not allowed."""
        raw, hash_name, signature = _opened(armored)
        if raw not in self.keys:
            raise TrustError(
                f"signed by a key that is not allowed ({fingerprint(raw)}); allow it, or do not use this"
            )
        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, _signed(message, hash_name))
        except (InvalidSignature, ValueError) as error:
            raise TrustError("the signature does not fit: what it covers was altered") from error
        return self.keys[raw]


def fingerprint(raw: bytes) -> str:
    """The name by which ssh-keygen shows a public key."""
    digest = hashlib.sha256(_packed(_TYPE) + _packed(raw)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _opened(armored: bytes) -> tuple[bytes, bytes, bytes]:
    """Public key, hash and signature."""
    lines = armored.strip().split(b"\n")
    if len(armored) > MAX_ARMORED or len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END:
        raise TrustError("no SSH signature: wanted one as 'git tag -s' makes with gpg.format=ssh")
    try:
        blob = base64.b64decode(b"".join(lines[1:-1]), validate=True)
    except binascii.Error as error:
        raise TrustError(f"damaged SSH signature: {error}") from error
    if blob[:10] != _MAGIC + struct.pack(">I", 1):
        raise TrustError("damaged SSH signature, or of an unknown version")
    public, namespace, _reserved, hash_name, wrapped = _unpacked(blob[10:], 5)
    kind, signature = _unpacked(wrapped, 2)
    if namespace != NAMESPACE or hash_name not in _HASHES or kind != _TYPE:
        raise TrustError(
            f"wanted an Ed25519 signature for git, not {kind!r} for {namespace!r} with {hash_name!r}"
        )
    return _public(public), hash_name, signature


def _public(blob: bytes) -> bytes:
    kind, raw = _unpacked(blob, 2)
    if kind != _TYPE or len(raw) != 32:
        raise TrustError(f"wanted an Ed25519 key, not {kind!r}")
    return raw


def _signed(message: bytes, hash_name: bytes) -> bytes:
    digest = _HASHES[hash_name](message).digest()
    return _MAGIC + _packed(NAMESPACE) + _packed(b"") + _packed(hash_name) + _packed(digest)


def _packed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _unpacked(blob: bytes, count: int) -> list[bytes]:
    """Exactly `count` strings that fill the blob."""
    found = []
    for _ in range(count):
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise TrustError("damaged SSH signature: it ends too early")
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    if blob:
        raise TrustError("damaged SSH signature: something follows it")
    return found
