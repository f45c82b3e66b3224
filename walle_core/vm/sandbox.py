"""What the kernel refuses to a task: system calls (seccomp), files (landlock), amounts (resource limits).

docs/task-vm.md says what each kind of isolation keeps. Interpreters enter `enter_worker`, those of confined tasks `enter_thread`, processes
`enter_process`. Threads share memory, so a filter on one of them stops Python code, never native code. A process of trusted tasks
refuses the known ways out and allows the rest; one of untrusted tasks allows a short list of calls and refuses the rest.
Nothing can be taken off again: a thread or process that has entered a sandbox is for tasks of that policy until it ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import attrs

from walle_core.vm import _landlock, _seccomp
from walle_core.vm.types import Policy

# Refused to every task: other processes, privileges, the kernel's settings, other users' view of files.
_NEVER = """execve execveat fork vfork kill tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal pidfd_getfd ptrace
process_vm_readv process_vm_writev kcmp mount umount2 move_mount open_tree fsopen mount_setattr chroot pivot_root unshare setns
personality prctl seccomp bpf perf_event_open userfaultfd io_uring_setup io_setup keyctl add_key request_key setuid setgid setreuid
setregid setresuid setresgid setgroups setrlimit setpriority sched_setaffinity sched_setscheduler sched_setattr modify_ldt iopl
ioperm reboot swapon swapoff init_module finit_module delete_module kexec_load kexec_file_load acct quotactl settimeofday
clock_settime adjtimex clock_adjtime sethostname setdomainname syslog fanotify_init name_to_handle_at open_by_handle_at memfd_secret
chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
mknod mknodat shmget shmat semget msgget mq_open landlock_create_ruleset landlock_restrict_self setsid setpgid""".split()
_CHANGE_FILES = """creat truncate rename renameat renameat2 mkdir mkdirat rmdir unlink unlinkat link linkat symlink symlinkat
utime utimes utimensat futimesat""".split()
_OPEN = ["open", "openat", "openat2"]
_NETWORK = "socket connect bind listen accept accept4".split()
_MOVE = ["chdir", "fchdir"]  # the folder is the whole process's

# All that a Python process needs to compute, and to talk over descriptors that it was given.
_COMPUTE = """read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64 pwrite64 readv
writev select pselect6 poll ppoll sched_yield mremap mincore madvise dup dup2 dup3 pipe pipe2 nanosleep clock_nanosleep clock_gettime
clock_getres gettimeofday time getpid getppid gettid getuid geteuid getgid getegid sendmsg recvmsg sendto recvfrom exit exit_group fcntl
flock fsync fdatasync ftruncate getcwd getrlimit getrusage sysinfo uname times sigaltstack futex futex_waitv sched_getaffinity getcpu
set_tid_address restart_syscall set_robust_list rseq membarrier getrandom memfd_create eventfd2 epoll_create1 epoll_ctl epoll_wait
epoll_pwait epoll_pwait2 mlock2 fadvise64 arch_prctl shutdown getitimer setitimer""".split()
_LOOK = """open openat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getdents64 statfs fstatfs""".split()
_OWN = ("tgkill",)  # abort() and raise() signal the process itself


@attrs.frozen
class Kept:
    """What holds after entering a sandbox.

    Attributes:
        seccomp: calls are filtered.
        landlock: the kernel's version of landlock; 0: files are kept shut by the filter, or not at all.
        missing: what the policy asks for and this machine cannot keep, in words.
    """

    seccomp: bool
    landlock: int
    missing: tuple[str, ...] = ()


def enter_thread(policy: Policy, *, exit_kills_thread: bool = False) -> Kept:
    """Binds the calling thread, for ever, to what `policy` grants. Import what tasks need first, where there is no landlock.

    Args:
        policy: grants.
        exit_kills_thread: a task that finds ``os._exit`` ends this thread, with the interpreter on it, and not the process.
    """
    return _enter(
        policy, strict=False, whole=False, exit_kills_thread=exit_kills_thread, code=module_folders()
    )


def enter_worker() -> None:
    """Binds the calling thread, for ever, to what the tasks of every policy keep to: no other programs and processes, no privileges,
    the process's folder as it is, and a task that finds ``os._exit`` ends this thread, with the interpreter on it, and no more.

    Files and networks stay open: one interpreter's tasks are granted different ones. Raises OSError where there is no filter.
    """
    if not _seccomp.supported():
        raise OSError("filters of system calls are known for Linux on x86-64 and ARM only")
    refused = [name for name in _NEVER if not name.endswith(("chmod", "chmodat", "chmodat2"))]
    verdicts = {_seccomp.KILL_THREAD: ["exit_group"], _seccomp.refuse(): [*refused, *_MOVE]}
    _seccomp.install(_seccomp.program(_seccomp.ALLOW, verdicts, own_process=_OWN), whole_process=False)


def enter_process(policy: Policy, *, code: Iterable[str] | None = None) -> Kept:
    """Binds the whole process, for ever, to what `policy` grants; with ``policy.untrusted`` to a short list of calls.

    Args:
        policy: grants.
        code: files and folders that imports may read; default: `module_folders`.

    Landlock binds the calling thread and its children: call this before there are others.
    """
    return _enter(
        policy, strict=policy.untrusted, whole=True, exit_kills_thread=False,
        code=module_folders() if code is None else code,
    )  # fmt: skip


def module_folders() -> list[str]:
    """Where modules are imported from, and where the linker finds what compiled ones need."""
    found = [str(Path(__file__).resolve().parents[1])]  # which an editable installation finds without a path
    found += [p for p in sys.path if p] + [sys.prefix, sys.base_prefix]
    found += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"]
    found += [
        "/dev/null",
        "/dev/urandom",
        "/sys/devices/system/cpu",
        "/proc/cpuinfo",
        "/usr/share/zoneinfo",
        "/etc/localtime",
    ]
    return list(dict.fromkeys(found))


def _enter(
    policy: Policy, *, strict: bool, whole: bool, exit_kills_thread: bool, code: Iterable[str]
) -> Kept:
    missing = []
    abi = 0
    try:
        abi = _landlock.restrict([*code, *policy.read], policy.write, network=policy.network)
    except OSError as error:
        if policy.read or policy.write:
            missing.append(f"granted files: {error}, so all are refused")
    filtered = _seccomp.supported()
    if filtered:
        try:
            _seccomp.install(
                _filter(
                    policy, strict=strict, files=bool(abi), exit_kills_thread=exit_kills_thread, whole=whole
                ),
                whole_process=whole,
            )
        except OSError as error:
            filtered = False
            missing.append(f"system calls: {error}")
    else:
        missing.append("system calls: no table for this system and processor")
    return Kept(filtered, abi, tuple(missing))


def _filter(policy: Policy, *, strict: bool, files: bool, exit_kills_thread: bool, whole: bool) -> bytes:
    exits = {_seccomp.KILL_THREAD: ["exit_group"]} if exit_kills_thread else {}
    changes = files and bool(policy.write)
    if strict:
        allowed = [*_COMPUTE, *(_LOOK if files else [])]
        allowed += [*_CHANGE_FILES] if changes else []
        allowed += (
            [*_NETWORK, "getsockname", "getpeername", "setsockopt", "getsockopt"] if policy.network else []
        )
        return _seccomp.program(_seccomp.refuse(), {_seccomp.ALLOW: allowed}, own_process=_OWN)
    refused = [*_NEVER, *([] if changes else _CHANGE_FILES), *([] if files else _OPEN)]
    refused += [] if policy.network else _NETWORK
    refused += [] if whole else _MOVE
    return _seccomp.program(_seccomp.ALLOW, {**exits, _seccomp.refuse(): refused}, own_process=_OWN)


def limit_process(*, files: int = 64, core: bool = False) -> None:
    """Limits of a process that hold for all its runs: open files, and no memory image when it crashes."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if not core:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def memory_of(pid: int) -> tuple[int, int]:
    """Bytes of address space and of private memory of process `pid`. Raises OSError if it is gone."""
    with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
        fields = file.read().split()
    return int(fields[0]) * _PAGE, int(fields[5]) * _PAGE


def limit_memory(pid: int, more: int, *, size: int, data: int, mapped: int = 0, shared: int = 0) -> None:
    """Lets process `pid` allocate `more` bytes beyond what it has now; the rest of its allocations fail.

    Args:
        pid: a process of the same user.
        more: bytes of private memory, and of any file that it writes.
        size, data: as `memory_of` gave them.
        mapped: bytes that it will be handed as shared memory, beside these.
        shared: bytes that it may map besides, read-only.

    Raises:
        OSError: the process is gone.
    """
    import resource

    hard = resource.RLIM_INFINITY
    # Threads reserve address space that they never touch; it is bounded all the same, for memory shared with nobody.
    resource.prlimit(pid, resource.RLIMIT_AS, (size + mapped + shared + more + _RESERVE, hard))
    resource.prlimit(pid, resource.RLIMIT_DATA, (data + mapped + more, hard))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (more + mapped, hard))


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_RESERVE = 256 << 20


def usable() -> tuple[bool, int]:
    """Whether filters of calls can be made here, and the version of landlock (0: none)."""
    return _seccomp.supported(), _landlock.version() if os.name == "posix" else 0
