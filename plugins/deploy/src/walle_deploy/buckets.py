"""Sticky buckets: which share of all devices one device is in, the same in every language and for ever.

The bucket of a device is the unsigned 32-bit MurmurHash3 (x86, seed 0) of the UTF-8 text ``salt + NUL + device id``. A
device is in a share of ``ppm`` parts per million if its bucket is less than ``ppm * 2**32 // 1_000_000``. A larger share
therefore contains every smaller one of the same salt: raising it never removes a device, and lowering it removes the
devices that came last.

Published vectors (salt, device id, bucket):

    ""          ""                                      0x514E28B7
    ""          "device-1"                              0x023D578C
    "v2"        "device-1"                              0xC8CC2A7F
    "v2"        "device-2"                              0x6FF0D9CF
    "release-7" "6f1e2c34-9a8b-4c5d-8e7f-001122334455"  0x38D36EAD
    "été"       "手机-1"                                  0x207DC5F0
    "v2"        "📱"                                     0x9301262D
"""

from __future__ import annotations

import mmh3

STEPS = 1 << 32
MILLION = 1_000_000


def prefix(salt: str) -> bytes:
    """What is hashed before the device id."""
    return salt.encode() + b"\0"


def bucket(salt: str, device: str) -> int:
    """The bucket of a device, 0 to 2**32 - 1."""
    return mmh3.mmh3_32_uintdigest(prefix(salt) + device.encode())


def threshold(ppm: int) -> int:
    """The first bucket that a share of `ppm` parts per million does not have."""
    return ppm * STEPS // MILLION


def in_share(salt: str, device: str, ppm: int) -> bool:
    """Whether a device is in the share of `ppm` parts per million that belongs to `salt`."""
    return bucket(salt, device) < threshold(ppm)
