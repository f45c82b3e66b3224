"""Manifests: what is refused, and that equal ones have equal bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from walle_deploy.errors import DeployError
from walle_deploy.manifest import File, Manifest, check_path

A, B = "a" * 64, "b" * 64

REFUSED = [
    "", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", "C:/x", "c:x", "a\\b", "a\0b", "a\nb", "a\x7fb", "con", "a/NUL.txt",
    "aux .x", "COM1", "lpt9.log", "COM\u00b9", "a.", "a ", " a", "a/b. ", "e\u0301", "\u202eexe.txt", "a\ud800", "a:stream", "a?", "x" * 241, "\u200b",
    "\u00fc" * 128,
]  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_a_path_that_is_another_place_somewhere_is_refused(path):
    with pytest.raises(DeployError):
        check_path(path)


@pytest.mark.parametrize(
    "path", ["a", "model/net.onnx", ".hidden", "\u00fc/\u4e2d\u6587.py", "con_", "console.py", "a b", "...a"]
)
def test_a_plain_path_is_taken(path):
    assert check_path(path) == path


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "a"],
        ["A", "a"],
        ["stra\u00dfe", "strasse"],
        ["a", "a/b"],
        ["A/b", "a"],
        ["a/b", "a/b/c"],
        ["\ufb01", "fi"],
        ["K", "\u212a"],
    ],
)
def test_paths_that_meet_are_refused(paths):
    with pytest.raises(DeployError):
        Manifest.of("t", "1", [File(path, A, 1) for path in paths])


def test_order_does_not_change_the_digest():
    files = [File("b", B, 2), File("a", A, 1), File("m/x", A, 1, exclusive=True)]
    made = Manifest.of("task", "v1", files)
    assert made.digest == Manifest.of("task", "v1", files[::-1]).digest
    assert Manifest.decode(made.encode()) == made
    assert made.size == 4
    with pytest.raises(DeployError, match="order"):
        Manifest("task", "v1", tuple(files))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "a/b"),
        ("task", ".."),
        ("task", "nul"),
        ("task", "a."),
        ("version", ""),
        ("version", "x" * 101),
    ],
)
def test_names_are_checked(field, value):
    with pytest.raises(DeployError, match=field):
        Manifest(**{"task": "t", "version": "1", "files": ()} | {field: value})


def test_bounds():
    for size in (-1, (4 << 30) + 1):
        with pytest.raises(DeployError, match="bytes"):
            File("a", A, size)
    with pytest.raises(DeployError, match="SHA-256"):
        File("a", A.upper(), 1)
    with pytest.raises(DeployError, match="at most"):
        Manifest.of("t", "1", [File(f"a{n}", A, 4 << 30) for n in range(5)])
    with pytest.raises(DeployError, match="at most"):
        Manifest.of("t", "1", [File(f"a{n}", A, 0) for n in range(10_001)])
    with pytest.raises(DeployError, match="another size"):
        Manifest.of("t", "1", [File("a", A, 1), File("b", A, 2)])
    with pytest.raises(DeployError, match="at most"):
        Manifest.decode(b"x" * (9 << 20))


def test_only_the_canonical_form_is_decoded():
    data = Manifest.of("t", "1", [File("a", A, 1)]).encode()
    spaced = msgspec.json.format(data)
    for wrong in (
        spaced,
        data + b" ",
        data[:-1],
        b"",
        b"[]",
        b"\xff",
        data.replace(b'"task"', b'"tusk"'),
        b"[" * 100_000,
    ):
        with pytest.raises(DeployError):
            Manifest.decode(wrong)


@given(st.text(max_size=30))
def test_what_is_taken_stays_below_its_folder(path):
    try:
        check_path(path)
    except DeployError:
        return
    assert not path.startswith("/") and ".." not in path.split("/") and "\\" not in path and "\0" not in path


@given(st.binary(max_size=200))
def test_noise_is_no_manifest(data):
    with pytest.raises(DeployError):
        Manifest.decode(data)
