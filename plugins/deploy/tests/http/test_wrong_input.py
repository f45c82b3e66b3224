"""What people give by mistake when they set a server up: told with what to do, and nothing is left that hinders the next try."""

from pathlib import Path

import pytest
from walle_deploy.errors import DeployError, TrustError
from walle_deploy.server import folder
from walle_deploy.server.database import Database
from walle_deploy.store.files import FileStore
from walle_deploy.trust.keys import from_terminal


def test_a_folder_that_could_not_be_made_is_empty_again(tmp_path):
    with pytest.raises(TrustError, match="at least 8 characters"):
        folder.make(tmp_path / "data", "short")
    assert list((tmp_path / "data").iterdir()) == []
    folder.make(tmp_path / "data", "long enough", port=0)
    with pytest.raises(DeployError, match="is not empty"):
        folder.make(tmp_path / "data", "long enough")
    assert (tmp_path / "data" / "server.toml").exists()


def test_a_folder_in_a_repository_is_refused_and_empty_again(tmp_path):
    (tmp_path / ".git").mkdir()
    with pytest.raises(TrustError, match="git working tree"):
        folder.make(tmp_path / "data", "long enough")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_database_that_is_none_is_told(tmp_path):
    path = tmp_path / "walle.db"
    path.write_bytes(b"this is no database at all" * 400)
    with pytest.raises(DeployError, match=r"walle\.db: .*not a database; take it from a backup"):
        Database.open(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"this is no database")


def test_a_store_that_cannot_be_opened_is_told_in_one_line():
    with pytest.raises(DeployError, match=r"store s3://: cannot be opened: .*; see its address") as told:
        FileStore.open("s3://")
    assert "\n" not in str(told.value)


def test_a_passphrase_is_asked_for_at_a_terminal_only():
    with pytest.raises(TrustError, match="set WALLE_KEY_PASSPHRASE"):
        from_terminal(Path("targets"))
