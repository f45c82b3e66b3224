"""What a thief of some keys can do: each test is named for the keys, or for the attack."""

import pytest
from trust_world import forged_snapshot, forged_timestamp, load, serve
from tuf.api.metadata import TargetFile
from walle_deploy.errors import TrustError


def test_extraneous_targets_of_a_team(fleet, device):
    """The team signs targets outside of its pattern; top-level targets and other teams are not its."""
    newest = load(fleet, "1.shop-team.json")
    for path in (
        "search/1.manifest",
        "shop/../search/1.manifest",
        "pay/rank/1.manifest",
        "shop/rank/1.manifest",
    ):
        newest.signed.targets[path] = TargetFile.from_data(path, b"x", ["sha256"])
    newest.signed.version = 2
    forged_snapshot(fleet, 9, **{"shop-team": serve(fleet, "2.shop-team.json", newest, fleet.team_key)})
    assert device.images.image("search", 1) is None
    assert device.images.image("pay/rank", 1) is None
    assert device.images.image("shop/rank", 1) is not None


def test_key_compromise_of_the_director_alone(fleet, device):
    fleet.release("shop/rank", 1)
    evil = fleet.task("shop/rank", 2, b"evil")
    decision = device.decide(fleet.answer(evil, fleet.task("search", 1, b"evil")))
    assert not decision.approved
    assert set(decision.refused) == {"shop/rank", "search"}


def test_key_compromise_of_timestamp_and_snapshot(fleet, device):
    """The thief has both online keys of the image repository, and the director's: still nothing to install."""
    team = load(fleet, "1.shop-team.json")
    team.signed.targets["shop/rank/1.manifest"] = TargetFile.from_data(
        "shop/rank/1.manifest", b"evil", ["sha256"]
    )
    team.signed.version = 2
    meta = serve(fleet, "2.shop-team.json", team, fleet.snapshot_key, fleet.timestamp_key, fleet.director_key)
    forged_snapshot(fleet, 9, **{"shop-team": meta})
    decision = device.decide(fleet.answer(fleet.task("shop/rank", 1, b"evil")))
    assert not decision.approved
    assert "signed by 0/1 keys" in decision.refused["shop/rank"]


def test_key_compromise_of_the_timestamp_alone(fleet, device):
    snapshot = load(fleet, "1.snapshot.json")
    snapshot.signed.version = 9
    forged_timestamp(fleet, serve(fleet, "9.snapshot.json", snapshot, fleet.timestamp_key), 9)
    with pytest.raises(TrustError, match="signed by 0/1 keys"):
        device.images.refresh()


def test_key_compromise_of_a_team_alone(fleet, device):
    """Without the director nothing is installed; the metadata alone gives no order."""
    task = fleet.release("shop/rank", 1, b"evil, by the team's key")
    with pytest.raises(TrustError, match="does not name as director"):
        device.decide(fleet.answer(task, key=fleet.team_key))
