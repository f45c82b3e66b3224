"""Packages: what is in them, what loads, and that nothing else does."""

import importlib.util
import json
import marshal
import random
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walle_core.vm import package
from walle_core.vm.compiling import compile_task, find_python
from walle_core.vm.errors import PackageError, PolicyError
from walle_core.vm.package import SOURCE, Package, hmac_key, write
from walle_core.vm.types import Policy

SIGN, VERIFY = hmac_key(b"k" * 32)
TASK = '''
"""What it does."""
import helper
import math

def main(x):
    """Doc."""
    assert x > -1, "negative"
    return math.sqrt(x) + helper.two()
'''
HELPER = "def two():\n    return 2\n"
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def blob(text=b"def main():\n    return 7\n", magic=importlib.util.MAGIC_NUMBER):
    return magic + marshal.dumps(compile(text, "<task t>", "exec"))


def forms(**kinds):
    return {"main": {k.replace("_", "."): (v, 2) for k, v in kinds.items()}}


def of_here(**kinds):
    return write("t", "main", {"main": {HERE: (blob(), 2), **{k: (v, 0) for k, v in kinds.items()}}}, SIGN)


@pytest.fixture(scope="module")
def compiled():
    return compile_task("t", {"main": TASK, "helper": HELPER}, SIGN, pythons=[HERE])


def test_bytecode_of_this_python_is_what_runs(compiled):
    made = Package.open(compiled.data, VERIFY, name="t")
    assert made.chosen().python == HERE
    assert made.pythons() == [HERE]
    code = made.code()
    assert code.co_filename == "<task t>"
    assert code.co_consts[0] != "What it does."
    space = {
        "__builtins__": {**__builtins__, "__import__": lambda *a: {"math": __import__("math")}.get(a[0])}
    }
    exec(code, space)
    assert space["main"].__doc__ is None


def test_asserts_and_docstrings_stay_at_level_0():
    made = compile_task("t", {"main": TASK, "helper": HELPER}, SIGN, pythons=[HERE], optimize=0)
    assert Package.open(made.data, VERIFY).code().co_consts[0] == "What it does."


def test_without_lines_it_is_smaller(compiled):
    bare = compile_task("t", {"main": TASK, "helper": HELPER}, SIGN, pythons=[HERE], lines=False)
    assert bare.forms[1].bytes < compiled.forms[1].bytes
    assert Package.open(bare.data, VERIFY).code().co_linetable == b""


def test_report_names_source_and_pythons(compiled):
    assert [f.python for f in compiled.forms] == [SOURCE, HERE]
    assert compiled.forms[0].bytes == len(TASK) + len(HELPER)
    assert all(f.packed > 0 and f.load_s > 0 for f in compiled.forms)


def test_a_python_that_is_not_here_is_told_and_the_source_stands_in():
    made = compile_task("t", {"main": TASK, "helper": HELPER}, SIGN, pythons={HERE: "", "3.9": ""})
    assert made.missing == (HERE, "3.9")
    opened = Package.open(made.data, VERIFY)
    assert opened.chosen().python == SOURCE
    assert opened.code().co_filename == "<t>"


def test_an_interpreter_of_another_version_than_it_is_said_to_be_is_refused():
    with pytest.raises(PackageError, match=r"not CPython 3\.10"):
        compile_task("t", {"main": HELPER}, SIGN, pythons={"3.10": sys.executable})


@pytest.mark.parametrize("program", ["/does/not/exist", "/bin/false"])
def test_an_interpreter_that_fails_is_named(program):
    with pytest.raises(PackageError, match=re.escape(program)):
        compile_task("t", {"main": HELPER}, SIGN, pythons={HERE: program})


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_each_version_is_compiled_by_its_own_python(version, tmp_path):
    other = find_python(version)
    if other is None:
        pytest.skip(f"no Python {version} here")
    made = compile_task("t", {"main": "def main():\n    return 7\n"}, SIGN, pythons=[version], source=False)
    opened = Package.open(made.data, VERIFY)
    raw = package._unpacked(opened.modules["main"][0], opened.data)
    (tmp_path / "code").write_bytes(raw)
    program = (
        "import marshal, sys, importlib.util as u; raw = open(sys.argv[1], 'rb').read(); s = {};"
        "assert raw[:4] == u.MAGIC_NUMBER; exec(marshal.loads(raw[4:]), s); print(s['main']())"
    )
    done = subprocess.run(
        [other, "-c", program, tmp_path / "code"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "7"
    if version != HERE:
        with pytest.raises(PackageError, match="compile it for"):
            opened.code()


def test_what_the_policy_does_not_grant_is_refused_when_compiled():
    with pytest.raises(PolicyError, match="line 1: imports 'socket'"):
        compile_task("t", {"main": "import socket\n"}, SIGN, pythons=[HERE])
    compile_task("t", {"main": "import socket\n"}, SIGN, pythons=[], policy=Policy(network=True))
    with pytest.raises(PolicyError, match="no Python"):
        compile_task("t", {"main": "def\n"}, SIGN, pythons=[HERE])


def test_a_weak_key_is_refused():
    with pytest.raises(PackageError, match="16 bytes"):
        hmac_key(b"short")


def test_another_key_another_name_and_an_error_of_the_verifier_are_refused():
    data = of_here()
    with pytest.raises(PackageError, match="not signed"):
        Package.open(data, hmac_key(b"o" * 32)[1])
    with pytest.raises(PackageError, match="of task 't', not of 'u'"):
        Package.open(data, VERIFY, name="u")

    def raising(message, signature):
        raise ValueError("revoked")

    with pytest.raises(PackageError, match="revoked"):
        Package.open(data, raising)


def test_nothing_is_parsed_before_the_signature_fits(monkeypatch):
    data = bytearray(of_here())
    data[30] ^= 1
    monkeypatch.setattr(package.json, "loads", lambda _: pytest.fail("parsed"))
    with pytest.raises(PackageError):
        Package.open(bytes(data), VERIFY)


def test_wrong_magic_falls_back_to_source_or_is_refused(monkeypatch):
    wrong = blob(magic=b"\x00\x0d\x0d\x0a")
    text = b"def main():\n    return 1\n"
    monkeypatch.setattr(package.marshal, "loads", lambda _: pytest.fail("loaded"))
    made = Package.open(write("t", "main", {"main": {HERE: (wrong, 2), SOURCE: (text, 0)}}, SIGN), VERIFY)
    assert made.payload() == b"text" + text
    bare = Package.open(write("t", "main", {"main": {HERE: (wrong, 2)}}, SIGN), VERIFY)
    with pytest.raises(PackageError, match="without source"):
        bare.code()


def test_a_manifest_that_lies_about_the_magic_is_refused(monkeypatch):
    right = importlib.util.MAGIC_NUMBER.hex().encode()
    wrong = blob(magic=b"\x00\x0d\x0d\x0a")

    def lying(message):
        return SIGN(message.replace(b"000d0d0a", right))

    data = write("t", "main", {"main": {HERE: (wrong, 2)}}, lying).replace(b"000d0d0a", right)
    monkeypatch.setattr(package.marshal, "loads", lambda _: pytest.fail("loaded"))
    with pytest.raises(PackageError, match="another Python"):
        Package.open(data, VERIFY).code()


def test_bytecode_under_another_version_is_not_looked_at(monkeypatch):
    made = Package.open(write("t", "main", {"main": {"2.7": (b"\xff" * 100, 2)}}, SIGN), VERIFY)
    monkeypatch.setattr(package.marshal, "loads", lambda _: pytest.fail("loaded"))
    with pytest.raises(PackageError, match=r"compiled for Python 2\.7"):
        made.code()


@pytest.mark.parametrize(
    "payload", [b"", b"tex", b"\x00\x0d\x0d\x0a", importlib.util.MAGIC_NUMBER, b"text\x00", b"textdef"]
)
def test_payloads_that_are_no_code(payload):
    with pytest.raises(PackageError):
        package.load(payload)


def test_what_is_not_code_is_refused():
    with pytest.raises(PackageError, match="int"):
        package.load(importlib.util.MAGIC_NUMBER + marshal.dumps(1))


def corrupted(draw, whole, others):
    """One wrong package, and what was done to it."""
    data = bytearray(whole)
    how = draw.randrange(7)
    if how == 0:
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == 1:
        del data[draw.randrange(len(data)) :]
    elif how == 2:
        data += draw.randbytes(draw.randint(1, 64))
    elif how == 3:
        at = draw.randrange(len(data))
        data[at : at + draw.randint(1, 32)] = draw.randbytes(draw.randint(0, 32))
    elif how == 4:
        other, at = draw.choice(others), draw.randrange(12, len(data))
        data = data[:at] + other[min(at, len(other) - 1) :]
    elif how == 5:
        a, b = sorted(draw.sample(range(len(data)), 2))
        data[a:b] = bytes(reversed(data[a:b]))
    else:  # well signed, for another Python
        magic = bytes([draw.randrange(256), 0x0B, 0x0D, 0x0A])
        data = bytearray(
            write("t", "main", {"main": {draw.choice([HERE, "3.2", "4.0"]): (blob(magic=magic), 2)}}, SIGN)
        )
    return bytes(data)


def test_ten_thousand_wrong_packages_are_refused_before_a_byte_of_code_is_read(monkeypatch):
    whole = of_here(source=b"def main(): return 1\n")
    others = [
        of_here(),
        write("u", "main", {"main": {HERE: (blob(b"x = 1\n"), 2)}}, SIGN),
        of_here(source=b"def main(): pass\n"),
    ]
    assert Package.open(whole, VERIFY).code()  # the right one loads
    monkeypatch.setattr(package.marshal, "loads", lambda _: pytest.fail("marshal read a wrong package"))
    draw = random.Random(7)
    refused = 0
    while refused < 10_000:
        data = corrupted(draw, whole, others)
        if data in (whole, *others):
            continue
        with pytest.raises(PackageError):
            Package.open(data, VERIFY).code()
        refused += 1


def test_even_what_a_careless_signer_has_signed_is_an_error_and_no_crash(monkeypatch):
    """The same with a verifier that takes everything: digests and the manifest's own checks remain."""
    whole = of_here()
    code = Package.open(whole, VERIFY).code()
    loads = package.marshal.loads
    seen = []
    monkeypatch.setattr(package.marshal, "loads", lambda raw: seen.append(raw) or loads(raw))
    draw = random.Random(8)
    for _ in range(5000):
        try:
            found = Package.open(corrupted(draw, whole, [whole]), lambda m, s: True).code()
        except PackageError:
            continue
        assert found == code  # only the signature was altered
    assert set(seen) == {blob()[4:]}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "entry", "bytes", "modules", "main", "python", "at", "size"]),
                x,
                max_size=5,
            )
        ),
        max_leaves=10,
    )
)
def test_any_manifest_is_read_or_refused(value):
    manifest = json.dumps(value).encode()
    message = package.BEGIN + package._number(1) + package._number(len(manifest)) + manifest
    with pytest.raises(PackageError):
        Package.open(message + package._number(0), lambda m, s: True)


def test_a_blob_that_unpacks_to_more_than_it_says_is_refused(monkeypatch):
    import zlib

    real = zlib.compress
    monkeypatch.setattr(package.zlib, "compress", lambda raw, level: real(raw + b"0" * 1000, level))
    with pytest.raises(PackageError, match="another size"):
        Package.open(of_here(), VERIFY).code()
