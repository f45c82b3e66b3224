"""Tokens of operators are kept as hashes and end; tokens of devices are made by nobody else."""

import base64
import hashlib
import hmac

import pytest
from walle_deploy.errors import DeployError
from walle_deploy.server.auth import RIGHTS, Tokens, device_token, is_device_token
from walle_deploy.server.database import Database

DAY = 86_400
SECRET = b"k" * 32


class Clock:
    now = 1_900_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture(params=["sqlite", "postgres"])
def tokens(request, tmp_path):
    url = f"sqlite:///{tmp_path}/t.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").database()
    database, clock = Database.open(url), Clock()
    made = Tokens(database, clock)
    made.clock, made.path = clock, tmp_path
    yield made
    database.close()


def test_a_token_is_known_until_it_expires(tokens):
    number, token = tokens.make("alice", "operator", 2)
    found = tokens.who(token)
    assert (found.id, found.name, found.role) == (number, "alice", "operator")
    tokens.clock.now += 2 * DAY - 1
    assert tokens.who(token)
    tokens.clock.now += 1
    assert tokens.who(token) is None


def test_a_revoked_token_ends_at_once_here_and_within_a_second_elsewhere(tokens):
    other = Tokens(tokens._database, tokens.clock)
    number, token = tokens.make("alice", "operator", 2)
    assert other.who(token)
    assert tokens.revoke(number).revoked
    assert tokens.who(token) is None
    tokens.clock.now += 1
    assert other.who(token) is None
    assert tokens.revoke(99) is None


def test_a_clock_that_goes_back_does_not_keep_a_revoked_token(tokens):
    number, token = tokens.make("alice", "operator", 2)
    other = Tokens(tokens._database, tokens.clock)
    assert other.who(token)
    tokens.revoke(number)
    tokens.clock.now -= 3600
    assert other.who(token) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "walle_",
        "walle_" + "a" * 43,
        "walle_" + "\udc80" * 43,
        "walle_' or 1=1 --" + "x" * 32,
        "a" * 49,
        "w" * 100_000,
    ],
)
def test_what_is_no_token_is_nobody(tokens, token):
    tokens.make("alice", "operator", 2)
    assert tokens.who(token) is None


def test_the_database_holds_no_token(tokens):
    _, token = tokens.make("alice", "admin", 2)
    tokens._database.close()
    for path in tokens.path.iterdir():
        assert token.encode() not in path.read_bytes()
        assert token[6:].encode() not in path.read_bytes()
    assert all("token" not in str(line).replace("TokenLine", "") for line in tokens.lines())


@pytest.mark.parametrize(
    ("name", "role", "days"),
    [
        ("", "admin", 1),
        ("a" * 200, "admin", 1),
        ("a\nb", "admin", 1),
        ("a", "root", 1),
        ("a", "admin", 0),
        ("a", "admin", 1e9),
    ],
)
def test_tokens_that_cannot_be_are_not_made(tokens, name, role, days):
    with pytest.raises(DeployError):
        tokens.make(name, role, days)
    assert tokens.lines() == []


def test_names_are_only_names(tokens):
    _, token = tokens.make("'; DROP TABLE tokens; --<script>", "viewer", 1)
    assert tokens.who(token).name == "'; DROP TABLE tokens; --<script>"


def test_memory_of_tokens_is_bounded(tokens):
    for number in range(50):
        tokens._fresh[f"{number:064}"] = (tokens.clock.now, None)
    made = [tokens.make("a", "viewer", 1)[1] for _ in range(3)]
    for token in made:
        assert tokens.who(token)
    assert len(tokens._fresh) <= 4096


def test_roles_are_apart():
    assert "approve" not in RIGHTS["operator"]
    assert "operate" not in RIGHTS["approver"]
    assert RIGHTS["enrol"] == {"enrol"}
    assert "enrol" not in RIGHTS["admin"]


@pytest.mark.parametrize("secret", [SECRET, b"k" * 64, b"k" * 65, b"k" * 200])
def test_a_device_token_is_what_the_protocol_says(secret):
    made = hmac.new(secret, b"walle device\0phone-1", hashlib.sha256).digest()[:16]
    assert device_token(secret, "phone-1") == base64.urlsafe_b64encode(made).decode().rstrip("=")
    assert len(device_token(secret, "phone-1")) == 22


def test_a_device_token_is_of_one_device_and_one_server():
    token = device_token(SECRET, "phone-1")
    assert is_device_token(SECRET, "phone-1", token)
    for secret, device, given in [
        (SECRET, "phone-2", token), (b"o" * 32, "phone-1", token), (SECRET, "phone-1", token[:-1]), (SECRET, "phone-1", ""),
        (SECRET, "phone-1", token + "A"), (SECRET, "", device_token(SECRET, "")), (SECRET, "phone-1", "\udc80" * 22),
        (SECRET, "phone-1", "ÿ" * 22),
    ]:  # fmt: skip
        assert not is_device_token(secret, device, given)
