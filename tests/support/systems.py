"""What tests need of an operating system, and not each has."""

from __future__ import annotations

import os
import signal
from typing import Final

import pytest

# Windows has no fork, and with it no signals to groups of processes, resource limits, terminals and pipes with a name.
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes, signals and files of POSIX")

# What ends a process that cannot refuse; for Windows every signal does.
KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)
