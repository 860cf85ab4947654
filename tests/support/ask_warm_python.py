"""Ask a warm Python for a fork: hand over the descriptors, wait for its end, and end the same way (see `warm_python`)."""

import contextlib
import json
import os
import signal
import socket
import sys

descriptors = []
for name in os.listdir("/dev/fd"):  # noqa: PTH208
    # That of the directory is closed by now.
    with contextlib.suppress(OSError):
        os.fstat(int(name))
        descriptors.append(int(name))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    asked = json.dumps([os.getcwd(), dict(os.environ), descriptors, sys.argv[2:]])  # noqa: PTH109
    socket.send_fds(connection, [asked.encode()], descriptors)
    # A pipe's end that stays open here is one that nobody reads from, or writes to.
    for descriptor in descriptors[:]:
        if descriptor > 2:
            os.close(descriptor)
    fork = int.from_bytes(connection.recv(8), "little")
    signal.signal(signal.SIGINT, lambda number, _: os.kill(fork, number))
    status = connection.recv(1)
# Without a status the fork was killed.
sys.exit(status[0] if status else 1)
