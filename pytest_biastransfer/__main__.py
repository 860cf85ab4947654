"""``python -m pytest_biastransfer``: the gallery of interventions, and what one of them does to an image."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_biastransfer.errors import BiasTransferError
from pytest_biastransfer.interventions import BUILT_IN, Registry
from pytest_biastransfer.interventions.reading import kinds, read
from pytest_biastransfer.project_file import with_declared


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            sys.stdout.write(_listing(with_declared(BUILT_IN, Path.cwd())))
        else:
            _show(options)
    # Pillow raises a ValueError for a name that tells no format.
    except (BiasTransferError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_biastransfer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the interventions that have a name, and those that can be declared")
    show = commands.add_parser("show", help="draw an image before and after an intervention")
    show.add_argument("intervention", help="a name, or a declaration such as 'Square(size=0.1) | Blur()'")
    show.add_argument("--image", type=Path, metavar="FILE", help="the image (default: a drawn landscape)")
    show.add_argument("--mask", type=Path, metavar="FILE", help="what the masks of interventions cover, white on black")
    show.add_argument("--out", type=Path, metavar="FILE", help="where to (default: intervention.png)")
    return parser


def _listing(registry: Registry) -> str:
    width = max(map(len, registry.names))
    lines = ["names:", *(f"  {name:{width}}  {registry.named(name)!r}" for name in registry.names)]
    lines += ["", "declarations:", *(f"  {kind.__name__:{width}}  {_first_line(kind)}" for kind in kinds().values())]
    return "\n".join(lines) + "\n"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _show(options: argparse.Namespace) -> None:
    from pytest_biastransfer.showing import side_by_side

    intervention = read(options.intervention, with_declared(BUILT_IN, Path.cwd()))
    place = options.out or Path("intervention.png")
    side_by_side(intervention, options.image, options.mask).save(place)
    sys.stdout.write(f"{intervention!r}: before and after in {place}\n")


if __name__ == "__main__":
    sys.exit(main())
