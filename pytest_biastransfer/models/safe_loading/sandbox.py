"""Restricts a process that runs an untrusted program: it cannot change files, start programs, or reach other processes.

Two mechanisms of Linux apply for the rest of the process's life. A seccomp filter refuses the system calls that create,
change or remove files, start programs, open connections, or access other processes. Landlock, where the kernel has it,
also refuses any write to a file, independently of the system call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from types import MappingProxyType
from typing import Final

# The numbers of system calls of 64-bit Linux on x86-64 and on ARM (include/uapi/asm-generic/unistd.h).
_X86: Final = MappingProxyType(
    {"open": 2, "ioctl": 16, "socket": 41, "connect": 42, "bind": 49, "listen": 50, "execve": 59, "kill": 62,
     "truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink":
     88, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "ptrace": 101, "rt_sigqueueinfo":
     129, "utime": 132, "mknod": 133, "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163,
     "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
     "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module":
     176, "quotactl": 179, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197,
     "lremovexattr": 198, "fremovexattr": 199, "tkill": 200, "clock_settime": 227, "tgkill": 234, "utimes": 235,
     "mq_open": 240, "mq_unlink": 241, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
     "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "futimesat": 261, "unlinkat": 263,
     "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "unshare": 272, "utimensat": 280,
     "rt_tgsigqueueinfo": 297, "perf_event_open": 298, "prlimit64": 302, "open_by_handle_at": 304,
     "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "finit_module": 313,
     "renameat2": 316, "seccomp": 317, "kexec_file_load": 320, "bpf": 321, "execveat": 322, "userfaultfd": 323}
)  # fmt: skip
_ARM: Final = MappingProxyType(
    {"setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
     "ioctl": 29, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38,
     "umount2": 39, "mount": 40, "pivot_root": 41, "truncate": 45, "chroot": 51, "fchmod": 52, "fchmodat": 53,
     "fchownat": 54, "fchown": 55, "openat": 56, "quotactl": 60, "utimensat": 88, "acct": 89, "unshare": 97,
     "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112, "ptrace": 117, "kill":
     129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "reboot": 142, "sethostname": 161,
     "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "mq_open": 180, "mq_unlink": 181, "socket":
     198, "bind": 200, "listen": 201, "connect": 203, "add_key": 217, "request_key": 218, "keyctl": 219,
     "execve": 221, "swapon": 224, "swapoff": 225, "rt_tgsigqueueinfo": 240, "perf_event_open": 241,
     "prlimit64": 261, "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
     "process_vm_writev": 271, "finit_module": 273, "renameat2": 276, "seccomp": 277, "bpf": 280, "execveat":
     281, "userfaultfd": 282, "kexec_file_load": 294}
)  # fmt: skip
# Newer calls have the same number on all machines.
_NEW: Final = MappingProxyType(
    {"pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
     "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
     "pidfd_open": 434, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442, "fchmodat2": 452,
     "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467, "file_setattr": 469}
)  # fmt: skip
_MACHINES: Final = MappingProxyType({"x86_64": (0xC000003E, _X86), "aarch64": (0xC00000B7, _ARM)})
# x32 calls have this bit set. They would bypass the list of numbers, so all of them are refused.
_X32_CALLS: Final = 0x40000000
# To open for writing (O_WRONLY, O_RDWR), to create (O_CREAT), to truncate (O_TRUNC).
_WRITING: Final = 0o1 | 0o2 | 0o100 | 0o1000
# The index of the argument with the flags.
_OPENING: Final = MappingProxyType({"open": 1, "openat": 2})
# Allowed to the process itself only: abort() ends a process by a signal.
_SIGNALS: Final = ("kill", "tkill", "tgkill")
# TIOCSTI and TIOCLINUX, which can insert characters into a terminal as if they were typed.
_TYPING: Final = (0x5412, 0x541C)
_CONDITIONAL: Final = frozenset({*_OPENING, *_SIGNALS, "ioctl", "prlimit64", "seccomp"})

# BPF instructions: load a word, compare for equality, compare for order, test bits, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CALL, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_SET_FILTER, _ALL_THREADS = 1, 1
_NO_NEW_PRIVILEGES: Final = 38

# Landlock: the numbers of its calls, and the rights that each version of its interface can refuse.
_LANDLOCK_CREATE, _LANDLOCK_ENFORCE = 444, 446
_LANDLOCK_VERSION: Final = 1
# Version 1: execute, write, remove and create files; 2: move them between directories; 3: truncate them.
_FILES: Final = MappingProxyType({1: 0x1FF3, 2: 0x2000, 3: 0x4000})
_TCP: Final = (4, 0b11)
_OUTSIDE: Final = (6, 0b11)


class SandboxError(Exception):
    """The reason why this system cannot keep a process from changing files."""


def unsupported() -> str | None:
    """Return why this system has no sandbox, or None if only `enter` can tell."""
    if not sys.platform.startswith("linux"):
        return f"{platform.system() or sys.platform} has no sandbox that this package knows"
    if platform.machine() not in _MACHINES or struct.calcsize("P") != 8:
        return f"its filter is not known for {platform.machine()} machines"
    return None


def enter() -> None:
    """Restrict this process and its threads for the rest of their life.

    Raises `SandboxError` if the kernel or the container does not allow it.
    """
    reason = unsupported()
    if reason is not None:
        raise SandboxError(reason)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise SandboxError(f"prctl(PR_SET_NO_NEW_PRIVS): {os.strerror(ctypes.get_errno())}")
    _restrict_files(libc)
    _filter_calls(libc)


def _restrict_files(libc: ctypes.CDLL) -> None:
    """Enforce a Landlock ruleset without exceptions; do nothing where the kernel has no Landlock."""
    version = _system_call(libc, _LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return
    files = sum(rights for since, rights in _FILES.items() if version >= since)
    rights_by_kind = [files, *(rights for since, rights in (_TCP, _OUTSIDE) if version >= since)]
    attributes = struct.pack(f"<{len(rights_by_kind)}Q", *rights_by_kind)
    ruleset = _system_call(libc, _LANDLOCK_CREATE, attributes, len(attributes), 0)
    if ruleset < 0:
        raise SandboxError(f"landlock_create_ruleset: {os.strerror(ctypes.get_errno())}")
    try:
        if _system_call(libc, _LANDLOCK_ENFORCE, ruleset, 0) != 0:
            raise SandboxError(f"landlock_restrict_self: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(ruleset)


def _filter_calls(libc: ctypes.CDLL) -> None:
    machine, calls = _MACHINES[platform.machine()]
    program = b"".join(_instructions(machine, dict(calls) | dict(_NEW), os.getpid()))
    code = ctypes.create_string_buffer(program, len(program))
    filter_program = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    if _system_call(libc, calls["seccomp"], _SET_FILTER, _ALL_THREADS, filter_program) != 0:
        raise SandboxError(f"seccomp: {os.strerror(ctypes.get_errno())}")


def _system_call(libc: ctypes.CDLL, number: int, *arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return int(libc.syscall(ctypes.c_long(number), *converted))


def _instructions(machine: int, calls: dict[str, int], process: int) -> list[bytes]:
    """Return the filter program, which refuses the listed calls, some of them only for certain arguments."""
    program = [
        _instruction(_LOAD, _MACHINE),
        _instruction(_EQUAL, machine, 1, 0),
        _instruction(_RETURN, _REFUSE),
        _instruction(_LOAD, _CALL),
        _instruction(_AT_LEAST, _X32_CALLS if machine == _MACHINES["x86_64"][0] else 0xFFFFFFFF, 0, 1),
        _instruction(_RETURN, _REFUSE),
    ]
    for name, number in calls.items():
        if name in _OPENING:
            program += _refused_if(number, _OPENING[name], _ANY_BIT, _WRITING)
        elif name in _SIGNALS:
            program += _allowed_if(number, 0, process)
        elif name == "prlimit64":
            program += _allowed_if(number, 0, 0)
        elif name == "ioctl":
            for request in _TYPING:
                program += _refused_if(number, 1, _EQUAL, request, last=request == _TYPING[-1])
        elif name not in _CONDITIONAL:
            program += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _REFUSE)]
    return [*program, _instruction(_RETURN, _ALLOW)]


def _refused_if(number: int, argument: int, test: int, value: int, last: bool = True) -> list[bytes]:
    """Return instructions that refuse a call if an argument passes a test; else allow it, or test on if not `last`."""
    after = _instruction(_RETURN, _ALLOW) if last else _instruction(_LOAD, _CALL)
    return [
        _instruction(_EQUAL, number, 0, 4),
        _instruction(_LOAD, _FIRST_ARGUMENT + 8 * argument),
        _instruction(test, value, 0, 1),
        _instruction(_RETURN, _REFUSE),
        after,
    ]


def _allowed_if(number: int, argument: int, value: int) -> list[bytes]:
    """Return instructions that refuse a call unless an argument has a value."""
    return [
        _instruction(_EQUAL, number, 0, 4),
        _instruction(_LOAD, _FIRST_ARGUMENT + 8 * argument),
        _instruction(_EQUAL, value, 1, 0),
        _instruction(_RETURN, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBL", code, if_true, if_false, value)
