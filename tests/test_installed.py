"""What is installed, told without the metadata library: the same as that says."""

import importlib.metadata
import subprocess
import sys
import zipfile

import pytest

from walle_core import installed


def normal(name):
    return name.lower().replace("_", "-").replace(".", "-")


@pytest.mark.parametrize("group", ["walle", "walle.kernels", "console_scripts", "pytest11", "no.such.group"])
def test_entry_points_are_those_of_the_metadata_library(group):
    ours = {(e.name, e.value, normal(e.distribution)) for e in installed.entry_points(group)}
    theirs = {(e.name, e.value, normal(e.dist.name)) for e in importlib.metadata.entry_points(group=group)}
    assert ours == theirs
    names = [e.name for e in installed.entry_points(group)]
    assert names == sorted(names)


def test_versions():
    assert installed.version_of("walle-core") == importlib.metadata.version("walle-core")
    assert installed.version_of("NumPy") == importlib.metadata.version("numpy")
    assert installed.version_of("no-such-distribution") == "0"


def write(folder, name, version, entries):
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(entries)
    return folder


def test_the_first_distribution_of_a_name_on_the_path_counts(tmp_path, monkeypatch):
    first = write(
        tmp_path / "a", "some_plugin", "2.0", "[toys]\none = a.b:c.d [extra]\n# two = x\n[other]\nthree=z\n"
    )
    second = write(tmp_path / "b", "some_plugin", "1.0", "[toys]\nold = q\n")
    (second / "broken-1.dist-info").mkdir()
    (second / "broken-1.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe")
    monkeypatch.setattr(sys, "path", [str(first), str(second), str(tmp_path / "absent")])
    (found,) = installed.entry_points("toys")
    assert found == ("one", "a.b:c.d [extra]", "some-plugin", "2.0")
    assert installed.version_of("some-plugin") == "2.0"
    monkeypatch.setattr(sys, "path", [str(second), str(first)])
    assert [e.name for e in installed.entry_points("toys")] == ["old"]


def test_an_entry_loads_what_it_names(tmp_path):
    assert (
        installed.Entry("x", "collections.abc : Mapping.get [extra]").load()
        is __import__("collections").abc.Mapping.get
    )
    assert installed.Entry("x", "json").load() is __import__("json")
    with pytest.raises(ModuleNotFoundError):
        installed.Entry("x", "no_such_module").load()
    with pytest.raises(AttributeError):
        installed.Entry("x", "json:nothing").load()


def test_archives_on_the_path_are_read(tmp_path, monkeypatch):
    write(tmp_path / "tree", "zipped", "3.0", "[toys]\nfrom_zip = json\n")
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "tree").rglob("*")):
            file.write(path, path.relative_to(tmp_path / "tree"))
    monkeypatch.setattr(sys, "path", [str(archive), *sys.path])
    (found,) = installed.entry_points("toys")
    assert found == ("from_zip", "json", "zipped", "3.0")


def test_the_metadata_library_is_not_imported():
    code = """
import sys
from walle_core import installed
assert any(e.name == "avx" for e in installed.entry_points("walle"))
installed.version_of("walle-core")
assert "importlib.metadata" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
