"""walle vm, as it is typed."""

import json

import pytest
from click.testing import CliRunner

from walle_core.cli.vm import command
from walle_core.errors import InputError, UnsupportedError


def walle(*arguments):
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_size_names_disk_modules_time_and_memory():
    found = json.loads(walle("size", "--json"))
    assert found["imports"] == ["walle_core", "walle_core._native.tensor", "walle_core.matrix"]
    assert found["disk_total"] == sum(found["disk_bytes"].values())
    assert set(found["modules"]) == {"standard library", "walle_core"}  # and no NumPy
    assert "walle_core._native.tensor" in found["modules"]["walle_core"]
    assert found["import_ms"] > 0
    assert 0 < found["memory_mb"] <= 15


def test_size_of_modules_and_their_list():
    assert json.loads(walle("size", "--module", "json", "--json"))["imports"] == ["json"]
    text = walle("size", "--module", "json", "--list")
    assert "json.decoder" in text
    assert "import json: " in text


def test_size_of_a_script_leaves_its_neighbours_out(tmp_path):
    (tmp_path / "helper.py").write_text("")
    script = tmp_path / "main.py"
    script.write_text(
        "import json, helper\nfrom collections.abc import Mapping\ndef main():\n    import math\n"
    )
    assert json.loads(walle("size", str(script), "--json"))["imports"] == ["json", "collections.abc", "math"]


def test_what_cannot_be_read_or_imported_is_said(tmp_path):
    script = tmp_path / "main.py"
    script.write_text("def")
    with pytest.raises(InputError, match="no Python"):
        walle("size", str(script))
    with pytest.raises(UnsupportedError, match="No module named 'absent'"):
        walle("size", "--module", "absent")
