"""Attacks on the root, on who may sign, and on names in metadata."""

import pytest
from trust_world import forged_snapshot, load, serve
from tuf.api.metadata import Metadata
from walle_deploy.errors import TrustError
from walle_deploy.trust import Director, ImageClient, ImageRepository, RoleKeys, TrustState, new_key


def root_two(fleet, *signers, change=lambda root: None):
    root = Metadata.from_bytes(fleet.repository.root(1))
    root.signed.version = 2
    change(root.signed)
    serve(fleet, "2.root.json", root, *signers)
    return root


def test_threshold_of_root_keys(fleet, device):
    thief = new_key()

    def take_over(root):
        root.add_key(thief.public.tuf, "targets")

    root_two(fleet, fleet.root_keys[0], thief, change=take_over)
    with pytest.raises(TrustError, match="signed by 1/2 keys"):
        device.images.refresh()


def test_duplicate_signatures_of_one_key_count_once(fleet, device):
    import json

    root_two(fleet, fleet.root_keys[0])
    content = json.loads(fleet.mirror.replaced["metadata/2.root.json"])
    (signature,) = content["signatures"]
    other = {**signature, "keyid": fleet.root_keys[1].public.tuf.keyid}
    for signatures in ([signature, signature], [signature, other], [signature, {**signature, "keyid": "x"}]):
        fleet.mirror.replaced["metadata/2.root.json"] = json.dumps(
            {**content, "signatures": signatures}
        ).encode()
        with pytest.raises(TrustError, match=r"cannot be trusted"):
            device.images.refresh()


def test_duplicate_keys_count_once(fleet, device):
    with pytest.raises(TrustError, match="twice"):
        RoleKeys([fleet.root_keys[0].public, fleet.root_keys[0].public], 2)

    def twice(root):
        from securesystemslib.signer import SSlibKey

        key = fleet.timestamp_key.public.tuf
        root.add_key(SSlibKey("other", key.keytype, key.scheme, dict(key.keyval)), "timestamp")

    root_two(fleet, *fleet.root_keys[:2], change=twice)
    with pytest.raises(TrustError, match="one key of the role timestamp twice"):
        device.images.refresh()


def test_root_rotation_chain(fleet, device):
    first = list(fleet.root_keys)
    for _ in range(3):
        for at in range(3):
            old, new = fleet.root_keys[at], new_key()
            fleet.repository.replace_key("root", old.public, new.public)
            signers = [key for key in fleet.root_keys if key is not old][:2]
            fleet.repository.sign("root", *signers, new)
            fleet.root_keys[at] = new
            fleet.repository.publish(fleet.snapshot_key, fleet.timestamp_key)
    task = fleet.release("shop/rank", 1)
    assert device.decide(fleet.answer(task)).approved
    assert fleet.repository.root() == fleet.repository.root(10)
    root = Metadata.from_bytes(fleet.repository.root())
    root.signed.version += 1
    serve(fleet, "11.root.json", root, *first)
    with pytest.raises(TrustError, match="signed by 0/2 keys"):
        device.images.refresh()


def test_a_gap_in_the_chain_of_roots(fleet, device):
    root = Metadata.from_bytes(fleet.repository.root(1))
    root.signed.version = 3
    serve(fleet, "2.root.json", root, *fleet.root_keys)
    with pytest.raises(TrustError, match="Expected root version 2"):
        device.images.refresh()


def test_rollback_to_an_old_root_after_the_cache_was_lost(fleet, device):
    import shutil

    fleet.repository.renew("root")
    fleet.publish()
    device.images.refresh()
    shutil.rmtree(device.folder / "tuf")
    device.start()
    fleet.mirror.replaced["metadata/2.root.json"] = None
    with pytest.raises(TrustError, match="root: 1 after 2"):
        device.images.refresh()


def test_an_embedded_root_that_is_not_one(fleet):
    state = TrustState(fleet.folder / "state")
    with pytest.raises(TrustError, match="embedded root"):
        ImageClient(fleet.folder / "tuf", fleet.mirror, b"{}", state)
    state.close()


@pytest.mark.parametrize("role", ["../evil", "root", "ROLE", "a/b", ""])
def test_path_traversal_in_the_name_of_a_role(fleet, role):
    with pytest.raises(TrustError, match="a role is named"):
        fleet.repository.delegate(role, ["x/*"], RoleKeys([new_key().public]))


@pytest.mark.parametrize("pattern", ["../*", "/etc/*", "sh\u043ep/*", ""])
def test_path_traversal_in_a_pattern(fleet, pattern):
    with pytest.raises(TrustError, match="no pattern"):
        fleet.repository.delegate("team", [pattern], RoleKeys([new_key().public]))


def test_path_traversal_in_a_delegated_role_stays_in_the_folder(fleet, device):
    """A signer of targets who names a role ``../../evil`` writes no file outside of the device's folder."""
    from tuf.api.metadata import DelegatedRole

    newest = load(fleet, "1.targets.json")
    newest.signed.version = 2
    key = fleet.team_key.public.tuf
    name = "../../evil"
    newest.signed.delegations.roles = {name: DelegatedRole(name, [key.keyid], 1, False, ["shop/*/*"])}
    team = load(fleet, "1.shop-team.json")
    meta = serve(fleet, "1...%2F..%2Fevil.json", team, fleet.team_key)
    forged_snapshot(
        fleet, 9, **{"targets": serve(fleet, "2.targets.json", newest, fleet.targets_key), name: meta}
    )
    before = set(fleet.folder.rglob("*"))
    assert device.images.image("shop/rank", 1) is None
    made = set(fleet.folder.rglob("*")) - before
    assert all(
        path.is_relative_to(device.folder / "tuf")
        for path in made
        if path.is_file() and "phone-1/state" not in str(path)
    )


def test_a_transport_never_leaves_its_folder(fleet):
    (fleet.folder / "secret").write_bytes(b"secret")
    with pytest.raises(PermissionError):
        next(fleet.mirror.inner.open("../secret", 1))


def test_a_second_repository_in_the_same_place(fleet):
    with pytest.raises(TrustError, match="already"):
        ImageRepository.create(fleet.folder / "images", {}, Director(()))
    with pytest.raises(TrustError, match="no image repository"):
        ImageRepository(fleet.folder / "nothing")
