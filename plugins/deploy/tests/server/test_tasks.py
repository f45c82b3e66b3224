"""Tasks, versions and segments: what is kept, what is refused, and what devices get of it."""

import pytest
from core_world import AT_ONCE, answer, gray, manifest, opened, plan
from walle_deploy.errors import DeployError, PolicyError
from walle_deploy.manifest import File
from walle_deploy.server.refusals import ConflictError, MissingError, TooLargeError
from walle_deploy.trust.answer import EXCLUSIVE, ROLLBACK


def test_a_task_and_its_versions_are_kept(world):
    world.task(versions=(1, 3))
    found = world.platform.task("digits")
    assert (found.name, found.policy, found.stable, found.release, found.retired) == (
        "digits",
        {"everyone": True},
        None,
        None,
        False,
    )
    assert [each.number for each in found.versions] == [3, 1]
    assert found.versions[1].message == "version 1"
    assert world.platform.manifest("digits", 3) == manifest("digits", 3)
    assert not found.versions[0].published
    world.platform.published("digits", 3, "ada")
    assert world.platform.task("digits").versions[0].published


def test_a_task_without_a_release_is_no_news(world):
    world.task()
    assert world.check("one") is None
    assert world.platform.check_digest(world.profile("one").digest)


@pytest.mark.parametrize(
    "name", ["", "Digits", "a/b", "../x", "a" * 65, "a\0b", "é", "-a", "<b>", "a'--", None, 7]
)
def test_names_that_tasks_cannot_have(sqlite_world, name):
    with pytest.raises(DeployError, match="use 1 to 64"):
        sqlite_world.platform.add_task(name, {"everyone": True}, "ada")


def test_what_is_there_already_is_refused(world):
    world.task()
    with pytest.raises(ConflictError, match="another name"):
        world.platform.add_task("digits", {"everyone": True}, "ada")
    with pytest.raises(ConflictError, match="another v1 already"):
        world.version("digits", 1, File("other.py", "1" * 64, 5))
    assert world.version("digits", 1).number == 1  # the same again is a repeated request
    assert len([line for line in world.platform.audit() if line.action == "add"]) == 3


def test_what_is_not_there_is_missing(world):
    platform = world.platform
    for ask in (
        lambda: platform.task("nothing"),
        lambda: platform.set_policy("nothing", {"everyone": True}, "ada"),
        lambda: platform.retire("nothing", "ada"),
        lambda: platform.create_release("nothing", 1, AT_ONCE, "ada"),
        lambda: platform.manifest("nothing", 1),
        lambda: platform.published("nothing", 1, "ada"),
        lambda: platform.revoke("nothing", 1, "ada", "why"),
        lambda: platform.set_segment("nothing", None, "ada"),
        lambda: platform.explain("device", "nothing"),
        lambda: platform.device("nobody"),
        lambda: platform.release(99),
        lambda: platform.release("'; DROP TABLE tasks; --"),
        lambda: platform.curve(99),
        lambda: platform.pause(10**30, "ada"),
    ):
        with pytest.raises(MissingError, match=r"see (the|its)|add it"):
            ask()


def test_a_manifest_belongs_to_its_version(sqlite_world):
    sqlite_world.task()
    about = {"commit": "", "message": "", "signer": "", "who": "ada"}
    platform = sqlite_world.platform
    with pytest.raises(ConflictError, match="not of 'digits' v4"):
        platform.add_version("digits", 4, manifest=manifest("digits", 3), **about)
    with pytest.raises(DeployError, match="not a manifest"):
        platform.add_version("digits", 4, manifest=b"{}", **about)
    for number in (0, -1, 2**32, True, "1"):
        with pytest.raises(DeployError, match="a number from 1"):
            platform.add_version("digits", number, manifest=manifest("digits", 3), **about)
    with pytest.raises(ConflictError, match="exclusive files"):
        sqlite_world.version("digits", 5, File("a", "1" * 64, 1, exclusive=True))


def test_policies_that_cannot_be_compiled_change_nothing(world):
    with pytest.raises(PolicyError, match="wanted"):
        world.platform.add_task("digits", {"nonsense": 1}, "ada")
    world.task()
    world.stable()
    with pytest.raises(PolicyError, match="wanted"):
        world.platform.set_policy("digits", {"uniform": {"percent": 5}}, "ada")
    with pytest.raises(PolicyError, match="JSON"):
        world.platform.set_policy("digits", {"device": {"os": object()}}, "ada")
    with pytest.raises(PolicyError, match="wanted"):
        world.platform.set_policy("digits", {"device": {"os": {1, 2}}}, "ada")
    assert world.platform.task("digits").policy == {"everyone": True}
    assert world.check("one") == {"digits": 1}


def test_policies_decide_who_gets_a_task(world):
    world.task(policy={"device": {"os": "android"}})
    world.platform.create_release("digits", 1, AT_ONCE, "ada")
    assert world.check("one", os="android") == {"digits": 1}
    assert world.check("two", os="ios") is None
    world.platform.set_policy("digits", {"device": {"os": "ios"}}, "ada")
    assert world.check("one", {"digits": "v1"}, os="android") == {}
    assert world.check("two", os="ios") == {"digits": 1}


def test_a_device_is_told_to_remove_what_it_should_not_have(world):
    world.task()
    world.stable()
    assert world.check("one", {"digits": "v1"}) is None
    assert world.check("one", {"digits": "v1", "unknown": "v7"}) == {"digits": 1}
    world.platform.retire("digits", "ada")
    assert world.check("one", {"digits": "v1"}) == {}
    assert world.check("one") is None
    assert world.platform.task("digits").retired
    with pytest.raises(ConflictError, match="retired"):
        world.platform.create_release("digits", 2, AT_ONCE, "ada")
    with pytest.raises(ConflictError, match="another name"):
        world.platform.add_task("digits", {"everyone": True}, "ada")


def test_a_lower_version_says_so(world):
    world.task()
    world.stable()
    (task,) = answer(world.platform.check(world.profile("one", {"digits": "v7"}))).tasks
    assert (task.version, task.flags) == (1, ROLLBACK)
    (task,) = answer(world.platform.check(world.profile("one", {"digits": "nonsense"}))).tasks
    assert (task.version, task.flags) == (1, 0)


def test_segments(world):
    platform = world.platform
    platform.set_segment("phones", {"device": {"os": "android"}}, "ada")
    world.task(policy={"segment": "phones"})
    platform.create_release("digits", 1, AT_ONCE, "ada")
    assert world.check("one", os="android") == {"digits": 1}
    assert world.check("two", os="ios") is None
    platform.set_segment("phones", {"device": {"os": "ios"}}, "ada")
    assert world.check("two", os="ios") == {"digits": 1}
    assert platform.segments() == {"phones": {"device": {"os": "ios"}}}
    with pytest.raises(ConflictError, match="used by task digits"):
        platform.set_segment("phones", None, "ada")
    with pytest.raises(PolicyError, match="segment"):
        platform.set_segment("phones", {"segment": "phones"}, "ada")
    with pytest.raises(PolicyError, match="segments"):
        platform.set_policy("digits", {"segment": "nobody"}, "ada")
    platform.set_policy("digits", {"everyone": True}, "ada")
    platform.set_segment("phones", None, "ada")
    assert platform.segments() == {}
    platform.set_segment("phones", {"everyone": True}, "ada")
    assert platform.segments() == {"phones": {"everyone": True}}


def test_a_segment_of_a_plan_is_kept(world):
    world.task()
    world.stable()
    beta = plan({"kind": "beta", "policy": "staff"}, {"kind": "full"})
    with pytest.raises(ConflictError, match="no segment 'staff'"):
        world.platform.create_release("digits", 2, beta, "ada")
    world.platform.set_segment("staff", {"device": {"staff": True}}, "ada")
    world.platform.create_release("digits", 2, beta, "ada")
    with pytest.raises(ConflictError, match="used by release 2"):
        world.platform.set_segment("staff", None, "ada")
    new = {world.offered(f"s{n}", {"digits": "v1"}, staff=True) for n in range(20)}
    assert new == {1, 2}  # half of them are the control
    assert world.offered("other", {"digits": "v1"}) == 1


def test_exclusive_files_are_at_the_devices_place(url):
    from core_world import World

    with World(url, prefix=lambda device: f"devices/of-{device}") as world:
        world.platform.add_task("digits", {"everyone": True}, "ada")
        world.version("digits", 1, File("a", "1" * 64, 1, exclusive=True))
        world.version("digits", 2)
        world.stable()
        (task,) = answer(world.platform.check(world.profile("one"))).tasks
        assert task.base == "https://deploy.example/walle/devices/of-one"
        assert task.flags == EXCLUSIVE
        world.stable("digits", 2)
        (task,) = answer(world.platform.check(world.profile("one"))).tasks
        assert (task.base, task.flags) == ("https://deploy.example/walle", 0)


def test_texts_are_only_texts(world):
    nasty = "'; DROP TABLE tasks; -- <script>alert(1)</script> {{7*7}} %s %(x)s \\ \" 手机 \U0001f4f1"
    world.task(policy={"device": {nasty: nasty}})
    world.version("digits", 3, message=nasty, signer=nasty)
    world.platform.set_policy("digits", {"any": [{"everyone": True}, {"device": {nasty: nasty}}]}, nasty)
    release = world.platform.create_release("digits", 1, AT_ONCE, nasty)
    assert world.check("'--<b>") == {"digits": 1}
    world.report("'--<b>", 1, failed=True, why=nasty)
    world.platform.note(nasty, nasty, nasty, nasty)
    found = world.platform.task("digits")
    assert found.versions[0].message == nasty
    assert found.policy["any"][1] == {"device": {nasty: nasty}}
    assert world.platform.release(release).failures[0].why == nasty
    assert world.platform.audit(text="<script>")[0].who == nasty
    assert world.platform.audit(text="100%") == []
    assert len(world.platform.audit(text="%")) >= 1
    world.written()
    assert [each.id for each in world.platform.devices(prefix="'--")] == ["'--<b>"]
    assert world.platform.devices(prefix="%") == []


@pytest.mark.parametrize("text", ["a\0b", "\ud800", 7])
def test_what_no_database_takes_is_refused(sqlite_world, text):
    world = sqlite_world
    world.task()
    for ask in (
        lambda: world.platform.set_policy("digits", {"everyone": True}, text),
        lambda: world.version("digits", 3, message=text),
        lambda: world.platform.revoke("digits", 1, "ada", text),
        lambda: world.platform.set_policy("digits", {"device": {"os": object()}}, "ada"),
    ):
        with pytest.raises(DeployError, match=r"leave that out|JSON"):
            ask()


def test_too_much_is_refused(sqlite_world):
    world = sqlite_world
    world.task()
    ids = {"devices": [f"device-{n:0100}" for n in range(90_000)]}
    for ask in (
        lambda: world.platform.set_policy("digits", ids, "ada"),
        lambda: world.platform.set_policy("digits", {"everyone": True}, "a" * 201),
        lambda: world.version("digits", 3, message="a" * 70_000),
        lambda: world.platform.revoke("digits", 1, "ada", "a" * 5000),
        lambda: world.platform.create_release("digits", 1, {**AT_ONCE, "alpha": ["x" * 300_000]}, "ada"),
    ):
        with pytest.raises(TooLargeError, match="make it"):
            ask()


def test_more_tasks_than_an_answer_holds(sqlite_world):
    world = sqlite_world
    for number in range(70):
        world.task(f"t{number:02}", versions=(1,))
        world.platform.create_release(f"t{number:02}", 1, AT_ONCE, "ada")
    first = {f"t{number:02}": 1 for number in range(64)}
    assert world.check("one") == first
    assert world.check("one", dict.fromkeys(first, "v1")) is None
    assert world.platform.explain("one", "t63").wanted == "v1"
    found = world.platform.explain("one", "t64")
    assert (found.wanted, found.why.endswith("others come first by name")) == (None, True)
    assert world.check("one", {f"t{number:02}": "v1" for number in range(1, 70)}) == first


def test_another_worker_takes_over_what_changed(url):
    from core_world import World

    with World(url) as world, opened(url) as other:
        world.task()
        world.stable()
        assert other.check(world.profile("one")) is None
        other.refresh()
        assert other.check(world.profile("one")) is not None
        world.platform.set_segment("x", {"device": {"os": "ios"}}, "ada")
        world.platform.set_policy("digits", {"segment": "x"}, "ada")
        other.refresh()
        assert other.check(world.profile("one")) is None
        assert other.check(world.profile("two", os="ios")) is not None
        world.platform.set_segment("x", {"device": {"os": "android"}}, "ada")
        other.refresh()
        assert other.check(world.profile("two", os="ios")) is None


def test_a_database_of_another_program_is_not_opened(url):
    import sqlalchemy as sa
    from walle_deploy.server.database import Database
    from walle_deploy.server.schema import meta

    database = Database.open(url)
    database.write(lambda found: found.execute(sa.update(meta).values(schema=99)))
    database.close()
    with pytest.raises(DeployError, match="tables of version 99"):
        opened(url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://localhost/x",
        "nonsense",
        "sqlite:////nowhere/at/all.db",
        "postgresql://nobody:secret@127.0.0.1:1/x",
    ],
)
def test_addresses_that_are_no_database(url):
    with pytest.raises(DeployError) as error:
        opened(url)
    assert "secret" not in str(error.value)


def test_settings_that_cannot_work(tmp_path):
    from walle_deploy.server.platform import Platform

    for secret, base in ((b"short", "https://x"), (bytes(16), "https://x/" + "y" * 128), (bytes(16), "a b")):
        with pytest.raises(DeployError, match="a secret of at least 16"):
            Platform.open(f"sqlite:///{tmp_path}/x.db", secret=secret, signer=None, base_url=base)


def test_gray_needs_the_stable_version_first(world):
    world.task()
    release = world.platform.create_release("digits", 1, plan(gray(50), {"kind": "full"}), "ada")
    assert world.platform.release(release).previous is None
    assert {world.offered(f"d{n}") for n in range(40)} == {1, None}
