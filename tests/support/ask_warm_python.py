"""Ask a warm Python for a fork: hand over the streams, wait for its end, and end the same way (see `warm_python`)."""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    asked = json.dumps([os.getcwd(), dict(os.environ), sys.argv[2:]])  # noqa: PTH109
    socket.send_fds(connection, [asked.encode()], [0, 1, 2])
    status = connection.recv(1)
# Without a status the fork was killed.
sys.exit(status[0] if status else 1)
