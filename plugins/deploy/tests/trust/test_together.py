"""Answers under one signature, and attacks on their way to it: each test is named for what the attacker does."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trust_world import DAY, START
from walle_deploy.errors import TrustError
from walle_deploy.trust import AnswerSigner, AnswerTask, Director, new_key, together
from walle_deploy.trust.answer import _CONTEXT, MAX_ANSWER, MAX_TASKS, open_answer, payload_of
from walle_deploy.trust.together import DEPTH, HASH, MOST, SALT, leaf, node

KEY = new_key()
SIGNER, DIRECTOR = AnswerSigner(KEY), Director((KEY.public,))
HEAD = 1 + 8 + 64
TASK = AnswerTask("shop/rank", 1, bytes(32), 10, "https://cdn.example")


def packed(number, tasks=(TASK,)):
    return SIGNER.pack(f"phone-{number}", tasks, counter=number + 1, issued=START, expires=START + DAY)


def sealed(number):
    return SIGNER.seal([packed(each) for each in range(number)])


def opened(wire):
    return open_answer(wire, DIRECTOR)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 13, MOST, MOST + 1, 2 * MOST + 3])
def test_each_device_opens_its_own_answer(number):
    wires = sealed(number)
    assert [opened(wire).device for wire in wires] == [f"phone-{each}" for each in range(number)]
    assert [payload_of(wire) for wire in wires] == [packed(each) for each in range(number)]
    signatures = {wire[9:HEAD] for wire in wires}
    assert len(signatures) == -(-number // MOST)


def test_one_answer_is_as_it_always_was():
    assert SIGNER.seal([packed(0)]) == [
        SIGNER.sign("phone-0", [TASK], counter=1, issued=START, expires=START + DAY)
    ]
    assert sealed(1)[0][0] == 1
    assert sealed(2)[0][0] == 2


def test_an_answer_for_one_task_stays_below_500_bytes():
    assert max(map(len, sealed(MOST))) <= 500


def test_the_largest_answer_fits_with_the_longest_way():
    tasks = [AnswerTask(f"t{number:02}", 1, bytes(32), 10, "x" * 206) for number in range(MAX_TASKS)]
    wires = SIGNER.seal([packed(number, tasks) for number in range(MOST)])
    assert len(opened(wires[0]).tasks) == MAX_TASKS
    assert MAX_ANSWER - 200 < len(wires[0]) <= MAX_ANSWER
    with pytest.raises(TrustError, match="bytes of"):
        packed(0, [AnswerTask(f"t{number:02}", 1, bytes(32), 10, "x" * 212) for number in range(MAX_TASKS)])


def test_a_flipped_bit_anywhere():
    for wire in (sealed(3)[2], sealed(MOST)[5]):
        for at in range(len(wire) * 8):
            flipped = bytearray(wire)
            flipped[at // 8] ^= 1 << at % 8
            with pytest.raises(TrustError):
                opened(bytes(flipped))


def test_a_piece_that_is_missing_or_too_much():
    wire = sealed(MOST)[3]
    for end in range(len(wire)):
        with pytest.raises(TrustError):
            opened(wire[:end])
    for at in (HEAD, HEAD + 2, HEAD + 2 + SALT, len(wire)):
        with pytest.raises(TrustError):
            opened(wire[:at] + b"\0" + wire[at:])


def test_the_way_of_another_answer():
    one, other = sealed(MOST)[:2]
    length = together.way_length(DEPTH)
    with pytest.raises(TrustError, match="does not fit"):
        opened(one[: HEAD + length] + payload_of(other))
    later = sealed(MOST)[0]
    with pytest.raises(TrustError, match="does not fit"):
        opened(one[:HEAD] + later[HEAD:])
    with pytest.raises(TrustError, match="does not fit"):
        opened(later[:9] + one[9:HEAD] + later[HEAD:])


def test_a_payload_that_was_not_among_them():
    wire = sealed(4)[1]
    with pytest.raises(TrustError, match="does not fit"):
        opened(wire[: HEAD + together.way_length(2)] + packed(99))


def test_a_shorter_or_a_longer_way():
    """A node is not taken for a leaf, nor the other way round, and the signature says how high its tree is."""
    wires = sealed(4)
    way = wires[0][HEAD:]
    upper = leaf(way[2 : 2 + SALT], packed(0)) + way[2 + SALT : 2 + SALT + HASH]
    for salt in (bytes(SALT), way[2 : 2 + SALT]):
        short = bytes([1, 0]) + salt + way[2 + SALT + HASH : 2 + SALT + 2 * HASH] + upper
        with pytest.raises(TrustError, match="does not fit"):
            opened(wires[0][:HEAD] + short)
    longer = bytes([3, 0]) + way[2 : 2 + SALT + 2 * HASH] + bytes(HASH) + packed(0)
    with pytest.raises(TrustError, match="does not fit"):
        opened(wires[0][:HEAD] + longer)
    assert node(upper) != leaf(bytes(SALT), upper)


@pytest.mark.parametrize(("depth", "place"), [(0, 0), (5, 0), (255, 0), (2, 4), (2, 255), (1, 2), (4, 16)])
def test_a_way_that_is_none(depth, place):
    wire = sealed(4)[0]
    with pytest.raises(TrustError, match="damaged"):
        opened(wire[:HEAD] + bytes([depth, place]) + wire[HEAD + 2 :] + bytes(9000))


@pytest.mark.parametrize("place", range(5, 8))
def test_an_empty_place(place):
    """Nothing that can be sent has the hash EMPTY, which stands where there is no answer."""
    wires = sealed(5)
    way = bytearray(wires[4][HEAD : HEAD + together.way_length(3)])
    way[1] = place
    for payload in (b"", together.EMPTY, packed(4)):
        with pytest.raises(TrustError):
            opened(wires[4][:HEAD] + bytes(way) + payload)


def test_a_signature_of_the_other_kind():
    """What was signed as a tree is no answer of version 1, and the other way round."""
    wire = sealed(2)[0]
    with pytest.raises(TrustError):
        opened(b"\1" + wire[1:])
    one = sealed(1)[0]
    with pytest.raises(TrustError):
        opened(b"\2" + one[1:])
    root, ways = together.planted([packed(0), packed(1)])
    signature = KEY.private.sign(_CONTEXT + KEY.public.id + root)
    with pytest.raises(TrustError, match="does not fit"):
        opened(b"\2" + KEY.public.id + signature + ways[0] + packed(0))
    with pytest.raises(TrustError):
        opened(b"\1" + KEY.public.id + signature + root)


def test_a_stranger_plants_a_tree():
    other = AnswerSigner(new_key())
    wire = other.seal([packed(0), packed(1)])[0]
    with pytest.raises(TrustError, match="does not name as director"):
        opened(wire)
    with pytest.raises(TrustError, match="does not fit"):
        opened(wire[:1] + KEY.public.id + wire[9:])


def test_who_guesses_what_another_device_was_told_cannot_confirm_it():
    """The hash beside an answer is salted: the same answers have other ways each time."""
    first, second = sealed(2), sealed(2)
    beside = slice(HEAD + 2 + SALT, HEAD + 2 + SALT + HASH)
    assert first[0][beside] != second[0][beside]
    assert leaf(bytes(SALT), packed(1)) not in (first[0][beside], second[0][beside])


def test_a_malformed_answer_in_a_signed_tree():
    """What a thief of the key can sign is still held against what an answer is."""
    root, ways = together.planted([b"\xc1", b"", packed(0) + b"\0"])
    signature = KEY.private.sign(SIGNER._prefixes + root)
    for way, payload in zip(ways, [b"\xc1", b"", packed(0) + b"\0"], strict=True):
        with pytest.raises(TrustError):
            opened(b"\2" + KEY.public.id + signature + way + payload)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_as_a_way(data):
    with pytest.raises(TrustError):
        opened(sealed(2)[0][:HEAD] + data)
