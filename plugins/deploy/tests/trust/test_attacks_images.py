"""Attacks on the image metadata on the way: each test is named for what the attacker does."""

import pytest
from trust_world import DAY, forged_snapshot, forged_timestamp, load, serve
from walle_deploy.errors import TrustError
from walle_deploy.trust import RoleKeys, new_key


def test_rollback_of_the_timestamp(fleet, device):
    old = fleet.saved()["metadata/timestamp.json"]
    fleet.release("shop/rank", 1)
    device.images.refresh()
    fleet.mirror.replaced["metadata/timestamp.json"] = old
    with pytest.raises(TrustError, match="refused"):
        device.images.refresh()


def test_rollback_of_the_timestamp_after_the_cache_was_lost(fleet, device):
    import shutil

    old = fleet.saved()["metadata/timestamp.json"]
    fleet.release("shop/rank", 1)
    device.images.refresh()
    shutil.rmtree(device.folder / "tuf")
    device.start()
    fleet.mirror.replaced["metadata/timestamp.json"] = old
    with pytest.raises(TrustError, match="older"):
        device.images.refresh()


def test_rollback_of_the_snapshot(fleet, device):
    old = load(fleet, "timestamp.json").signed.snapshot_meta
    fleet.release("shop/rank", 1)
    device.images.refresh()
    forged_timestamp(fleet, old, 99)
    with pytest.raises(TrustError, match="New snapshot version"):
        device.images.refresh()


def test_rollback_of_targets(fleet, device):
    fleet.release("search", 1)
    old = load(
        fleet, f"{load(fleet, 'timestamp.json').signed.snapshot_meta.version}.snapshot.json"
    ).signed.meta
    fleet.release("search", 2)
    device.images.refresh()
    forged_snapshot(fleet, 99, targets=old["targets.json"])
    with pytest.raises(TrustError, match=r"targets\.json version"):
        device.images.refresh()


def test_indefinite_freeze(fleet, device):
    task = fleet.release("shop/rank", 1)
    device.images.refresh()
    fleet.mirror.replaced.update({path: data for path, data in fleet.saved().items() if "timestamp" in path})
    fleet.time += 2 * DAY
    fleet.repository.refresh_timestamp(fleet.timestamp_key)
    with pytest.raises(TrustError, match=r"timestamp\.json is expired"):
        device.decide(fleet.answer(task))


def test_indefinite_freeze_with_the_clock_set_back(fleet, device):
    frozen = fleet.saved()
    fleet.time += 2 * DAY
    fleet.repository.refresh_timestamp(fleet.timestamp_key)
    task = fleet.task("shop/rank", 1, b"x")
    device.answers.accept(fleet.answer(task), device.images.director)
    fleet.mirror.replaced["metadata/timestamp.json"] = frozen["metadata/timestamp.json"]
    device.off_by = -30 * DAY
    with pytest.raises(TrustError, match="is expired; it is at least"):
        device.images.refresh()


def test_metadata_that_expires_while_it_is_in_memory(fleet, device):
    fleet.release("shop/rank", 1)
    device.images.refresh()
    fleet.time += 100 * DAY
    with pytest.raises(TrustError, match="expired"):
        device.images.image("shop/rank", 1)


def test_fast_forward_is_undone_by_key_rotation(fleet, device):
    forged_snapshot(fleet, 2**31 - 2)
    device.images.refresh()
    fleet.mirror.replaced.clear()
    task = fleet.release("shop/rank", 1)
    with pytest.raises(TrustError, match="refused"):
        device.decide(fleet.answer(task))
    fleet.snapshot_key, fleet.timestamp_key = new_key(), new_key()
    fleet.repository.set_roles(
        {
            "snapshot": RoleKeys([fleet.snapshot_key.public]),
            "timestamp": RoleKeys([fleet.timestamp_key.public]),
        }
    )
    fleet.publish()
    assert device.decide(fleet.answer(task)).approved


def test_fast_forward_of_time_is_undone_by_key_rotation(fleet, device):
    timestamp = load(fleet, "timestamp.json")
    timestamp.signed.version += 1
    timestamp.signed.expires = timestamp.signed.expires.replace(year=2090)
    timestamp.signed.unrecognized_fields["x-walle-issued"] = int(timestamp.signed.expires.timestamp()) - 5
    serve(fleet, "timestamp.json", timestamp, fleet.timestamp_key)
    device.images.refresh()
    fleet.mirror.replaced.clear()
    with pytest.raises(TrustError, match="expired"):
        device.images.refresh()
    old, fleet.timestamp_key = fleet.timestamp_key, new_key()
    fleet.repository.replace_key("timestamp", old.public, fleet.timestamp_key.public)
    task = fleet.release("shop/rank", 1)
    assert device.decide(fleet.answer(task)).approved


def test_mix_and_match_of_published_files(fleet, device):
    fleet.release("search", 1)
    old = fleet.saved()
    fleet.release("search", 2)
    targets = sorted(path for path in fleet.saved() if path.endswith(".targets.json"))
    fleet.mirror.replaced[targets[-1]] = old[targets[-2]]
    with pytest.raises(TrustError, match="not what the signed metadata says"):
        device.images.refresh()


def test_mix_and_match_of_answer_and_images(fleet, device):
    fleet.release("shop/rank", 1, b"one")
    two = fleet.release("shop/rank", 2, b"two")
    mixed = fleet.task("shop/rank", 1, b"two")
    decision = device.decide(fleet.answer(mixed))
    assert not decision.approved
    assert "the director names the manifest" in decision.refused["shop/rank"]
    assert device.decide(fleet.answer(two)).approved


def test_wrong_software_the_digest_of_another_task(fleet, device):
    fleet.release("shop/rank", 1, b"rank")
    fleet.release("shop/ads", 1, b"ads")
    decision = device.decide(fleet.answer(fleet.task("shop/rank", 1, b"ads")))
    assert not decision.approved


def test_another_size(fleet, device):
    import msgspec

    task = msgspec.structs.replace(fleet.release("shop/rank", 1), size=7)
    assert "7 bytes" in device.decide(fleet.answer(task)).refused["shop/rank"]
