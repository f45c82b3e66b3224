"""Attacks on the image metadata: each test is named for what the attacker does, most with stolen online keys."""

import itertools
import threading
import time

import pytest
from trust_world import DAY, Device
from tuf.api.metadata import Metadata, MetaFile, TargetFile
from tuf.api.serialization.json import JSONSerializer
from walle_deploy.errors import TrustError
from walle_deploy.trust import Director, ImageClient, ImageRepository, Limits, RoleKeys, TrustState, new_key


def load(fleet, path):
    return Metadata.from_bytes((fleet.folder / "images" / "metadata" / path).read_bytes())


def serve(fleet, path, metadata, *keys):
    """Sign with stolen keys, and let the mirror serve it."""
    metadata.signatures.clear()
    for key in keys:
        metadata.sign(key.tuf, append=True)
    data = metadata.to_bytes(JSONSerializer(compact=True))
    fleet.mirror.replaced[f"metadata/{path}"] = data
    return MetaFile.from_data(metadata.signed.version, data, ["sha256"])


def forged_timestamp(fleet, snapshot, version, key=None):
    timestamp = load(fleet, "timestamp.json")
    timestamp.signed.version = version
    timestamp.signed.snapshot_meta = snapshot
    serve(fleet, "timestamp.json", timestamp, key or fleet.timestamp_key)


def forged_snapshot(fleet, version, keys=None, **files):
    """A snapshot and a timestamp by the thief of both online keys."""
    newest = max(
        int(path.name.split(".")[0]) for path in (fleet.folder / "images/metadata").glob("*.snapshot.json")
    )
    snapshot = load(fleet, f"{newest}.snapshot.json")
    snapshot.signed.version = version
    snapshot.signed.meta.update({f"{role}.json": meta for role, meta in files.items()})
    forged_timestamp(fleet, serve(fleet, f"{version}.snapshot.json", snapshot, fleet.snapshot_key), version)


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


@pytest.mark.parametrize("path", ["timestamp.json", "2.root.json", "1.snapshot.json", "1.targets.json"])
def test_endless_data_as_metadata(fleet, device, path):
    sent = itertools.count(1)
    fleet.mirror.replaced[f"metadata/{path}"] = lambda: (b" " * 65_536 for _ in sent)
    with pytest.raises(TrustError, match="a file is not what the signed metadata says"):
        device.images.refresh()
    assert next(sent) < 20


def test_endless_data_as_a_target(fleet, device):
    fleet.release("shop/rank", 1, b"manifest")
    image = device.images.image("shop/rank", 1)
    path = f"targets/{image.target.get_prefixed_paths()[0]}"
    fleet.mirror.replaced[path] = lambda: (b"x" * 65_536 for _ in itertools.count())
    with pytest.raises(TrustError, match="is refused"):
        device.images.manifest(image)
    fleet.mirror.replaced[path] = b"manifesT"
    with pytest.raises(TrustError, match="is refused"):
        device.images.manifest(image)


def test_slow_retrieval(fleet):
    device = Device(fleet, limits=Limits(seconds=0.3))

    def drip():
        while True:
            time.sleep(0.02)
            yield b" "

    fleet.mirror.replaced["metadata/timestamp.json"] = drip
    begun = time.monotonic()
    with pytest.raises(TrustError, match="too slow"):
        device.images.refresh()
    assert time.monotonic() - begun < 2
    device.state.close()


def test_slow_retrieval_a_server_that_says_nothing(fleet):
    device, release = Device(fleet, limits=Limits(seconds=0.2)), threading.Event()

    def silent():
        release.wait(20)
        return iter(())

    fleet.mirror.replaced["metadata/2.root.json"] = silent
    with pytest.raises(TrustError, match="too slow"):
        device.images.refresh()
    release.set()
    device.state.close()


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
