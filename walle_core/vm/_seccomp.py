"""Filters of system calls (seccomp), built as BPF here: no libseccomp, no ctypes.

A filter is a list of 8-byte instructions that the kernel runs on every system call of what it is attached to: one thread, or all
threads of a process. It cannot be taken off again and is inherited by what is started later. Layouts and constants are those of
``linux/seccomp.h``, ``linux/filter.h`` and the tables of system calls of the kernel.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from collections.abc import Iterable, Mapping

from walle_core.vm import _system

_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
ALLOW, KILL_THREAD, KILL_PROCESS = 0x7FFF0000, 0x00000000, 0x80000000
_X32 = 0x40000000
_PR_SET_NO_NEW_PRIVS, _FILTER, _TSYNC = 38, 1, 1
CLONE_THREAD = 0x10000


def refuse(code: int = errno.EPERM) -> int:
    """The verdict that fails a call with errno `code`."""
    return 0x00050000 | code


_X86 = """read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn ioctl
pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 pause
nanosleep getitimer alarm setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen
getsockname getpeername socketpair setsockopt getsockopt clone fork vfork execve exit wait4 kill uname semget semop semctl shmdt
msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat
link unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo times ptrace getuid
syslog getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid
getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo
rt_sigsuspend sigaltstack utime mknod uselib personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam
sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock
munlock mlockall munlockall vhangup modify_ldt pivot_root _sysctl prctl arch_prctl adjtimex setrlimit chroot sync acct
settimeofday mount umount2 swapon swapoff reboot sethostname setdomainname iopl ioperm create_module init_module delete_module
get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg afs_syscall tuxcall security gettid readahead setxattr lsetxattr
fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex
sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents io_submit io_cancel get_thread_area
lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old remap_file_pages getdents64 set_tid_address restart_syscall semtimedop
fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime clock_getres
clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes vserver mbind set_mempolicy get_mempolicy mq_open mq_unlink
mq_timedsend mq_timedreceive mq_notify mq_getsetattr kexec_load waitid add_key request_key keyctl ioprio_set ioprio_get
inotify_init inotify_add_watch inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat unlinkat
renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare set_robust_list get_robust_list splice tee
sync_file_range vmsplice move_pages utimensat epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime
timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo
perf_event_open recvmmsg fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg
setns getcpu process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom
memfd_create kexec_file_load bpf execveat userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc
pkey_free statx""".split()  # numbers 0, 1, 2, …

# The generic table (linux/asm-generic), of 64-bit ARM and what came later: only what the lists below name.
_GENERIC: Mapping[str, int] = {
    "io_setup": 0, "setxattr": 5, "getcwd": 17, "eventfd2": 19, "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22, "dup": 23, "dup3": 24,
    "fcntl": 25, "ioctl": 29, "flock": 32, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38,
    "umount2": 39, "mount": 40, "statfs": 43, "fstatfs": 44, "truncate": 45, "ftruncate": 46, "faccessat": 48, "chdir": 49, "fchdir": 50,
    "chroot": 51, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "openat": 56, "close": 57, "pipe2": 59, "getdents64": 61,
    "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68, "pselect6": 72, "ppoll": 73, "readlinkat": 78,
    "newfstatat": 79, "fstat": 80, "fsync": 82, "fdatasync": 83, "utimensat": 88, "exit": 93, "exit_group": 94, "waitid": 95, "set_tid_address": 96,
    "unshare": 97, "futex": 98, "set_robust_list": 99, "nanosleep": 101, "getitimer": 102, "setitimer": 103, "clock_gettime": 113,
    "clock_getres": 114, "clock_nanosleep": 115, "ptrace": 117, "sched_getaffinity": 123, "sched_yield": 124, "restart_syscall": 128,
    "kill": 129, "tkill": 130, "tgkill": 131, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
    "setpriority": 140, "getrlimit": 163, "setrlimit": 164, "getrusage": 165, "prctl": 167, "getcpu": 168, "gettimeofday": 169, "getpid": 172,
    "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "gettid": 178, "sysinfo": 179, "socket": 198, "socketpair": 199,
    "bind": 200, "listen": 201, "accept": 202, "connect": 203, "getsockname": 204, "getpeername": 205, "sendto": 206, "recvfrom": 207,
    "setsockopt": 208, "getsockopt": 209, "shutdown": 210, "sendmsg": 211, "recvmsg": 212, "brk": 214, "munmap": 215, "mremap": 216,
    "clone": 220, "execve": 221, "mmap": 222, "fadvise64": 223, "mprotect": 226, "mincore": 232, "madvise": 233, "accept4": 242,
    "prlimit64": 261, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "renameat2": 276, "seccomp": 277, "getrandom": 278,
    "memfd_create": 279, "bpf": 280, "execveat": 281, "userfaultfd": 282, "membarrier": 283, "mlock2": 284, "statx": 291,
}  # fmt: skip
_COMMON = {  # the same everywhere
    "rseq": None, "pidfd_send_signal": 424, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430, "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437,
    "pidfd_getfd": 438, "faccessat2": 439, "epoll_pwait2": 441, "mount_setattr": 442, "landlock_create_ruleset": 444, "landlock_add_rule": 445,
    "landlock_restrict_self": 446, "memfd_secret": 447, "futex_waitv": 449, "fchmodat2": 452,
}  # fmt: skip
_MACHINES: Mapping[str, tuple[int, Mapping[str, int], int]] = {
    "x86_64": (0xC000003E, {name: number for number, name in enumerate(_X86)}, 334),
    "aarch64": (0xC00000B7, _GENERIC, 293),
}


def supported() -> bool:
    """Whether filters are known for this kernel and processor."""
    return platform.system() == "Linux" and platform.machine() in _MACHINES


def numbers() -> dict[str, int]:
    """Numbers of system calls by name, on this processor. Empty where none are known."""
    if not supported():
        return {}
    _, table, rseq = _MACHINES[platform.machine()]
    return {**table, **{name: rseq if n is None else n for name, n in _COMMON.items()}}


def program(
    default: int,
    verdicts: Mapping[int, Iterable[str]],
    *,
    own_process: Iterable[str] = (),
    allow_thread_start: bool = True,
) -> bytes:
    """BPF instructions.

    Args:
        default: verdict on calls that are not named.
        verdicts: verdict -> names of calls; a name that this processor does not have is left out.
        own_process: calls whose first argument must be this process (``tgkill``), or 0 (``prlimit64``); others fail with EPERM.
        allow_thread_start: ``clone`` may start threads, though never processes.
    """
    arch, _, _ = _MACHINES[platform.machine()]
    known = numbers()
    code = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, arch),
        (_RETURN, 0, 0, KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if platform.machine() == "x86_64":
        code += [(_JGE, 0, 1, _X32), (_RETURN, 0, 0, refuse())]
    code += [  # glibc falls back to clone, whose flags a filter can see
        (_JEQ, 0, 1, known["clone3"]),
        (_RETURN, 0, 0, refuse(errno.ENOSYS)),
        (_JEQ, 0, 4, known["clone"]),
        (_LOAD, 0, 0, _ARGUMENTS),
        (_JSET, 0, 1, CLONE_THREAD),
        (_RETURN, 0, 0, ALLOW if allow_thread_start else refuse()),
        (_RETURN, 0, 0, refuse()),
    ]
    pid = os.getpid()
    for name in own_process:
        code += [
            (_JEQ, 0, 5, known[name]),
            (_LOAD, 0, 0, _ARGUMENTS),
            (_JEQ, 1, 0, pid),
            (_JEQ, 0, 1, 0),
            (_RETURN, 0, 0, ALLOW),
            (_RETURN, 0, 0, refuse()),
        ]
    for verdict, names in verdicts.items():
        for name in sorted(set(names)):
            if name in known:
                code += [(_JEQ, 0, 1, known[name]), (_RETURN, 0, 0, verdict)]
    code.append((_RETURN, 0, 0, default))
    return b"".join(struct.pack("=HBBI", *row) for row in code)


def install(instructions: bytes, *, whole_process: bool) -> None:
    """Attaches a program to the calling thread, or to all threads of the process. It stays until they end.

    Raises:
        OSError: the kernel refuses it.
    """
    known = numbers()
    done = _system.call(known["prctl"], _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if done == 0:
        header = struct.pack("@HxxxxxxQ", len(instructions) // 8, _system.address(instructions))
        done = _system.call(known["seccomp"], _FILTER, _TSYNC if whole_process else 0, header)
    if done:
        raise OSError(-done if done < 0 else errno.ESRCH, "seccomp refuses the filter")
