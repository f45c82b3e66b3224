"""What a fleet is made of: a few thousand kinds of phones and of people, drawn by the shares that such things have.

They are the same in every run: a seed chooses who has which kind, not what kinds there are.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import attrs

KINDS = 4096  # of devices, and as many of users
_SEED = 20_260_801

# name -> share; the versions of an operating system from old to new
_ANDROID = {"9": 3, "10": 6, "11": 12, "12": 14, "13": 19, "14": 24, "15": 19, "16": 3}
_IOS = {"15.8": 3, "16.7": 8, "17.4": 7, "17.6": 14, "18.1": 12, "18.3": 20, "18.5": 30, "26.0": 6}
_VENDORS = {
    "samsung": 31,
    "xiaomi": 22,
    "oppo": 14,
    "vivo": 13,
    "honor": 7,
    "huawei": 6,
    "motorola": 4,
    "google": 3,
}
_MEMORY_MB = {2048: 5, 3072: 9, 4096: 22, 6144: 24, 8192: 27, 12288: 11, 16384: 2}
_COUNTRIES = {  # share, hours ahead of UTC
    "cn": (34, 8), "in": (17, 5.5), "us": (8, -6), "id": (6, 7), "br": (5, -3), "ru": (4, 3), "jp": (3, 9), "mx": (3, -6),
    "de": (3, 1), "gb": (3, 0), "tr": (2, 3), "fr": (2, 1), "it": (2, 1), "kr": (2, 9), "th": (2, 7), "vn": (2, 7), "ng": (1, 1),
    "eg": (1, 2),
}  # fmt: skip
MODELS = 300  # of Android phones; the first are the most frequent
NEWEST_APP = 40


@attrs.frozen
class Kinds:
    """All kinds.

    Attributes:
        devices: attributes of each kind of device.
        users: attributes of each kind of user.
        zones: hours that each kind of user is ahead of UTC.
    """

    devices: tuple[dict[str, Any], ...]
    users: tuple[dict[str, Any], ...]
    zones: tuple[float, ...]


@cache
def kinds() -> Kinds:
    """The kinds; all are equally frequent, their attributes are not."""
    rng = random.Random(_SEED)  # noqa: S311
    devices = tuple(_device(rng) for _ in range(KINDS))
    users = tuple(_user(rng) for _ in range(KINDS))
    return Kinds(devices, users, tuple(_COUNTRIES[user["country"]][1] for user in users))


def _drawn(rng: random.Random, shares: dict[Any, Any]) -> Any:
    return rng.choices(list(shares), list(shares.values()))[0]


def _device(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any]
    if rng.random() < 0.71:
        number = int(MODELS ** rng.random())
        model = random.Random(number)  # noqa: S311  a model has one vendor, one size of memory and one speed
        memory = _drawn(model, _MEMORY_MB)
        speed = memory / 8192 * model.uniform(25, 60)
        made = {
            "os": "android",
            "os_version": _drawn(rng, _ANDROID),
            "model": f"{_drawn(model, _VENDORS)}-{number}",
            "memory_mb": memory,
        }
        backends = (
            ["neon"] + ["gpu"] * (model.random() < 0.8) + ["npu"] * (memory > 6144 and model.random() < 0.5)
        )
    else:
        number = rng.randrange(11, 18)
        speed = 18.0 * (number - 9)
        made = {
            "os": "ios",
            "os_version": _drawn(rng, _IOS),
            "model": f"iphone-{number}",
            "memory_mb": 4096 if number < 14 else 6144 if number < 16 else 8192,
        }
        backends = ["neon", "gpu", "npu"]
    app = NEWEST_APP - min(int(rng.expovariate(0.45)), 20)
    made |= {"app_version": f"10.{app}.{rng.randrange(3)}", "backends": backends}
    factors = {"neon": 1.0, "gpu": 2.5, "npu": 6.0}
    return made | {
        f"speed.{name}": round(speed * factors[name] * rng.uniform(0.9, 1.1), 1) for name in backends
    }


def _user(rng: random.Random) -> dict[str, Any]:
    country = _drawn(rng, {name: share for name, (share, _) in _COUNTRIES.items()})
    groups = [
        name for name, share in (("beta", 0.01), ("staff", 0.001), ("vip", 0.02)) if rng.random() < share
    ]
    return {"country": country, "age": min(14 + int(rng.gammavariate(2.2, 10)), 90), "groups": groups}
