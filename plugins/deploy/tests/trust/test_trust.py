"""What honest servers and devices do."""

import pytest
from trust_world import DAY, Device
from walle_deploy.errors import TrustError
from walle_deploy.trust import ROLLBACK, Installed


def test_a_version_that_both_name_is_approved(fleet, device):
    task = fleet.release("shop/rank", 1)
    decision = device.decide(fleet.answer(task))
    assert not decision.refused
    (approved,) = decision.approved
    assert (approved.task, approved.version, approved.manifest) == ("shop/rank", 1, task.manifest)


def test_an_answer_for_one_task_fits_into_464_bytes(fleet):
    task = fleet.task("recommendation/click-through-rate", 1234, b"x" * 70_000)
    wire = fleet.answer(task, device="d-7f0c1d7e-3f51-4b56-9a02-5f1a0e1f8b6f", counter=2**32, nonce=b"n" * 16)
    assert len(wire) <= 464


def test_tasks_outside_any_delegation_are_signed_by_targets(fleet, device):
    task = fleet.release("search", 3)
    assert fleet.repository.role_of("search/3.manifest") == "targets"
    assert device.decide(fleet.answer(task)).approved[0].version == 3


def test_the_manifest_comes_from_the_repository(fleet, device):
    fleet.release("shop/rank", 1, b"the manifest")
    assert device.images.manifest(device.images.image("shop/rank", 1)) == b"the manifest"


def test_one_refused_task_does_not_keep_the_others_back(fleet, device):
    good = fleet.release("shop/rank", 1)
    decision = device.decide(fleet.answer(good, fleet.task("shop/other", 1, b"never signed")))
    assert [each.task for each in decision.approved] == ["shop/rank"]
    assert "does not list it" in decision.refused["shop/other"]


def test_a_rollback_that_says_so_is_approved(fleet, device):
    old, new = fleet.release("shop/rank", 1), fleet.release("shop/rank", 2)
    device.installed["shop/rank"] = Installed(2, new.manifest)
    plain = fleet.task("shop/rank", 1, b"manifest of shop/rank 1")
    assert "does not say rollback" in device.decide(fleet.answer(plain)).refused["shop/rank"]
    asked = fleet.task("shop/rank", 1, b"manifest of shop/rank 1", ROLLBACK)
    assert device.decide(fleet.answer(asked)).approved[0].manifest == old.manifest


def test_a_rollback_to_a_version_that_is_not_listed_any_more_is_refused(fleet, device):
    fleet.release("shop/rank", 1)
    new = fleet.release("shop/rank", 2)
    fleet.repository.remove("shop/rank", 1)
    fleet.publish()
    device.installed["shop/rank"] = Installed(2, new.manifest)
    asked = fleet.task("shop/rank", 1, b"manifest of shop/rank 1", ROLLBACK)
    assert "does not list it" in device.decide(fleet.answer(asked)).refused["shop/rank"]


@pytest.mark.parametrize("role", ["shop-team", "targets"])
def test_a_revoked_version_is_refused_whoever_revokes_it(fleet, device, role):
    task = fleet.release("shop/rank", 1)
    fleet.repository.revoke("shop/rank", 1, "crashes", role)
    fleet.publish()
    assert "revoked: crashes" in device.decide(fleet.answer(task)).refused["shop/rank"]


def test_a_version_never_changes_its_content(fleet, device):
    fleet.release("shop/rank", 1)
    with pytest.raises(TrustError, match="never changes"):
        fleet.repository.add("shop/rank", 1, b"other")
    device.installed["shop/rank"] = Installed(1, bytes(32))
    decision = device.decide(fleet.answer(fleet.task("shop/rank", 1, b"manifest of shop/rank 1")))
    assert "other content" in decision.refused["shop/rank"]


def test_a_device_that_stopped_before_it_acted_goes_on_with_its_answer(fleet, device):
    task = fleet.release("shop/rank", 1)
    device.decide(fleet.answer(task))
    device.start()
    assert device.gate.resume({}).approved[0].version == 1
    fleet.time += 2 * DAY
    fleet.repository.refresh_timestamp(fleet.timestamp_key)
    assert device.gate.resume({}) is None


def test_a_refreshed_timestamp_keeps_the_metadata_alive(fleet, device):
    fleet.release("shop/rank", 1)
    for _ in range(5):
        fleet.time += DAY - 60
        fleet.repository.refresh_timestamp(fleet.timestamp_key)
        device.images.refresh()
    assert device.images.image("shop/rank", 1) is not None


def test_signatures_of_several_people_come_one_after_the_other(fleet):
    fleet.repository.renew("root")
    assert fleet.repository.staged() == {"root": "0 of 2"}
    fleet.repository.sign("root", fleet.root_keys[2])
    assert fleet.repository.staged() == {"root": "1 of 2"}
    with pytest.raises(TrustError, match="signed by 1 of the 2 keys"):
        fleet.repository.publish(fleet.snapshot_key, fleet.timestamp_key)
    fleet.repository.sign("root", fleet.root_keys[0])
    fleet.repository.publish(fleet.snapshot_key, fleet.timestamp_key)
    assert fleet.repository.staged() == {}


def test_one_process_at_a_time_has_the_state(fleet, device):
    with pytest.raises(TrustError, match="in use"):
        Device(fleet)
