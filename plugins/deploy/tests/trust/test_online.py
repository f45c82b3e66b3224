"""Signatures that were made elsewhere, and what a server with the online keys keeps alive."""

import pytest
from trust_world import DAY
from walle_deploy.errors import TrustError
from walle_deploy.trust import new_key
from walle_deploy.trust.online import expires, listed, refresh


def test_a_signature_made_elsewhere_counts(fleet, device):
    repository, key = fleet.repository, fleet.team_key
    repository.add("shop/rank", 1, b"content")
    made = key.private.sign(repository.to_sign("shop-team"))
    repository.attach("shop-team", key.public.tuf.keyid, made)
    assert repository.staged() == {"shop-team": "1 of 1"}
    repository.publish(fleet.snapshot_key, fleet.timestamp_key)
    assert device.decide(fleet.answer(fleet.task("shop/rank", 1, b"content"))).approved


def test_a_foreign_signature_that_does_not_hold_is_not_kept(fleet):
    repository, key = fleet.repository, fleet.team_key
    with pytest.raises(TrustError, match="nothing is staged"):
        repository.to_sign("shop-team")
    repository.add("shop/rank", 1, b"content")
    old = key.private.sign(repository.to_sign("shop-team"))
    repository.add("shop/rank", 2, b"more")
    for role, keyid, made, words in [
        ("shop-team", key.public.tuf.keyid, old, "does not fit what is staged"),
        ("shop-team", key.public.tuf.keyid, b"", "does not fit"),
        ("shop-team", new_key().public.tuf.keyid, old, "is not one of its keys"),
        ("shop-team", "../../root", old, "is not one of its keys"),
        ("targets", key.public.tuf.keyid, old, "nothing is staged"),
        ("../images", key.public.tuf.keyid, old, "no such role"),
    ]:
        with pytest.raises(TrustError, match=words):
            repository.attach(role, keyid, made)
    assert repository.staged() == {"shop-team": "0 of 1"}


def test_a_new_root_takes_signatures_of_old_and_new_keys_from_elsewhere(fleet):
    repository, new = fleet.repository, new_key()
    repository.replace_key("root", fleet.root_keys[2].public, new.public)
    data = repository.to_sign("root")
    for key in (fleet.root_keys[0], fleet.root_keys[1], new):
        repository.attach("root", key.public.tuf.keyid, key.private.sign(data))
    repository.publish(fleet.snapshot_key, fleet.timestamp_key)
    assert repository.root() != fleet.bootstrap


def test_online_metadata_never_expires_while_a_server_runs(fleet, device):
    online = fleet.snapshot_key, fleet.timestamp_key
    fleet.release("shop/rank", 1)
    assert refresh(fleet.repository, *online) == ()
    seen = set()
    for _ in range(60):
        fleet.time += DAY // 3
        seen |= set(refresh(fleet.repository, *online))
        device.images.refresh()
    assert seen == {"snapshot", "timestamp"}
    assert device.images.image("shop/rank", 1) is not None


def test_what_is_staged_stays_staged_while_online_metadata_is_signed_again(fleet):
    fleet.release("shop/rank", 1)
    fleet.repository.add("shop/rank", 2, b"not signed yet")
    fleet.time += 6 * DAY
    assert refresh(fleet.repository, fleet.snapshot_key, fleet.timestamp_key) == ("snapshot", "timestamp")
    assert fleet.repository.staged() == {"shop-team": "0 of 1"}
    assert listed(fleet.repository, "shop/rank", 2) is None


def test_it_is_known_when_each_role_expires(fleet):
    fleet.release("shop/rank", 1)
    found = expires(fleet.repository)
    assert set(found) == {"root", "targets", "snapshot", "timestamp", "shop-team"}
    assert found["timestamp"] - fleet.time == pytest.approx(DAY, abs=2)


def test_what_devices_find_for_a_version(fleet):
    task = fleet.release("shop/rank", 1)
    assert listed(fleet.repository, "shop/rank", 1).manifest == task.manifest
    assert listed(fleet.repository, "shop/rank", 2) is None
    fleet.repository.revoke("shop/rank", 1, "crashes", "targets")
    assert listed(fleet.repository, "shop/rank", 1).revoked == ""
    fleet.publish()
    assert listed(fleet.repository, "shop/rank", 1).revoked == "crashes"
