"""Several people publish to one server."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from shop_world import Shop
from walle_deploy.client import ServerError
from walle_deploy.errors import TrustError
from walle_deploy.publish.images import sign
from walle_deploy.server.images import Images
from walle_deploy.trust import Director, ImageRepository, RoleKeys, new_key


@pytest.fixture
def shops(clean, world):
    """Four repositories."""
    made = []
    for n in range(4):
        folder = clean / f"shop{n}"
        folder.mkdir()
        made.append(Shop(folder, world))
    return made


def test_versions_that_are_published_at_once_all_get_there(shops, world):
    numbers = [shop.version() for shop in shops]
    together = threading.Barrier(len(shops))

    def one(shop, number):
        with world.client() as client:
            together.wait(20)
            return shop.publish(client, number)

    with ThreadPoolExecutor(len(shops)) as pool:
        done = list(pool.map(one, shops, numbers))
    assert all(each.new for each in done)
    with world.client() as client:
        for shop in shops:
            assert client.task(shop.task).versions[0].published


def test_what_nobody_signs_keeps_nobody_back(shops, world):
    mine, theirs = shops[:2]
    with world.client() as client:
        theirs.publish(client, theirs.version())
        number = theirs.version(more=b"x")
        client.sign_image = went_home
        with pytest.raises(ServerError, match="went home"):
            theirs.publish(client, number)
    with world.client() as client:
        assert mine.publish(client, mine.version()).new
        assert theirs.publish(client, number).new


def went_home(*_):
    raise ServerError("went home")


class Repository:
    """An image repository with a role that two people sign, and one of a team."""

    def __init__(self, folder):
        self.keys = {name: new_key() for name in ("root", "one", "other", "online", "team")}
        public = {name: key.public for name, key in self.keys.items()}
        repository = ImageRepository.create(
            folder,
            {
                "root": RoleKeys([public["root"]]), "targets": RoleKeys([public["one"], public["other"]], 2),
                "snapshot": RoleKeys([public["online"]]), "timestamp": RoleKeys([public["online"]]),
            },
            Director((public["online"],)),
        )  # fmt: skip
        repository.delegate("shop", ["shop/*/*"], RoleKeys([public["team"]]))
        repository.sign("root", self.keys["root"])
        repository.sign("targets", self.keys["one"], self.keys["other"])
        repository.sign("shop", self.keys["team"])
        repository.publish(self.keys["online"])
        self.images = Images(folder, [self.keys["online"]])

    def sign(self, proposal, key):
        keyid, signature = sign(proposal.metadata, self.keys[key])
        return self.images.sign(proposal.role, keyid, bytes.fromhex(signature))


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "images")


def test_the_second_person_signs_what_the_first_has_signed(repository):
    images = repository.images
    assert repository.sign(images.stage("ipv", 1, b"manifest"), "one") == "1 of 2"
    with pytest.raises(TrustError, match="1 of the 2 keys"):
        images.publish()
    assert repository.sign(images.stage("ipv", 1, b"manifest"), "other") == "2 of 2"
    assert images.publish() == [("ipv", 1)]
    assert images.stage("ipv", 1, b"manifest") is None


def test_what_is_half_signed_comes_first(repository):
    images = repository.images
    repository.sign(images.stage("ipv", 1, b"manifest"), "one")
    with pytest.raises(TrustError, match=r"ipv/1\.manifest waits for signatures, and comes first"):
        images.stage("other", 1, b"manifest")
    repository.sign(images.stage("ipv", 1, b"manifest"), "other")
    repository.sign(images.stage("other", 1, b"manifest"), "one")  # which publishes the first
    assert images.listed("ipv", 1) and not images.listed("other", 1)


def test_the_same_version_with_other_content_is_refused(repository):
    repository.images.stage("ipv", 1, b"manifest")
    with pytest.raises(TrustError, match="other content"):
        repository.images.stage("ipv", 1, b"another manifest")


def test_a_team_does_not_wait_for_another_role(repository):
    images = repository.images
    images.stage("ipv", 1, b"manifest")  # of targets, which nobody signs
    team = images.stage("shop/ranking", 1, b"manifest")
    assert team.role == "shop"
    repository.sign(team, "team")
    assert images.publish() == [("shop/ranking", 1)]
    assert images.staged() == {"targets": "0 of 2"}


def test_a_new_delegation_that_is_not_signed_is_not_lost(repository):
    images, people = repository.images, images_of(repository)
    people.delegate("team2", ["two/*/*"], RoleKeys([new_key().public]))
    images.stage("ipv", 1, b"manifest")
    assert "team2" in people._shelf.staged("targets").signed.delegations.roles
    team = images.stage("shop/ranking", 1, b"manifest")
    repository.sign(team, "team")
    assert images.publish() == [("shop/ranking", 1)]


def images_of(repository):
    return ImageRepository(repository.images.folder)


def test_a_version_is_revoked_while_another_waits(repository):
    images = repository.images
    for key in ("one", "other"):
        repository.sign(images.stage("ipv", 1, b"manifest"), key)
    images.publish()
    images.stage("ipv", 2, b"second")
    for key in ("one", "other"):
        repository.sign(images.revoke("ipv", 1, "leaks"), key)
    images.publish()
    assert images.listed("ipv", 1).revoked == "leaks" and images.listed("ipv", 2) is None


def test_an_image_that_others_published_is_noted(shops, world):
    mine, theirs = shops[:2]
    number, other = mine.version(), theirs.version()
    with world.client() as client:
        publish_images, client.publish_images = client.publish_images, lambda: None
        mine.publish(client, number)  # signed; somebody stages beside it before it asks to publish
        client.publish_images = publish_images
        theirs.publish(client, other)
        for shop in (mine, theirs):
            assert client.task(shop.task).versions[0].published
