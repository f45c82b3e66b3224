"""Attacks on the director's answer: each test is named for what the attacker does."""

import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trust_world import DAY, START, Device
from walle_deploy.errors import TrustError
from walle_deploy.trust import AnswerSigner, AnswerTask, AnswerVerifier, Director, SigningKey, new_key
from walle_deploy.trust.answer import MAX_ANSWER, Answer, open_answer


def test_replayed_answer(fleet, device):
    wire = fleet.answer(fleet.release("shop/rank", 1))
    device.decide(wire)
    with pytest.raises(TrustError, match="replayed"):
        device.decide(wire)


def test_replayed_answer_after_a_restart(fleet, device):
    wire = fleet.answer(fleet.release("shop/rank", 1))
    device.decide(wire)
    device.start()
    with pytest.raises(TrustError, match="replayed"):
        device.decide(wire)


def test_rollback_of_the_answer_counter(fleet, device):
    old = fleet.answer(fleet.release("shop/rank", 1))
    device.decide(fleet.answer(fleet.release("shop/rank", 2)))
    device.start()
    with pytest.raises(TrustError, match="answer 1 after answer 2"):
        device.decide(old)


def test_the_counter_is_on_disk_before_the_answer_is_returned(fleet, device, monkeypatch):
    wire = fleet.answer(fleet.release("shop/rank", 1))

    def full_disk(*_):
        raise TrustError("no space")

    monkeypatch.setattr("walle_deploy.trust.state.write_durably", full_disk)
    device.images.refresh = lambda: None
    with pytest.raises(TrustError, match="no space"):
        device.decide(wire)
    assert device.state.answer == b""


def test_wrong_software_the_answer_of_another_device(fleet, device):
    wire = fleet.answer(fleet.release("shop/rank", 1), device="phone-2")
    with pytest.raises(TrustError, match="for 'phone-2'"):
        device.decide(wire)


def test_an_answer_to_another_request(fleet, device):
    wire = fleet.answer(fleet.release("shop/rank", 1), nonce=b"a" * 16)
    with pytest.raises(TrustError, match="another request"):
        device.decide(wire, nonce=b"b" * 16)
    assert device.decide(wire, nonce=b"a" * 16).approved


def test_freeze_an_expired_answer_is_held_back_and_given_later(fleet, device):
    wire = fleet.answer(fleet.release("shop/rank", 1))
    fleet.time += DAY
    fleet.repository.refresh_timestamp(fleet.timestamp_key)
    with pytest.raises(TrustError, match="expired at"):
        device.decide(wire)


def test_clock_set_back_does_not_revive_an_expired_answer(fleet, device):
    old = fleet.answer(fleet.release("shop/rank", 1))
    fleet.time += 3 * DAY
    fleet.repository.refresh_timestamp(fleet.timestamp_key)
    device.images.refresh()
    device.off_by = -3 * DAY
    device.start()
    with pytest.raises(TrustError, match="newest signed time seen, though the device's clock says"):
        device.decide(old)


def test_clock_set_back_an_answer_alone_gives_the_time(fleet, device):
    task = fleet.release("shop/rank", 1)
    held = fleet.answer(task, counter=7)
    fleet.time += 2 * DAY
    device.answers.accept(fleet.answer(task, counter=6), device.images.director)
    device.off_by = -10 * DAY
    with pytest.raises(TrustError, match="expired"):
        device.answers.check(held, device.images.director)


def test_clock_that_was_never_set_still_gets_new_versions(fleet, device):
    device.off_by = -START + 60
    task = fleet.release("shop/rank", 1)
    assert device.decide(fleet.answer(task)).approved


def test_clock_far_ahead_is_named(fleet, device):
    task = fleet.release("shop/rank", 1)
    device.decide(fleet.answer(task))
    device.off_by = 400 * DAY
    with pytest.raises(TrustError, match=r"400 days ahead of the newest signed time .* set the clock"):
        device.decide(fleet.answer(task))
    device.off_by = 0
    assert device.decide(fleet.answer(task)).approved


@pytest.mark.parametrize("off_by", [float("inf"), float("nan"), 1e30])
def test_clock_that_is_no_time(fleet, device, off_by):
    task = fleet.release("shop/rank", 1)
    device.clock = lambda: off_by
    wire = fleet.answer(task)
    with pytest.raises(TrustError, match="expired"):
        AnswerVerifier("phone-1", device.state, device.clock).check(wire, device.images.director)
    device.images._clock = device.clock
    with pytest.raises(TrustError, match="set it"):
        device.decide(wire)


def test_fast_forward_of_counter_and_time_is_undone_by_a_new_epoch(fleet, device):
    task = fleet.release("shop/rank", 1)
    thief = fleet.answer(task, counter=2**53 - 1, issued=START + 5000 * DAY)
    device.decide(thief)
    with pytest.raises(TrustError):
        device.decide(fleet.answer(task, counter=2))
    stolen, fleet.director_key, fleet.epoch = fleet.director_key, new_key(), 1
    fleet.repository.set_director(Director((fleet.director_key.public,), 1))
    fleet.publish()
    assert device.decide(fleet.answer(task, counter=1)).approved
    with pytest.raises(TrustError, match="does not name"):
        device.decide(fleet.answer(task, counter=9, key=stolen))
    with pytest.raises(TrustError, match="epoch 0"):
        device.decide(fleet.answer(task, counter=9, epoch=0))


def test_old_director_key_after_a_restart_without_network(fleet, device):
    task = fleet.release("shop/rank", 1)
    stolen, fleet.director_key = fleet.director_key, new_key()
    fleet.repository.set_director(Director((fleet.director_key.public,), 1))
    fleet.publish()
    device.images.refresh()
    device.start()
    with pytest.raises(TrustError, match="epoch"):
        device.answers.check(fleet.answer(task, key=stolen, epoch=0), device.images.director)


def test_a_stranger_signs(fleet, device):
    wire = fleet.answer(fleet.release("shop/rank", 1), key=new_key())
    with pytest.raises(TrustError, match="does not name as director"):
        device.decide(wire)


def test_a_key_of_another_role_signs(fleet, device):
    wire = fleet.answer(fleet.release("shop/rank", 1), key=fleet.timestamp_key)
    with pytest.raises(TrustError, match="does not name as director"):
        device.decide(wire)


def test_an_answer_that_never_expires(fleet, device):
    wire = fleet.answer(fleet.release("shop/rank", 1), life=10_000 * DAY)
    with pytest.raises(TrustError, match="at most"):
        device.decide(wire)


def test_endless_data_in_an_answer(device):
    with pytest.raises(TrustError, match=f"to {MAX_ANSWER} bytes"):
        device.decide(bytes(MAX_ANSWER + 1))


def test_too_many_tasks(fleet):
    with pytest.raises(TrustError):
        fleet.answer(*(fleet.task(f"t{number}", 1, b"x") for number in range(65)))


@pytest.mark.parametrize(
    "name",
    ["../etc/passwd", "shop/../rank", "/shop/rank", "shop//rank", "shop/", "shop/ra\u0301nk", "shop/rank\n", "sh\u043ep/rank",
     "SHOP/rank", "shop\\rank", ".hidden", "", "a\0b", "shop/%2e%2e/x", "a" * 200],
)  # fmt: skip
def test_unicode_and_path_traversal_in_the_name_of_a_task(fleet, device, name):
    with pytest.raises(TrustError):
        fleet.answer(fleet.task(name, 1, b"x"))
    with pytest.raises(TrustError):
        fleet.repository.add(name, 1, b"x")
    with pytest.raises(TrustError):
        device.images.image(name, 1)


def forged(fleet, payload):
    """An answer of any content, with a good signature: what a thief of the director's key can make."""
    from walle_deploy.trust import answer as module

    key = fleet.director_key
    signature = key.private.sign(module._CONTEXT + key.public.id + payload)
    return b"\1" + key.public.id + signature + payload


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
        b"\xc1",
        b"",
        b"\x90",
        b"\x97" + b"\xdb\xff\xff\xff\xff" * 7,
        b"\x80",
    ],
)
def test_malformed_answers_with_a_good_signature(fleet, device, payload):
    with pytest.raises(TrustError):
        device.decide(forged(fleet, payload))


def test_an_answer_that_is_not_canonical(fleet, device):
    payload = fleet.answer(fleet.release("shop/rank", 1))[73:]
    assert payload[-1] == 0
    longer = forged(fleet, payload[:-1] + b"\xcc\x00")
    with pytest.raises(TrustError, match="canonical"):
        device.decide(longer)
    with pytest.raises(TrustError):
        device.decide(forged(fleet, payload + b"\xc0"))


def test_one_task_twice(fleet, device):
    task = fleet.release("shop/rank", 1)
    answer = Answer("phone-1", 0, 1, fleet.time, fleet.time + 60, b"", (task, task))
    with pytest.raises(TrustError, match="twice"):
        device.decide(forged(fleet, msgspec.msgpack.encode(answer)))


class Forger:
    """Has the director's key."""

    director_key = new_key()


KEY = Forger.director_key
WIRE = AnswerSigner(KEY).sign(
    "phone-1",
    [AnswerTask("shop/rank", 1, bytes(32), 10, "https://cdn.example")],
    counter=1,
    issued=START,
    expires=START + DAY,
)


def test_a_flipped_bit_anywhere_in_an_answer():
    for at in range(len(WIRE) * 8):
        flipped = bytearray(WIRE)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(TrustError):
            open_answer(bytes(flipped), Director((KEY.public,)))


ODD = st.sampled_from(
    [
        0,
        1,
        True,
        1.0,
        2**53 - 1,
        2**53,
        -1,
        None,
        "7",
        b"x",
        b"x" * 33,
        "phone-1",
        "a b",
        "",
        "x" * 129,
        "é",
        [1],
    ]
)
HEAD = st.fixed_dictionaries({"device": ODD, "counter": ODD, "issued": ODD, "expires": ODD, "nonce": ODD})
GOOD = {"device": "phone-1", "counter": 1, "issued": START, "expires": START + DAY, "nonce": b""}
ONE, OTHER = (AnswerTask("shop/rank", 1, bytes(32), 10, "x"), AnswerTask("b", True, bytes(32), 10, "x"))  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    HEAD,
    st.dictionaries(st.sampled_from([*GOOD]), st.none()),
    st.sampled_from([[], [ONE], [ONE, ONE], [OTHER], [ONE, OTHER]]),
)
def test_nothing_is_signed_that_no_device_takes(odd, changed, tasks):
    """Also when these tasks, or this device, were in an answer before."""
    fields = GOOD | {name: odd[name] for name in changed}
    signer, director = AnswerSigner(KEY), Director((KEY.public,))
    signer.sign("phone-1", [ONE], counter=1, issued=1, expires=2)
    device = fields.pop("device")
    for _ in range(2):
        try:
            wire = signer.sign(device, tasks, **fields)
        except TrustError:
            with pytest.raises(TrustError):
                open_answer(
                    forged(Forger, msgspec.msgpack.encode([device, 0, *fields.values(), tasks])), director
                )
        else:
            assert open_answer(wire, director).tasks == tuple(tasks)


def test_both_ways_to_sign_give_the_same_signature(monkeypatch):
    pytest.importorskip("nacl")
    plain = SigningKey(KEY.private)
    for data in (b"", b"x", bytes(1000)):
        assert KEY.fastest(data) == KEY.private.sign(data)
    monkeypatch.setitem(sys.modules, "nacl.bindings", None)
    assert plain.fastest(b"x") == KEY.private.sign(b"x")


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_as_an_answer(data):
    with pytest.raises(TrustError):
        open_answer(data, Director((KEY.public,)))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_payload_with_a_good_signature(payload):
    try:
        opened = open_answer(forged(Forger, payload), Director((KEY.public,)))
    except TrustError:
        return
    assert msgspec.msgpack.encode(opened) == payload


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:40] + b"\0" + data[41:]]
)
def test_damaged_state_is_not_a_new_start(fleet, device, damage):
    device.decide(fleet.answer(fleet.release("shop/rank", 1)))
    device.state.close()
    path = device.folder / "state"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrustError, match="damaged"):
        Device(fleet)
