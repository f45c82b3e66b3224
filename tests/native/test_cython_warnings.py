"""Cython's warnings are errors here: it warns about what cannot work in several interpreters at once.

Not in setup.py, where a warning that a newer Cython adds would keep people from installing an older release.
"""

import subprocess
import sys

import pytest
from other_pythons import ROOT, compiled_sources

pytest.importorskip("Cython")
HEAD = "# cython: language_level=3, subinterpreters_compatible=own_gil, freethreading_compatible=True\n"
UNSAFE = {
    "cdef global": "cdef object kept = None\n",
    "typed memoryview": "def total(double[:] x):\n    return x[0]\n",
    "cpdef enum": "cpdef enum Colour:\n    RED\n",
    "with gil": "cdef void call() noexcept nogil:\n    with gil:\n        print()\ndef go():\n    call()\n",
}


def translate(source, folder):
    """What Cython says about a source file, and whether it takes it."""
    command = [sys.executable, "-m", "cython", "--cplus", "-Werror", source, "-o", folder / "made.cpp"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", compiled_sources(), ids=lambda p: p.name)
def test_no_warning(source, tmp_path):
    accepted, said = translate(source, tmp_path)
    assert accepted, said


@pytest.mark.parametrize("what", UNSAFE)
def test_unsafe_construct_is_refused(what, tmp_path):
    source = tmp_path / "unsafe.pyx"
    source.write_text(HEAD + UNSAFE[what])
    accepted, said = translate(source, tmp_path)
    assert not accepted
    assert "subinterpreter" in said
