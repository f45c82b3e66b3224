"""What a server may propose for signing, and what it may not."""

import hashlib
import json

import pytest
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization.json import JSONSerializer
from walle_deploy.errors import TrustError
from walle_deploy.publish.images import Listed, Revoked, checked, sign
from walle_deploy.trust.keys import new_key

NOW = 1_800_000_000
DAY = 86_400
MINE = {"ipv/2.manifest": Listed(b"manifest 2")}
KEY = new_key()


def listed(version, *targets, expires=NOW + 90 * DAY):
    from datetime import UTC, datetime

    made = Targets(version=version, expires=datetime.fromtimestamp(expires, UTC))
    for path, content in targets:
        made.targets[path] = TargetFile.from_data(path, content, ["sha256"])
    return made


def published(targets, key=KEY):
    made = Metadata(targets)
    made.sign(key.tuf)
    return made.to_bytes(JSONSerializer(compact=True))


BEFORE = published(listed(3, ("ipv/1.manifest", b"manifest 1")))
RIGHT = (("ipv/1.manifest", b"manifest 1"), ("ipv/2.manifest", b"manifest 2"))


def proposed(version=4, targets=RIGHT, **settings):
    return Metadata(listed(version, *targets, **settings)).signed_bytes


def check(data, before=BEFORE, keys=(KEY.public,), wanted=MINE):
    return checked(data, before, wanted, keys, NOW)


def test_what_is_right_is_signed():
    data = check(proposed())
    keyid, signature = sign(data, KEY)
    assert keyid == KEY.public.tuf.keyid and KEY.public.verifies(bytes.fromhex(signature), data)


def test_the_first_of_a_role():
    assert check(proposed(1, [RIGHT[1]]), b"")
    with pytest.raises(TrustError, match=r"ipv/1\.manifest too"):
        check(proposed(1), b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (proposed(5), "version 5 .* after 3"),
        (proposed(3), "version 3 .* after 3"),
        (proposed(targets=[RIGHT[1]]), "off the list"),
        (proposed(targets=[RIGHT[0], ("ipv/2.manifest", b"other")]), "something else"),
        (proposed(targets=[("ipv/1.manifest", b"other"), RIGHT[1]]), "1.manifest too"),
        (proposed(targets=[*RIGHT, ("ipv/9.manifest", b"9")]), "9.manifest too"),
        (proposed(targets=[RIGHT[0]]), "something else of ipv/2"),
        (proposed(expires=NOW + 4000 * DAY), "4000 days"),
        (proposed(expires=NOW - DAY), "-1 days"),
        (b"{}", "no image metadata"),
        (b"[1]", "no image metadata"),
        (b"\xff", "no image metadata"),
        (b"[" * 100_000, "no image metadata"),
        (proposed() + b" ", "canonical"),
    ],
)
def test_what_else_it_proposes_is_refused(data, words):
    with pytest.raises(TrustError, match=words):
        check(data)


def test_a_root_is_no_list_of_targets():
    values = json.loads(proposed())
    values["_type"] = "root"
    with pytest.raises(TrustError, match="no image metadata"):
        check(json.dumps(values).encode())


def test_more_than_targets():
    made = listed(4, *RIGHT)
    made.unrecognized_fields["x-walle-director"] = {"epoch": 9, "keys": []}
    with pytest.raises(TrustError, match="another x-walle-director"):
        check(Metadata(made).signed_bytes)
    made = listed(4, *RIGHT)
    made.targets["ipv/2.manifest"].unrecognized_fields["custom"] = {"revoked": "x"}
    with pytest.raises(TrustError, match="something else"):
        check(Metadata(made).signed_bytes)


def test_a_delegation_is_not_slipped_in():
    from tuf.api.metadata import DelegatedRole, Delegations
    from walle_deploy.trust.shelf import RoleKeys

    thief = new_key().public
    who = RoleKeys([thief])
    role = DelegatedRole("thief", [who.keys[0].tuf.keyid], 1, terminating=True, paths=["*"])
    for version, before in ((4, BEFORE), (1, b"")):
        made = listed(version, *(RIGHT if before else RIGHT[1:]))
        made.delegations = Delegations({thief.tuf.keyid: thief.tuf}, {"thief": role})
        with pytest.raises(TrustError, match="another delegations"):
            check(Metadata(made).signed_bytes, before)


def test_what_is_published_must_be_ours():
    stranger = new_key()
    before = published(listed(3, RIGHT[0]), stranger)
    with pytest.raises(TrustError, match="not signed by your key"):
        check(proposed(), before)
    assert check(proposed(), before, (KEY.public, stranger.public))
    altered = BEFORE.replace(hashlib.sha256(b"manifest 1").hexdigest().encode(), b"0" * 64)
    with pytest.raises(TrustError, match="not signed by your key"):
        check(proposed(), altered)
    with pytest.raises(TrustError, match="none"):
        check(proposed(), b"nothing")


def test_a_revocation_says_that_and_no_more():
    def said(content=b"manifest 1", **custom):
        made = listed(4, ("ipv/1.manifest", content))
        made.targets["ipv/1.manifest"].unrecognized_fields["custom"] = custom
        return Metadata(made).signed_bytes

    wanted = {"ipv/1.manifest": Revoked("leaks")}
    assert check(said(revoked="leaks"), wanted=wanted)
    for other in (
        said(),
        said(revoked="other"),
        said(revoked="leaks", more=1),
        said(b"another", revoked="leaks"),
    ):
        with pytest.raises(TrustError, match="something else"):
            check(other, wanted=wanted)
    with pytest.raises(TrustError, match="too"):
        check(said(revoked="leaks"), wanted={})
