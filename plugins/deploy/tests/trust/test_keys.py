"""Operators' keys in files."""

import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from walle_deploy.errors import TrustError
from walle_deploy.trust.keys import from_environment, load_key, load_public, make_key, rotate_key


def secret(_path):
    return "correct horse"


def test_a_key_comes_back_from_its_file(tmp_path):
    made = make_key(tmp_path / "key", secret)
    loaded = load_key(tmp_path / "key", secret)
    assert loaded.public == made.public == load_public(tmp_path / "key.pub")
    assert loaded.public.verifies(loaded.private.sign(b"x"), b"x")
    assert not loaded.public.verifies(loaded.private.sign(b"x"), b"y")
    assert len(loaded.public.fingerprint.split()) == 8
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert b"ENCRYPTED" in (tmp_path / "key").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]


def test_wrong_passphrase(tmp_path):
    make_key(tmp_path / "key", secret)
    with pytest.raises(TrustError, match="wrong passphrase"):
        load_key(tmp_path / "key", lambda _: "something else")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_too_open_a_file_mode(tmp_path, mode):
    make_key(tmp_path / "key", secret)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(TrustError, match="chmod 600"):
        load_key(tmp_path / "key", secret)


def test_passphrase_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("WALLE_KEY_PASSPHRASE", raising=False)
    with pytest.raises(TrustError, match="WALLE_KEY_PASSPHRASE"):
        make_key(tmp_path / "key", from_environment())
    monkeypatch.setenv("WALLE_KEY_PASSPHRASE", "correct horse")
    assert load_key(tmp_path / "key", secret) if make_key(tmp_path / "key", from_environment()) else None


def test_short_passphrase(tmp_path):
    with pytest.raises(TrustError, match="at least 8"):
        make_key(tmp_path / "key", lambda _: "short")


def test_a_key_is_never_overwritten(tmp_path):
    make_key(tmp_path / "key", secret)
    with pytest.raises(TrustError, match="never overwritten"):
        make_key(tmp_path / "key", secret)


def test_never_in_a_git_working_tree(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep").mkdir()
    with pytest.raises(TrustError, match="git working tree"):
        make_key(tmp_path / "deep" / "key", secret)


def test_rotation_keeps_the_old_key(tmp_path):
    made = make_key(tmp_path / "key", secret)
    old, new = rotate_key(tmp_path / "key", secret)
    assert old.public == made.public != new.public
    assert load_key(tmp_path / "key", secret).public == new.public == load_public(tmp_path / "key.pub")
    kept = tmp_path / f"key.{old.public.id.hex()}"
    assert load_key(kept, secret).public == old.public


def test_other_files(tmp_path):
    path = tmp_path / "key"
    with pytest.raises(TrustError, match="cannot be read"):
        load_key(path, secret)
    path.write_bytes(b"no key")
    path.chmod(0o600)
    with pytest.raises(TrustError, match="not an encrypted private key"):
        load_key(path, secret)
    with pytest.raises(TrustError, match="not a public key"):
        load_public(path)
    path.write_bytes(bytes(20_000))
    with pytest.raises(TrustError, match="too long"):
        load_key(path, secret)
    kind = serialization.PrivateFormat.PKCS8
    encryption = serialization.BestAvailableEncryption(secret(path).encode())
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, kind, encryption)
    )
    with pytest.raises(TrustError, match="expected an Ed25519 key"):
        load_key(path, secret)
