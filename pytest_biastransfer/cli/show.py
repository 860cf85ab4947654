"""``biastransfer show``: draws an image before and after an intervention."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pytest_biastransfer.interventions import BUILT_IN
from pytest_biastransfer.interventions.parsing import read
from pytest_biastransfer.interventions.pyproject import with_declared


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    show = commands.add_parser(
        "show",
        help="draw an image before and after an intervention",
        examples=[
            "biastransfer show yellow-square --image=cat.png --out=square.png",
            "biastransfer show 'Grayscale() | Square(size=0.1)'",
        ],
    )
    show.add_argument("intervention", help="a name, or a declaration such as 'Square(size=0.1) | Blur()'")
    show.add_argument("--image", type=Path, metavar="FILE", help="the image (default: a drawn landscape)")
    show.add_argument(
        "--mask", type=Path, metavar="FILE", help="the mask for interventions that need one: white is the object"
    )
    show.add_argument("--out", type=Path, metavar="FILE", help="the picture to write (default: intervention.png)")
    show.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw the picture."""
    from pytest_biastransfer.evaluation.side_by_side import side_by_side

    intervention = read(options.intervention, with_declared(BUILT_IN, Path.cwd()))
    path = options.out or Path("intervention.png")
    side_by_side(intervention, options.image, options.mask).save(path)
    sys.stdout.write(f"{intervention!r}: before and after in {path}\n")
    return 0
