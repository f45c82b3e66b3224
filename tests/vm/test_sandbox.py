"""What the kernel refuses after entering a sandbox. Each case runs in a process of its own, as nothing can be undone."""

import json
import subprocess
import sys

import pytest

from walle_core.vm import _seccomp, sandbox

pytestmark = pytest.mark.skipif(
    sandbox.usable() != (True, sandbox.usable()[1]), reason="no seccomp for this machine"
)
LANDLOCK = sandbox.usable()[1]

PROGRAM = """
import json, os, socket, subprocess, sys, threading
from walle_core.vm import sandbox
from walle_core.vm.types import Policy
mode, folder, granted, tries = json.loads(sys.argv[1])
def attempt(code):
    try:
        return eval(code, {"os": os, "socket": socket, "subprocess": subprocess, "threading": threading, "folder": folder}) is not None or True
    except OSError as error:
        return error.errno
def run():
    policy = Policy(**granted)
    kept = sandbox.enter_thread(policy) if mode == "thread" else sandbox.enter_process(policy)
    results.append([[kept.seccomp, kept.landlock, kept.missing], [attempt(t) for t in tries]])
results = []
if mode == "thread":
    other = threading.Thread(target=run); other.start(); other.join()
    results.append([attempt(t) for t in tries[:3]])
else:
    run()
print(json.dumps(results))
"""


def inside(mode, folder, tries, **granted):
    asked = json.dumps([mode, str(folder), granted, tries])
    done = subprocess.run([sys.executable, "-c", PROGRAM, asked], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


MODES = {"thread": {}, "process": {}, "untrusted": {"untrusted": True}}
WAYS_OUT = [
    "open('/etc/passwd')", "os.listdir('/')", "open(folder + '/new', 'w')", "os.fork()", "os.kill(os.getppid(), 0)",
    "os.execv('/bin/true', ['true'])", "subprocess.run(['/bin/true'])", "socket.socket()", "os.chmod(folder, 0o700)",
    "os.unlink(folder + '/there')", "os.rename(folder + '/there', folder + '/x')", "os.mkdir(folder + '/y')",
    "os.setpriority(0, 0, 5)", "os.sched_setaffinity(0, {0})", "os.truncate(folder + '/there', 0)", "os.symlink('a', folder + '/z')",
    "os.mkfifo(folder + '/f')", "os.chroot('/')", "os.setxattr(folder, 'user.a', b'1')", "os.kill(os.getppid(), 18)",
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_every_way_out_is_shut(mode, tmp_path):
    (tmp_path / "there").write_text("x")
    first, *rest = inside(mode, tmp_path, WAYS_OUT, **MODES[mode])
    (seccomp, landlock, missing), found = first
    assert (seccomp, landlock, missing) == (True, LANDLOCK, [])
    assert [way for way, what in zip(WAYS_OUT, found, strict=True) if what not in (1, 13)] == []
    if mode == "thread":  # the main thread is as free as before
        assert rest[0][0] is True
        assert rest[0][1] is True
        assert (tmp_path / "new").exists()


@pytest.mark.parametrize("mode", MODES)
def test_computing_goes_on(mode, tmp_path):
    tries = [
        "threading.Thread(target=print, args=('',), kwargs={'end': ''}).start()", "os.urandom(8)", "__import__('decimal').Decimal(1)",
        "__import__('time').sleep(0.001)", "bytearray(50 << 20)", "os.memfd_create('x')", "__import__('mmap').mmap(-1, 4096)",
        "__import__('signal').raise_signal(28)", "__import__('walle_core').Tensor((3,))", "os.cpu_count()",
        "os.sched_getaffinity(0)", "__import__('resource').getrusage(0)",
    ]  # fmt: skip
    first, *_ = inside(mode, tmp_path, tries, **MODES[mode])
    assert first[1] == [True] * len(tries)


@pytest.mark.skipif(not LANDLOCK, reason="no landlock in this kernel")
@pytest.mark.parametrize("mode", MODES)
def test_granted_files_are_open_and_their_neighbours_shut(mode, tmp_path):
    for name in ("read", "write", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "there").write_text("x")
    tries = [
        "open(folder + '/read/there').read()", "open(folder + '/write/there').read()", "open(folder + '/write/new', 'w').write('a')",
        "os.unlink(folder + '/write/there')", "os.mkdir(folder + '/write/sub')", "os.listdir(folder + '/read')",
    ]  # fmt: skip
    refused = [
        "open(folder + '/other/there')", "open(folder + '/read/new', 'w')", "os.unlink(folder + '/read/there')",
        "open(folder + '/write/../other/there')", "os.rename(folder + '/write/new', folder + '/other/new')",
        "os.link(folder + '/other/there', folder + '/write/link')",
    ]  # fmt: skip
    granted = {
        "read": [str(tmp_path / "read"), str(tmp_path / "missing")],
        "write": [str(tmp_path / "write")],
    }
    first, *_ = inside(mode, tmp_path, [*tries, *refused], **granted, **MODES[mode])
    assert first[1][: len(tries)] == [True] * len(tries)
    assert all(what in (1, 13, 18) for what in first[1][len(tries) :]), first[1]


@pytest.mark.parametrize("mode", MODES)
def test_a_granted_network_is_open(mode, tmp_path):
    tries = ["socket.create_server(('127.0.0.1', 0)) and True"]
    assert inside(mode, tmp_path, tries, network=True, **MODES[mode])[0][1] == [True]
    assert inside(mode, tmp_path, tries, **MODES[mode])[0][1] == [1]


def test_an_exit_can_be_of_the_thread_alone():
    program = (
        "import os, threading, time\n"
        "from walle_core.vm import sandbox\nfrom walle_core.vm.types import Policy\n"
        "def run():\n    tids.append(threading.get_native_id()); sandbox.enter_thread(Policy(), exit_kills_thread=True); go.wait()\n"
        "tids, go = [], threading.Event()\n"
        "import ctypes\n"
        "def leave():\n    run(); ctypes.CDLL(None)._exit(3)\n"  # without the GIL, as the thread that ends would keep it
        "t = threading.Thread(target=leave, daemon=True); t.start(); go.set()\n"
        "for _ in range(500):\n"
        "    time.sleep(0.01)\n"
        "    if tids and not os.path.exists(f'/proc/self/task/{tids[0]}'): print('gone', flush=True); break\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("gone\n", -9)


def test_numbers_of_calls_are_the_kernels():
    if __import__("platform").machine() != "x86_64":
        pytest.skip("compares with the numbers of one processor")
    known = _seccomp.numbers()
    wanted = {"read": 0, "openat": 257, "seccomp": 317, "statx": 332, "rseq": 334, "clone3": 435, "prctl": 157, "exit_group": 231, "tgkill": 234, "pkey_free": 331, "mq_open": 240, "getcpu": 309}  # fmt: skip
    assert {name: known[name] for name in wanted} == wanted


def test_every_name_is_one_that_some_processor_has():
    known = {*_seccomp._X86, *_seccomp._GENERIC, *_seccomp._COMMON}
    lists = [
        sandbox._NEVER,
        sandbox._CHANGE_FILES,
        sandbox._OPEN,
        sandbox._NETWORK,
        sandbox._COMPUTE,
        sandbox._LOOK,
    ]
    assert {n for names in lists for n in names} - known == set()
    assert not set(sandbox._COMPUTE) & set(sandbox._NEVER)


def test_a_refused_filter_is_an_error():
    with pytest.raises(OSError, match="refuses the filter"):
        _seccomp.install(b"\xff" * 8, whole_process=False)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has no interpreters with a GIL of their own")
def test_an_interpreter_on_a_thread_in_a_sandbox():
    program = (
        "import threading\nfrom walle_core.vm import sandbox\nfrom walle_core.vm.host import worker\n"
        "from walle_core.vm.types import Limits, Policy, Task\n"
        "free = Policy(imports=frozenset({'os', 'json', 'socket'}))\n"
        "sources = ['import json\\ndef main(): return json.dumps([1])', 'import os\\ndef main(): return os.listdir(\"/\")',\n"
        "    'import socket\\ndef main(): socket.socket()', 'import os\\ndef main(): return os.kill(os.getppid(), 0)']\n"
        "def run():\n"
        "    made = worker('interpreter'); sandbox.enter_thread(Policy())\n"
        "    for source in sources:\n"
        "        ended = made.call(Task('t', source, policy=free), {}, Limits()); print(ended.value or ended.error.type)\n"
        "    made.close()\n"
        "t = threading.Thread(target=run); t.start(); t.join(); print(len(open('/etc/passwd').read()) > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[1]", "PermissionError", "PermissionError", "PermissionError", "True"]
