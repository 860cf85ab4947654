# PYTHON_ARGCOMPLETE_OK
"""The command ``biastransfer``, also ``python -m pytest_biastransfer``."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pytest_biastransfer.cli import compare, init, list_interventions, power, report, scan, show
from pytest_biastransfer.cli.command_help import Commands, complete
from pytest_biastransfer.errors import BiasTransferError

_DESCRIPTION: Final = "Set up bias tests, look at interventions, and combine or compare reports."
_COMMANDS: Final = (list_interventions, show, init, scan, report, compare, power)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of the command line; return the exit status."""
    commands = Commands("biastransfer", _DESCRIPTION)
    for command in _COMMANDS:
        command.add_command(commands)
    parser = commands.finished()
    complete(parser)
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # In a pipe on Windows, the encoding lacks many characters. The error would come after the work is done.
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = options.run(options)
    # Pillow raises a ValueError for a file name without a known format.
    except (BiasTransferError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return status


def run_script() -> int:
    """Run ``biastransfer``. As with ``python -m``, modules in the current directory can be imported."""
    sys.path.insert(0, str(Path.cwd()))
    return main()


if __name__ == "__main__":
    sys.exit(main())
