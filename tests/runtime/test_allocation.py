"""A run in steady state asks the allocator for nothing: counted by a malloc that is laid over the real one."""

import os
import shutil
import subprocess
import sys

import pytest

from walle_core.plugins import load_plugins

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);
static atomic_long calls;
long walle_allocations(void) { return calls; }
void* malloc(size_t n) { ++calls; return __libc_malloc(n); }
void* calloc(size_t n, size_t m) { ++calls; return __libc_calloc(n, m); }
void* realloc(void* p, size_t n) { ++calls; return __libc_realloc(p, n); }
void* memalign(size_t a, size_t n) { ++calls; return __libc_memalign(a, n); }
void* aligned_alloc(size_t a, size_t n) { ++calls; return __libc_memalign(a, n); }
int posix_memalign(void** p, size_t a, size_t n) { ++calls; return (*p = __libc_memalign(a, n)) ? 0 : 12; }
"""

RUN = """
import ctypes, gc, sys
import numpy as np
import walle_core as walle
from walle_core.graph.builder import Builder

count = ctypes.CDLL(None).walle_allocations
count.restype = ctypes.c_long
g = Builder()
x = g.input("x", "float32", (1, 16, 20, 20))
rng = np.random.RandomState(0)
for i in range(6):
    w = g.const(walle.Tensor.wrap(rng.uniform(-1, 1, (16, 16, 3, 3)).astype(np.float32)))
    x = g.Relu(g.Add(g.Conv(x, w, pads=(1, 1, 1, 1)), x))
y = g.Softmax(g.Transpose(x, perm=(0, 2, 3, 1)), axis=-1)
session = walle.Session(g.graph([y]), backend=sys.argv[1], threads=int(sys.argv[2]))
program = session.plan.parts[0].executable.program
feeds = [walle.Tensor.wrap(rng.uniform(-1, 1, (1, 16, 20, 20)).astype(np.float32))]
for _ in range(20):
    program.run(feeds)
gc.disable()
before = count()
assert before > 1000, "the counting allocator is not in place"
for _ in range(200):
    program.run(feeds)
native = count() - before
for _ in range(20):
    session.run(feeds)
before = count()
for _ in range(200):
    session.run(feeds)
print(native, count() - before)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None or os.confstr("CS_GNU_LIBC_VERSION") is None:
        pytest.skip("counts by preloading over glibc's malloc, with a C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"]
    subprocess.run(command, check=True)
    return folder / "shim.so"


@pytest.mark.parametrize("threads", [1, 2])
def test_runs_allocate_nothing(shim, backend, threads):
    if not hasattr(load_plugins().backends[backend], "kernels"):
        pytest.skip("NumPy and drivers of devices allocate; the promise is that of native programs")
    env = {**os.environ, "LD_PRELOAD": str(shim)}
    command = [sys.executable, "-c", RUN, backend, str(threads)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    native, whole = map(int, done.stdout.split())
    assert native == 0, f"{native} allocations in 200 native runs"
    assert whole == 0, f"{whole} allocations in 200 calls of Session.run"
