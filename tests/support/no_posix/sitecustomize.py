"""Make a Python on Linux as poor as one on Windows: with this directory in PYTHONPATH, every process starts without what is POSIX.

Python imports a module of this name before anything else. It shows what fails where these functions and modules are missing,
not what other file systems, consoles and schedulers do.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys

# Windows has locks of its own, which filelock uses; here it keeps those of POSIX.
import filelock  # noqa: F401

# What processes of POSIX have, and some systems of POSIX only.
FUNCTIONS = {
    os: (
        "fork", "forkpty", "killpg", "getpgid", "setsid", "chown", "mkfifo", "statvfs", "sched_getaffinity",
        "sched_setaffinity", "process_cpu_count", "sysconf",
    ),
    signal: ("SIGKILL", "SIGALRM", "SIGCHLD", "SIGHUP", "SIGUSR1", "alarm", "setitimer", "pthread_sigmask"),
    select: ("poll", "epoll"),
    socket: ("send_fds", "recv_fds"),
}  # fmt: skip
MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty")

# The standard library of POSIX kills by SIGKILL, that of Windows terminates.
subprocess.Popen.kill = subprocess.Popen.terminate  # type: ignore[method-assign]
for module, names in FUNCTIONS.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for absent in MODULES:
    sys.modules[absent] = None  # type: ignore[assignment]
multiprocessing.set_start_method("spawn")
