"""``biastransfer list``: the named interventions, and the types that can be declared."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pytest_biastransfer.interventions import BUILT_IN, Registry
from pytest_biastransfer.interventions.parsing import kinds
from pytest_biastransfer.interventions.pyproject import with_declared


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "list",
        help="print the named interventions, and the types that can be declared",
        examples=["biastransfer list"],
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print the list."""
    sys.stdout.write(_listing(with_declared(BUILT_IN, Path.cwd())))
    return 0


def _listing(registry: Registry) -> str:
    width = max(map(len, registry.names))
    lines = ["names:", *(f"  {name:{width}}  {registry.named(name)!r}" for name in registry.names)]
    lines += ["", "declarations:", *(f"  {kind.__name__:{width}}  {_first_line(kind)}" for kind in kinds().values())]
    return "\n".join(lines) + "\n"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]
