"""The matrix finds plugins by their folders, and the oldest core that each allows among the released ones."""

import subprocess
import sys

import plugin_matrix as matrix
import pytest

GIT = [
    "git",
    "-c",
    "user.name=x",
    "-c",
    "user.email=x@example.org",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "tag.gpgsign=false",
]


def declare(folder, name, version, *dependencies):
    folder.mkdir(parents=True, exist_ok=True)
    text = f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = {list(dependencies)}\n'
    (folder / "pyproject.toml").write_text(text)


@pytest.fixture
def root(tmp_path):
    """A repository whose core was released as 0.1.0, 0.2.0, 0.2.1 and 0.10.0, and is 0.11.0 now."""
    subprocess.run([*GIT, "init", "-q"], cwd=tmp_path, check=True)
    for version in ("0.10.0", "0.1.0", "0.2.0", "0.2.1"):
        declare(tmp_path, "walle-core", version)
        subprocess.run([*GIT, "add", "."], cwd=tmp_path, check=True)
        subprocess.run([*GIT, "commit", "-q", "-m", version], cwd=tmp_path, check=True)
        subprocess.run([*GIT, "tag", f"walle-core-{version}"], cwd=tmp_path, check=True)
    subprocess.run([*GIT, "tag", "walle-core-latest"], cwd=tmp_path, check=True)
    subprocess.run([*GIT, "tag", "walle-backend-x-0.0.1"], cwd=tmp_path, check=True)
    declare(tmp_path, "walle-core", "0.11.0")
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "tag", "label"),
    [
        ("walle-core", "walle-core-0.1.0", "0.1.0"),
        ("walle-core>=0.2,<0.3", "walle-core-0.2.0", "0.2.0"),
        ("walle-core>0.2.0", "walle-core-0.2.1", "0.2.1"),
        ("walle-core>=0.3", "walle-core-0.10.0", "0.10.0"),
        ("walle-core>=0.11,<0.12", None, "0.11.0 (this tree)"),
    ],
)
def test_oldest_core(root, wanted, tag, label):
    declare(root / "plugins" / "one", "walle-one", "0.1", "numpy>=1.26", wanted)
    assert matrix.oldest_core("one", root) == (tag, label)
    if tag:
        tree = matrix.unpacked(tag, root / "trees" / tag, root)
        assert matrix.project(tree)["version"] == label


def test_a_core_that_cannot_be_had(root):
    declare(root / "plugins" / "one", "walle-one", "0.1", "walle-core>=3")
    with pytest.raises(
        ValueError, match=r"allows walle-core>=3: no release fits, nor does this tree's 0\.11\.0"
    ):
        matrix.oldest_core("one", root)
    declare(root / "plugins" / "one", "walle-one", "0.1", "numpy")
    with pytest.raises(ValueError, match="does not depend on walle-core"):
        matrix.oldest_core("one", root)


def test_a_plugin_joins_by_its_folder(root):
    for name in ("b", "a"):
        declare(root / "plugins" / name, f"walle-{name}", "0.1", "walle-core")
    (root / "plugins" / "notes").mkdir()
    assert matrix.plugins(root) == ["a", "b"]


def test_every_plugin_here_has_a_core_and_tests():
    assert matrix.plugins()
    for name in matrix.plugins():
        assert matrix.oldest_core(name)[1]
        assert list((matrix.ROOT / "plugins" / name / "tests").glob("test_*.py")), (
            f"plugins/{name} has no tests"
        )


def test_pythons_that_are_here():
    here = "{}.{}".format(*sys.version_info[:2])
    assert matrix.interpreter(here)
    assert matrix.interpreter("3.2") is None
    assert matrix.run_cell("core", "3.2", matrix.ROOT) == ("absent", 0.0)


def test_table():
    rows = [
        ("walle-core", "itself", [("pass", 12.4), ("FAIL", 3.0)]),
        ("walle-x", "0.1.0", [("absent", 0.0), ("pass", 1.6)]),
    ]
    assert matrix.table(rows, ["3.11", "3.12"]).splitlines() == [
        "distribution  core    3.11       3.12",
        "walle-core    itself  pass 12 s  FAIL 3 s",
        "walle-x       0.1.0   absent     pass 2 s",
    ]
