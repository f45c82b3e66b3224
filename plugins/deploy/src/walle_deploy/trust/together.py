"""One signature for several answers: the root of a tree of hashes is signed, and each answer carries its way up to it.

A leaf is BLAKE2b-256 of an answer's payload, a node that of its two children; `person` tells leaves from nodes, so that
neither passes for the other. The place beside the last one of an odd row holds EMPTY, which is no known hash. A leaf is
salted: who holds one answer cannot guess from its way what another device was told, nor prepare two answers of one hash.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b

from walle_deploy.errors import TrustError

DEPTH = 4  # rows of nodes above the leaves, at most
MOST = 1 << DEPTH  # answers under one signature
HASH, SALT = 32, 16
EMPTY = bytes(HASH)
_FIRST = 2 + SALT  # where a way's hashes begin
LONGEST = _FIRST + DEPTH * HASH
"""Bytes of a way, at most."""


def leaf(salt: bytes, payload: bytes) -> bytes:
    """The hash of an answer."""
    return blake2b(payload, digest_size=HASH, salt=salt, person=b"walle answer").digest()


def node(pair: bytes) -> bytes:
    """The hash of two hashes, one behind the other."""
    return blake2b(pair, digest_size=HASH, person=b"walle answers").digest()


def planted(payloads: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """What is to be signed for 2 to MOST answers, and the way of each: depth, place, salt, and the hashes beside it."""
    random = os.urandom(SALT * len(payloads))
    salts = [random[at : at + SALT] for at in range(0, len(random), SALT)]
    row = [leaf(salt, payload) for salt, payload in zip(salts, payloads, strict=True)]
    rows = []
    while len(row) > 1:
        if len(row) & 1:
            row.append(EMPTY)
        rows.append(row)
        row = [node(row[at] + row[at + 1]) for at in range(0, len(row), 2)]
    depth = bytes([len(rows)])
    ways = [
        b"".join((depth, _BYTES[place], salt, *[row[place >> up ^ 1] for up, row in enumerate(rows)]))
        for place, salt in enumerate(salts)
    ]
    return depth + row[0], ways


def way_length(depth: int) -> int:
    """Bytes of a way with so many hashes."""
    return _FIRST + depth * HASH


def climbed(data: bytes) -> tuple[bytes, bytes]:
    """What must have been signed, if `data` begins with the way of the payload that is the rest; and this payload.

    Raises TrustError for what is no way.
    """
    depth, place = data[0], data[1] if len(data) > 1 else MOST
    start = way_length(depth)
    if not 1 <= depth <= DEPTH or place >> depth or len(data) <= start:
        raise TrustError("the answer's way to its signature is damaged")
    payload = data[start:]
    found = leaf(data[2:_FIRST], payload)
    for at in range(_FIRST, start, HASH):
        beside = data[at : at + HASH]
        found = node(beside + found if place & 1 else found + beside)
        place >>= 1
    return data[:1] + found, payload


_BYTES = [bytes([number]) for number in range(MOST)]
