"""A profile in few bytes, for a header: names and versions apart, then deflated with words that profiles have."""

from __future__ import annotations

import re
import zlib

import msgspec

from walle_deploy.errors import HookError, PolicyError
from walle_deploy.profile import Profile, Value

MAX_PROFILE = 65_536  # bytes, unpacked

# Part of the wire format: another dictionary needs another mark in `headers`.
_DICTIONARY = (
    b"\xa3age\xa6gender\xa8language\xa2en\xa2zh\xa2de\xa6groups\x91\xa5staff\xa3vip\xa4beta\xa7country\xa2CN\xa2US\xa2DE"
    b"\xa6region\xa7network\xa4wifi\xa6mobile\xa4cuda\xa3npu\xa5arm64\xa6x86_64\xa4arch\xa4cpus\xa6vendor\xa5model"
    b"\xabspeed.metal\xacspeed.opencl\xacspeed.vulkan\xaaspeed.neon\xa9speed.avx\xcb@\x00\x00\x00\x00\x00\x00"
    b"\xa7windows\xa6darwin\xa5linux\xa61.10.0\xa51.0.0\xa9memory_mb\xcd\x20\x00\xcd\x40\x00\xcd\x08\x00\xcd\x10\x00"
    b"\xabapp_version\xa610.2.1\xaaos_version\xa418.2\xa417.0\xa214\xa215\xa2os\xa3ios\xa7android"
    b"\xa8backends\x93\xa5metal\xa6opencl\xa6vulkan\xa4neon\xa3avx"
    b"advertisement-analytics-anomaly-assist-audio-automatic-background-barcode-battery-behaviour-camera-caption-category-"
    b"churn-classify-cluster-content-conversation-coupon-customer-delivery-detect-device-document-duplicate-embedding-"
    b"encoder-estimate-expression-extract-face-feature-filter-fraud-gesture-generate-history-health-highlight-identity-"
    b"image-intent-interest-item-keyboard-keyword-language-live-location-match-message-moderation-music-network-next-"
    b"notification-object-offer-order-page-payment-personal-photo-popularity-portrait-pose-predict-price-product-profile-"
    b"quality-query-recognise-recognition-recommend-rerank-response-retrieval-risk-score-ranking-search-segment-sensor-"
    b"session-shop-similar-size-sound-spam-speech-stream-style-suggest-summary-super-resolution-text-thumbnail-topic-"
    b"translate-trigger-user-video-view-visit-voice-wake-word"
)
_NAME = re.compile(r"[a-z0-9_-]+")
_VERSION = re.compile(r"v(?:0|[1-9][0-9]{0,17})")


class _Packed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A profile whose tasks are named as on a server. `names`: joined by line feeds, in order."""

    id: str
    device: dict[str, Value]
    user: dict[str, Value]
    versions: list[int]
    names: str


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def pack(profile: Profile) -> bytes | None:
    """The profile packed; None for one whose tasks or versions are named otherwise than on a server."""
    tasks = sorted(profile.installed.items())
    if not all(_NAME.fullmatch(task) and _VERSION.fullmatch(version) for task, version in tasks):
        return None
    versions = [int(version[1:]) for _, version in tasks]
    names = "\n".join(task for task, _ in tasks)
    plain = _encode(_Packed(profile.id, profile.device, profile.user, versions, names))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    return packer.compress(plain) + packer.flush()


def unpack(data: bytes) -> Profile:
    """The profile that was packed. Raises HookError for other bytes, and for more than `MAX_PROFILE` unpacked."""
    unpacker = zlib.decompressobj(-15, _DICTIONARY)
    try:
        plain = unpacker.decompress(data, MAX_PROFILE)
        if not unpacker.eof or unpacker.unused_data:
            raise HookError(f"a packed profile does not end where it should, or has over {MAX_PROFILE} bytes")
        packed = _decode(plain)
        names = packed.names.split("\n") if packed.names else []
        installed = {name: f"v{version}" for name, version in zip(names, packed.versions, strict=True)}
        return Profile(packed.id, packed.device, packed.user, installed)
    except (zlib.error, msgspec.MsgspecError, PolicyError, ValueError, RecursionError) as error:
        raise HookError(f"a packed profile cannot be read: {error}") from error
