"""Scenarios are real git repositories; versions are signed tags; unsafe trees are refused."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from dulwich.objects import Blob, Commit, Tag, Tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from walle_deploy.errors import TaskError, TrustError
from walle_deploy.task.compare import compare
from walle_deploy.task.repo import Scenario
from walle_deploy.task.sshsig import Signers, SigningKey
from walle_deploy.task.tree import Bounds, check_paths, read_folder, read_tree

git_here = pytest.mark.skipif(not shutil.which("git"), reason="the git program is not here")
keygen_here = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not here")


def toml(name):
    return f'[task]\nname = "{name}"\n[trigger]\nmanual = true\n'.encode()


def task(name="ipv", script=b"def main():\n    return {}\n"):
    return {"walle.toml": toml(name), "main.py": script, "models/m.bin": b"\0\1\2"}


def git(path, *arguments):
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", str(path), *arguments], capture_output=True, text=True, env=env, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def shop(tmp_path):
    made = Scenario.init(tmp_path / "shop", "shop", bare=True)
    made.commit("ipv", task(), "First", author="A <a@b>")
    return made


@pytest.fixture(scope="module")
def key():
    return SigningKey.generate()


def test_a_task_is_a_branch(shop):
    assert (shop.name, shop.tasks()) == ("shop", ["ipv"])
    assert shop.files("ipv") == task()
    shop.commit("rank", task("rank"), "Other")
    assert shop.tasks() == ["ipv", "rank"]
    assert [e.message for e in shop.log("ipv")] == ["First"]


def test_revisions_and_revert(shop, key):
    first = shop.resolve("ipv")
    shop.tag("ipv", key, "One")
    second = shop.commit("ipv", task(script=b"x = 2\n"), "Second")
    assert [shop.resolve("ipv", r) for r in ("", "HEAD", "~1", "v1", second[:7])] == [
        second,
        second,
        first,
        first,
        second,
    ]
    shop.revert("ipv", "v1")
    assert shop.files("ipv") == task()
    assert [e.message for e in shop.log("ipv")] == [f"Back to v1 ({first[:12]})", "Second", "First"]
    for wrong in ("v9", "~7", "zzzz", "", "v1"):
        with pytest.raises(TaskError):
            shop.resolve("ipv" if wrong else "nope", wrong) if wrong != "v1" else shop.resolve("nope", "v1")


def test_what_a_commit_refuses(shop):
    for files, message in (
        (task(), "nothing has changed"),
        ({}, "wanted 1 to 1000 files"),
        (task("other"), "task.name is 'other'"),
        ({"../x": b""}, "leads out"),
        ({"/x": b""}, "leads out"),
        ({"a\\b": b""}, "leads out"),
        ({".git/config": b""}, "git's own"),
        ({".GIT/hooks/x": b""}, "git's own"),
        ({".g\u200cit/x": b""}, "git's own"),
        ({"a": b"", "A": b""}, "only in case"),
        ({"m/a": b"", "M/b": b""}, "only in case"),
        ({"caf\u00e9": b"", "cafe\u0301": b""}, "form of letters"),
        ({"a": b"", "a/b": b""}, "one name"),
        ({"con.py": b""}, "Windows"),
        ({"a:b": b""}, "Windows"),
        ({"a.": b""}, "Windows"),
        ({"a\n": b""}, "cannot be seen"),
        ({"x" * 256: b""}, "too long"),
        ({"lib.so": b"\x7fELF\2"}, "program for Linux"),
    ):
        with pytest.raises(TaskError, match=message):
            shop.commit("ipv", files, "x")
    with pytest.raises(TaskError, match="is the newest"):
        shop.commit("ipv", task(script=b""), "x", expect="0" * 40)
    with pytest.raises(TaskError, match="wanted lower-case"):
        shop.commit("a/b", task(), "x")
    assert len(shop.log("ipv")) == 1


def planted(shop, entries, name="ipv"):
    """Puts a tree that the library would not write behind a task's branch."""
    tree = Tree()
    raw = b"".join(b"%o %s\0%s" % (mode, entry, bytes.fromhex(sha.decode())) for entry, mode, sha in entries)
    tree = Tree.from_raw_string(Tree.type_num, raw)
    commit = Commit()
    commit.tree, commit.parents, commit.message = tree.id, [], b"x"
    commit.author = commit.committer = b"A <a@b>"
    commit.author_time = commit.commit_time = commit.author_timezone = commit.commit_timezone = 0
    for made in (tree, commit):
        shop.git.object_store.add_object(made)
    shop.git.refs[b"refs/heads/task/" + name.encode()] = commit.id
    return commit.id.decode()


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        (b"link", 0o120000, "symbolic link"), (b"sub", 0o160000, "submodule"), (b"run.py", 0o100755, "chmod=-x"),
        (b"a", 0o104644, "mode"), (b"a", 0o100666, "mode"), (b"..", 0o100644, "leads out"), (b"a/b", 0o100644, "leads out"),
        (b".git", 0o100644, "git's own"), (b".gitmodules", 0o100644, "git's own"), (b"\xff", 0o100644, "UTF-8"),
    ],
)  # fmt: skip
def test_a_planted_tree_is_refused(shop, name, mode, message):
    blob = Blob.from_string(b"x")
    shop.git.object_store.add_object(blob)
    planted(shop, [(name, mode, blob.id)])
    with pytest.raises(TaskError, match=message):
        shop.files("ipv")


def test_trees_that_lie_or_are_too_large_are_refused(shop, tmp_path):
    blob = Blob.from_string(bytes(100_000))
    shop.git.object_store.add_object(blob)
    planted(shop, [(b"a", 0o100644, blob.id), (b"a", 0o100644, blob.id)])
    with pytest.raises(TaskError, match="twice"):
        shop.files("ipv")
    planted(shop, [(b"A", 0o100644, blob.id), (b"a", 0o100644, blob.id)])
    with pytest.raises(TaskError, match="only in case"):
        shop.files("ipv")
    planted(shop, [(b"a", 0o100644, blob.id), (b"b", 0o100644, blob.id)])
    for bounds, message in ((Bounds(files=1), "more than 1 files"), (Bounds(file_bytes=10), "at most 10"),
                            (Bounds(all_bytes=150_000), "at most 50000")):  # fmt: skip
        with pytest.raises(TaskError, match=message):
            Scenario(shop.git.path, bounds).files("ipv")
    planted(shop, [(b"a", 0o040000, blob.id)])
    with pytest.raises(TaskError, match="wanted a tree"):
        shop.files("ipv")
    planted(shop, [(b"a", 0o100644, b"1" * 40)])
    with pytest.raises(TaskError, match="not in the repository"):
        shop.files("ipv")
    deep = {"/".join("a" * 12): b"x"}
    shop.commit("deep", deep, "x")
    with pytest.raises(TaskError, match="deep"):
        shop.files("deep")


def test_an_altered_object_is_found(shop):
    (commit,) = shop.log("ipv")
    blob = Blob.from_string(task()["main.py"])
    text = blob.id.decode()
    file = Path(shop.git.object_store.path, text[:2], text[2:])
    file.chmod(0o600)
    file.write_bytes(zlib.compress(b"blob 4\0evil"))
    with pytest.raises(TaskError, match="altered"):
        Scenario(shop.git.path).files("ipv")


def test_a_version_is_verified(shop, key):
    version = shop.tag("ipv", key, "Works")
    allowed = Signers.of(key)
    assert version.tag == "task/ipv/v1"
    assert shop.verify("ipv", 1, allowed).signer == "signer"
    assert shop.verify("ipv", 1, allowed, version.commit) == shop.verify("ipv", 1, allowed)
    with pytest.raises(TrustError, match="a version never changes"):
        shop.verify("ipv", 1, allowed, "1" * 40)
    assert [v.number for v in shop.versions("ipv")] == [1]
    with pytest.raises(TaskError, match="is task/ipv/v1 already"):
        shop.tag("ipv", key, "Again")
    with pytest.raises(TaskError, match="no version"):
        shop.verify("ipv", 2, allowed)


def test_versions_that_are_not_trusted(shop, key):
    allowed = Signers.of(key)
    shop.tag("ipv", None, "Unsigned")
    with pytest.raises(TrustError, match="not signed"):
        shop.verify("ipv", 1, allowed)
    shop.commit("ipv", task(script=b"1"), "2")
    shop.tag("ipv", SigningKey.generate(), "By whom?")
    with pytest.raises(TrustError, match="not allowed"):
        shop.verify("ipv", 2, allowed)
    shop.commit("ipv", task(script=b"2"), "3")
    shop.tag("ipv", key, "Good")
    shop.verify("ipv", 3, allowed)
    refs = shop.git.refs
    refs[b"refs/tags/task/ipv/v4"] = refs[b"refs/tags/task/ipv/v3"]
    with pytest.raises(TrustError, match="moved"):
        shop.verify("ipv", 4, allowed)
    refs[b"refs/tags/task/ipv/v5"] = refs[b"refs/heads/task/ipv"]
    with pytest.raises(TrustError, match="not a signed tag"):
        shop.verify("ipv", 5, allowed)
    raw = shop.git.object_store.get_raw(refs[b"refs/tags/task/ipv/v3"])[1]
    altered = Tag.from_raw_string(Tag.type_num, bytes(raw).replace(b"Good", b"Evil"))
    shop.git.object_store.add_object(altered)
    refs[b"refs/tags/task/ipv/v3"] = altered.id
    with pytest.raises(TrustError, match="altered"):
        shop.verify("ipv", 3, allowed)
    refs[b"refs/tags/task/ipv/v6"] = b"1" * 40
    with pytest.raises(TrustError, match="missing or damaged"):
        shop.verify("ipv", 6, allowed)
    broken = Tag.from_raw_string(Tag.type_num, bytes(raw)[:-60])
    shop.git.object_store.add_object(broken)
    refs[b"refs/tags/task/ipv/v3"] = broken.id
    with pytest.raises(TrustError, match="no SSH signature"):
        shop.verify("ipv", 3, allowed)


def test_a_tag_of_another_tasks_tree_is_refused(shop, key):
    from walle_deploy.task.tags import make_tag, new_version

    other = shop.commit("rank", task("rank"), "Other")
    side = planted(shop, [], "side")
    for commit, message in ((other, "of the task 'rank'"), (side, "has no walle.toml")):
        made = make_tag(new_version("ipv", 1, commit, "x", "A <a@b>"), key)
        shop.git.object_store.add_object(made)
        shop.git.refs[b"refs/tags/task/ipv/v1"] = made.id
        with pytest.raises(TrustError, match=message):
            shop.verify("ipv", 1, Signers.of(key))
    shop.commit("copy", {**task(), "walle.toml": toml("copy")}, "x")
    tree = shop.git[shop.git.refs[b"refs/heads/task/ipv"]].tree
    stray = Commit()
    stray.tree, stray.parents, stray.message = tree, [], b"not on the branch"
    stray.author = stray.committer = b"A <a@b>"
    stray.author_time = stray.commit_time = stray.author_timezone = stray.commit_timezone = 0
    shop.git.object_store.add_object(stray)
    made = make_tag(new_version("ipv", 1, stray.id.decode(), "x", "A <a@b>"), key)
    shop.git.object_store.add_object(made)
    shop.git.refs[b"refs/tags/task/ipv/v1"] = made.id
    with pytest.raises(TrustError, match="not on the branch"):
        shop.verify("ipv", 1, Signers.of(key))


@git_here
def test_the_git_program_agrees(shop, key, tmp_path):
    shop.commit("ipv", task(script=b"x = 1\n"), "Second")
    shop.tag("ipv", key, "One")
    assert git(shop.git.path, "fsck", "--strict", "--full") == (0, "") or git(shop.git.path, "fsck")[0] == 0
    assert git(shop.git.path, "log", "--format=%s", "task/ipv") == (0, "Second\nFirst\n")
    assert git(shop.git.path, "show", "task/ipv:main.py") == (0, "x = 1\n")
    assert git(shop.git.path, "cat-file", "-t", "task/ipv/v1") == (0, "tag\n")


@git_here
@keygen_here
def test_git_verifies_our_tags_and_we_verify_gits(shop, key, tmp_path):
    shop.tag("ipv", key, "One")
    signers = tmp_path / "allowed"
    signers.write_text(f"me@shop {key.public}\n")
    ssh = ("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={signers}")
    code, text = git(shop.git.path, *ssh, "verify-tag", "task/ipv/v1")
    assert code == 0, text
    assert 'Good "git" signature for me@shop' in text
    key.save(tmp_path / "key")
    code, text = git(shop.git.path, *ssh, "-c", "user.name=A", "-c", "user.email=a@b", "-c",
                     f"user.signingkey={tmp_path / 'key'}", "tag", "-s", "-m", "Two", "task/ipv/v2", "task/ipv")  # fmt: skip
    assert code == 0, text
    assert shop.verify("ipv", 2, Signers.load(signers)).signer == "me@shop"
    signers.write_text(f"me@shop {SigningKey.generate().public}\n")
    assert git(shop.git.path, *ssh, "verify-tag", "task/ipv/v1")[0] != 0


def test_keys_and_signers(tmp_path, key):
    if importlib.util.find_spec("bcrypt"):
        key.save(tmp_path / "locked", "secret")
        assert SigningKey.load(tmp_path / "locked", "secret").public == key.public
        for password in (None, "no"):
            with pytest.raises(TaskError, match="password"):
                SigningKey.load(tmp_path / "locked", password)
    else:
        with pytest.raises(TaskError, match="pip install bcrypt"):
            key.save(tmp_path / "locked", "secret")
    key.save(tmp_path / "key")
    assert SigningKey.load(tmp_path / "key").public == key.public
    (tmp_path / "text").write_text("no key")
    if os.name == "posix":
        assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    for path, password, message in (("text", None, "no private key"), ("nokey", None, "cannot be read")):
        with pytest.raises(TaskError, match=message):
            SigningKey.load(tmp_path / path, password)
    with pytest.raises(TaskError, match="cannot be written"):
        key.save(tmp_path / "key")
    text = f'# c\n\na namespaces="file" {key.public}\nb namespaces="git" {SigningKey.generate().public} comment\n'
    assert list(Signers.parse(text).keys.values()) == ["b"]
    for line in (
        f"a cert-authority {key.public}",
        f'a valid-before="2020" {key.public}',
        "a ssh-rsa AAAA",
        "a ssh-ed25519 AA",
    ):
        with pytest.raises(TaskError, match="line 1"):
            Signers.parse(line)


@pytest.mark.parametrize("cut", [0, 1, 40, 100, 200, 290])
def test_a_damaged_signature_is_no_crash(key, cut):
    made = key.sign(b"text")
    for wrong in (made[:cut], made[:cut] + b"A" + made[cut + 1 :], made + b"\nA", made.replace(b"\n", b"")):
        if wrong.strip() != made.strip():
            with pytest.raises(TrustError):
                Signers.of(key).verify(b"text", wrong)
    assert Signers.of(key).verify(b"text", made) == "signer"


def test_differences_are_lines_tensors_and_bytes(shop, tmp_path):
    import walle_core
    from walle_core.frontends.walle_file import save

    models = []
    for value in (1.0, 2.0):
        b = walle_core.Builder()
        x = b.input("x", "float32", (1, 2))
        save(b.graph([b.Mul(x, b.const([1.0, value]))]), tmp_path / "m.walle")
        models.append((tmp_path / "m.walle").read_bytes())
    before = {"a.py": b"x = 1\ny = 2\n", "m.walle": models[0], "b.bin": b"\0\1\2", "gone": b"a", "same": b"s"}
    after = {"a.py": b"x = 1\ny = 3", "m.walle": models[1], "b.bin": b"\0\1\3", "new": b"n\n", "same": b"s"}
    found = {c.path: c for c in compare(before, after)}
    assert found["a.py"].text == (
        "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n\\ No newline at end of file\n"
    )
    assert "1 of 2 values differ" in found["m.walle"].text
    assert "1 bytes differ" in found["b.bin"].text
    assert (found["gone"].kind, found["new"].kind) == ("removed", "added")
    assert "same" not in found
    assert "cannot be compared by tensor" in compare({"m.onnx": b"1"}, {"m.onnx": b"2"})[0].text
    shop.commit("ipv", {**task(), "main.py": b"y\n"}, "Second")
    assert [c.path for c in shop.diff("ipv", "~1")] == ["main.py"]


def test_a_folder_is_read_as_a_tree_would_be(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.py").write_text("a")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/a.pyc").write_text("a")
    assert read_folder(tmp_path) == {"sub/a.py": b"a"}
    for bounds in (Bounds(files=0), Bounds(file_bytes=0), Bounds(depth=1)):
        with pytest.raises(TaskError):
            read_folder(tmp_path, bounds)
    if hasattr(os, "symlink"):
        (tmp_path / "link").symlink_to("/etc/passwd")
        with pytest.raises(TaskError, match="is a link"):
            read_folder(tmp_path)


WRITER = """
import sys
from walle_deploy.task.repo import Scenario
scenario = Scenario(sys.argv[1])
for turn in range(5):
    scenario.commit("ipv", {"main.py": f"# {sys.argv[2]} {turn}".encode()}, f"{turn}")
"""


def test_writers_at_once_lose_nothing(shop):
    workers = [subprocess.Popen([sys.executable, "-c", WRITER, shop.git.path, str(n)]) for n in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len(Scenario(shop.git.path).log("ipv")) == 16


def test_a_lock_that_is_held_is_an_error(shop):
    from walle_deploy.task.lock import locked

    path = f"{shop.git.path}/walle.lock"
    with locked(path), pytest.raises(TaskError, match="another process"), locked(path, 0.05):
        pass


def test_no_repository(tmp_path):
    with pytest.raises(TaskError, match="no git repository"):
        Scenario(tmp_path)
    with pytest.raises(TaskError, match="wanted lower-case"):
        Scenario.init(tmp_path, "A b")
    Scenario.init(tmp_path, "shop")
    with pytest.raises(TaskError, match="no repository can be made"):
        Scenario.init(tmp_path, "shop")


def test_paths_that_are_fine():
    check_paths(["a/b.py", "a/c.py", "walle.toml", ".gitignore", "modèle.walle"])


def test_the_commit_that_broke_it_is_found(shop):
    from walle_deploy.task.bisect import first_bad

    first = shop.resolve("ipv")
    for number in range(20):
        shop.commit("ipv", task(script=b"x = %d\n" % number), f"{number}")
    asked = []

    def works(files):
        asked.append(files)
        return int(files["main.py"].split()[-1]) < 13 if b"x" in files["main.py"] else True

    assert first_bad(shop, "ipv", first, "", works).message == "13"
    assert len(asked) <= 5
    with pytest.raises(TaskError, match="does not come before"):
        first_bad(shop, "ipv", "", first, works)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_altered_signature_is_taken(data):
    key = SigningKey.generate()
    made = bytearray(key.sign(b"text"))
    for _ in range(data.draw(st.integers(1, 3))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    try:
        Signers.of(key).verify(b"text", bytes(made))
    except TrustError:
        return
    assert bytes(made).split() == key.sign(b"text").split()


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_for_a_tree_are_refused_or_read(shop, data):
    raw = b"tree %d\0" % len(data) + data
    sha = hashlib.sha1(raw).hexdigest()
    file = Path(shop.git.object_store.path, sha[:2], sha[2:])
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        file.write_bytes(zlib.compress(raw))
    try:
        read_tree(shop.git, sha.encode())
    except TaskError:
        return
    assert not data


@git_here
def test_a_packed_clone_reads_the_same(shop, key, tmp_path):
    shop.commit("ipv", task(script=b"x = 1\n" * 500), "Second")
    shop.commit("ipv", task(script=b"x = 1\n" * 499), "Third")
    version = shop.tag("ipv", key, "One")
    for arguments in (("gc", "-q", "--prune=now"), ("clone", "-q", "--bare", ".", str(tmp_path / "clone"))):
        assert git(shop.git.path, *arguments)[0] == 0
    with Scenario(tmp_path / "clone") as clone:
        assert clone.name == "clone"
        assert clone.files("ipv") == Scenario(shop.git.path).files("ipv")
        assert clone.verify("ipv", 1, Signers.of(key), version.commit).commit == version.commit
        assert len(clone.log("ipv")) == 3
    with pytest.raises(TaskError, match="at most 10"):
        Scenario(tmp_path / "clone", Bounds(file_bytes=10)).files("ipv")


@git_here
def test_a_repository_of_another_hash_is_refused(tmp_path):
    if git(tmp_path, "init", "-q", "--object-format=sha256", "new")[0]:
        pytest.skip("this git has no SHA-256")
    with pytest.raises(TaskError, match=r"SHA-256|no git repository"):
        Scenario(tmp_path / "new")
