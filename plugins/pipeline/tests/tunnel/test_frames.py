"""Frames and payloads: any bytes are a frame or a FrameError, and every frame comes back as it was."""

from __future__ import annotations

import contextlib
import json
import os
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from walle_pipeline.errors import FrameError, TunnelError
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.contract import MAX_FRAME
from walle_pipeline.tunnel.dictionary import Codec, Dictionary, UnknownDictionaryError, train
from walle_pipeline.tunnel.frames import Ack, Data, Dict, Error, Hello, Open, Ping, Pong, Type, Welcome

u16, u32, u64 = st.integers(0, 0xFFFF), st.integers(1, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
seqs = st.integers(1, frames.MAX_SEQ)
names = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
hellos = st.builds(
    lambda device, streams, versions: Hello(device, {n: i for i, n in enumerate(streams)}, versions),
    st.text(max_size=40),
    st.lists(names, unique=True, max_size=8),
    st.lists(u32, max_size=4),
)
anything = st.one_of(
    hellos,
    st.builds(
        Welcome, st.dictionaries(names, seqs, max_size=8), st.integers(1, 1 << 40), st.lists(u32, max_size=4)
    ),
    st.builds(Data, u16, seqs, st.integers(0, 1), st.binary(max_size=200)),
    st.builds(Ack, u16, st.integers(0, frames.MAX_SEQ)),
    st.builds(Dict, u64, st.binary(max_size=200)),
    st.builds(Error, u16, st.text(max_size=100)),
    st.builds(Ping, u64),
    st.builds(Pong, u64),
    st.builds(Open, u16, names),
)


def samples(count: int = 400) -> list[bytes]:
    dice = random.Random(5)
    page = b'{"user":"%d","event":"ipv","item":{"id":%d,"category":"%s"},"dwell_ms":%d,"clicks":[%d,%d],"from":"search"}'
    return [
        page
        % (
            dice.randrange(10**9),
            dice.randrange(10**9),
            dice.choice([b"shoes", b"phones", b"books"]),
            *(dice.randrange(9999) for _ in range(3)),
        )
        for _ in range(count)
    ]


@given(anything)
def test_round_trip(frame):
    assert frames.parse(frames.encode(frame)) == [frame]


@given(
    st.lists(st.builds(Data, u16, seqs, st.integers(0, 1), st.binary(max_size=50)), min_size=1, max_size=20)
)
def test_batches(batch):
    assert frames.parse(frames.encode_batch([frames.encode(f) for f in batch])) == batch


@given(
    st.one_of(
        st.binary(max_size=64),
        st.builds(lambda t, b: bytes([0x10 | t]) + b, st.integers(0, 15), st.binary(max_size=64)),
    )
)
def test_any_bytes(data):
    try:
        found = frames.parse(data)
    except FrameError:
        return
    codec = Codec()
    for frame in found:
        if isinstance(frame, Data):
            with contextlib.suppress(FrameError):
                codec.unpack(frame.flags, frame.body)
        else:
            frames.encode(frame)


@given(anything, st.data())
def test_damaged_frames(frame, data):
    raw = bytearray(frames.encode(frame))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (bytes(raw), bytes(raw[:cut])):
        with contextlib.suppress(FrameError):
            frames.parse(damaged)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x10" * 11,
        frames.encode(Ping(1))[:1] + b"\x01" + frames.encode(Ping(1))[2:],
        b"\x20" + frames.encode(Ping(1))[1:],
        bytes([0x10 | Type.DATA]) + bytes(11),  # seq 0
        frames.encode(Hello("d", {"a": 0})) + b"x",
        bytes([0x10 | Type.HELLO]) + bytes(11) + b"\x91" * 5000,  # deep nesting
        bytes([0x10 | Type.HELLO]) + bytes(11) + b"\xdd\xff\xff\xff\xff",  # four billion elements announced
        bytes(MAX_FRAME + 1),
    ],
    ids=["empty", "short", "flags", "version", "seq 0", "trailing", "nested", "long list", "oversized"],
)
def test_refused(bad):
    with pytest.raises(FrameError):
        frames.parse(bad)


@pytest.mark.parametrize(
    "frame", [Data(1 << 16, 1, 0, b""), Ack(0, -1), Ping(1 << 64), Data(0, 1, 0, bytes(MAX_FRAME))]
)
def test_not_encodable(frame):
    with pytest.raises(FrameError):
        frames.encode(frame)


@pytest.mark.parametrize(
    "streams", [{"a": 0, "b": 0}, {"a": 1 << 16}, {"a": -1}, {"": 0}, {"a b": 0}, {"x" * 65: 0}]
)
def test_bad_hello(streams):
    with pytest.raises(FrameError):
        frames.parse(frames.encode(Hello("d", streams)))


def test_incompressible_128_bytes_fit_160():
    websocket = 2 + 2 + 4  # header, extended length, mask
    flags, body = Codec().pack(os.urandom(128))
    assert len(frames.encode(Data(1, 1, flags, body))) + websocket <= 160


def feature(dice: random.Random) -> bytes:
    """About 1.1 KB of JSON, as a page visit becomes: names and shapes repeat, ids and counts do not."""
    visit = {
        "schema": "walle.feature.item_page_view/3",
        "user_profile": {
            "age_group": dice.choice(["18-24", "25-34", "35-44"]),
            "membership_level": dice.randrange(5),
        },
        "item": {"item_id": dice.randrange(10**10), "category": dice.choice(["shoes", "phones", "books"])},
        "dwell_milliseconds": dice.randrange(60_000),
        "actions": {
            name: {"count": dice.randrange(6), "total_duration_milliseconds": dice.randrange(3000)}
            for name in (
                "scroll_description",
                "open_comments",
                "zoom_picture",
                "select_variant",
                "add_to_cart",
            )
        },
        "exposure": [
            {
                "position_in_list": i,
                "exposed_item_category": dice.choice(["shoes", "phones", "books"]),
                "clicked": False,
            }
            for i in range(6)
        ],
        "previous_page": dice.choice(["search_result_page", "home_page", "recommendation_page"]),
    }
    return json.dumps(visit).encode()


def test_a_feature_of_1_kb_fits_300_bytes_with_a_dictionary():
    dice = random.Random(6)
    dictionary = train([feature(dice) for _ in range(600)])
    codec = Codec([dictionary])
    websocket = 2 + 2 + 4
    for _ in range(100):
        payload = feature(dice)
        assert len(payload) > 1000
        flags, body = codec.pack(payload, dictionary.version)
        assert len(frames.encode(Data(1, 1, flags, body))) + websocket <= 300


@given(st.binary(max_size=4000))
def test_payload_round_trip(payload):
    codec = Codec()
    flags, body = codec.pack(payload)
    assert len(body) <= len(payload)
    assert codec.unpack(flags, body) == payload


def test_dictionary_round_trip(tmp_path):
    dictionary = train(samples())
    assert train(samples()) == dictionary  # the version comes from the content
    dictionary.save(tmp_path / "d")
    loaded = Dictionary.load(tmp_path / "d")
    assert loaded == dictionary
    payload = samples(3)[2]
    flags, body = Codec([dictionary]).pack(payload, dictionary.version)
    assert Codec([loaded]).unpack(flags, body) == payload
    child = Codec(parent=Codec([loaded]))
    assert child.unpack(*child.pack(payload, dictionary.version)) == payload
    with pytest.raises(UnknownDictionaryError):
        Codec().unpack(flags, body)
    with pytest.raises(UnknownDictionaryError):
        Codec().pack(payload, dictionary.version)


def test_damaged_dictionaries(tmp_path):
    path = tmp_path / "d"
    train(samples()).save(path)
    raw = path.read_bytes()
    for damaged in (raw[:-1], raw[:10], b"", raw[:100] + bytes([raw[100] ^ 1]) + raw[101:], b"x" + raw[1:]):
        path.write_bytes(damaged)
        with pytest.raises(TunnelError, match="damaged"):
            Dictionary.load(path)
    with pytest.raises(TunnelError, match="cannot be read"):
        Dictionary.load(tmp_path / "missing")
    with pytest.raises(TunnelError, match="samples"):
        train([b"a", b"b"])


@pytest.mark.parametrize("streaming", [False, True])
def test_zip_bombs(streaming):
    """Neither a declared nor an undeclared size beyond the limit is decompressed."""
    if streaming:
        packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
        bomb = packer.compress(bytes(64 << 20)) + packer.flush()
    else:
        bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    with pytest.raises(FrameError, match="limit"):
        Codec().unpack(frames.COMPRESSED, bomb)


@given(st.binary(max_size=300))
def test_any_payload_bytes(body):
    for data in (body, b"\x28\xb5\x2f\xfd" + body):
        with contextlib.suppress(FrameError):
            Codec().unpack(frames.COMPRESSED, data)


def test_payload_with_a_second_frame_behind_it():
    packer = zstandard.ZstdCompressor()
    with pytest.raises(FrameError):
        Codec().unpack(frames.COMPRESSED, packer.compress(b"a" * 100) + packer.compress(b"b" * 100))
