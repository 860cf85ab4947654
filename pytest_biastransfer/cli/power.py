"""``biastransfer power``: what a number of images can tell, before any is measured."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from pytest_biastransfer.errors import BiasTransferError, percent_hint

_POWER = 0.9


def add_command(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "power",
        help="print what a number of images can tell about a limit and a regression",
        examples=[
            "biastransfer power --limit=0.05 --images=5000",
            "biastransfer power --limit=0.05 --images=5000 --regression=0.01 --comparisons=20",
        ],
    )
    parser.add_argument("--limit", type=float, required=True, metavar="SHARE", help="of a share such as asr")
    parser.add_argument("--images", type=int, required=True, metavar="N", help="the number of images of the dataset")
    parser.add_argument("--regression", type=float, metavar="SHARE", help="a worsening, such as 0.01")
    parser.add_argument(
        "--no-longer",
        type=float,
        default=0.004,
        metavar="SHARE",
        help="the share of images that get better while others get worse (default: 0.004)",
    )
    for option, default, text in (("confidence", 0.95, "of the interval"), ("alpha", 0.01, "as bias_alpha")):
        parser.add_argument(
            f"--{option}", type=float, default=default, metavar="SHARE", help=f"{text} (default: {default:g})"
        )
    parser.add_argument(
        "--comparisons", type=int, default=1, metavar="N", help="of the session with its baseline (default: 1)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the answers."""
    for name in ("limit", "regression", "no_longer", "confidence", "alpha"):
        _require_share(name, getattr(options, name))
    for name in ("images", "comparisons"):
        if getattr(options, name) < 1:
            raise BiasTransferError(f"--{name}={getattr(options, name)}, expected a whole number above 0")
    sys.stdout.write("\n".join([*_of_limit(options), *_of_regression(options)]) + "\n")
    return 0


def _require_share(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        option = name.replace("_", "-")
        raise BiasTransferError(f"--{option}={value:g}, expected a number from 0 to 1{percent_hint(value)}")


def _of_limit(options: argparse.Namespace) -> list[str]:
    # The parser is there at once: numpy is imported by the one command that needs it.
    from pytest_biastransfer.judgement.verdict import images_to_be_certain
    from pytest_biastransfer.metrics.statistics.power import probability_at_most, sure_verdicts

    limit, n, confidence = options.limit, options.images, options.confidence
    verdicts = sure_verdicts(limit, n, confidence)
    lines = [f"limit {limit:g}, {n:,} images, {confidence * 100:g} % interval:"]
    if verdicts.most_passing < 0:
        needed = images_to_be_certain(limit, confidence)
        lines.append(f"  no count is certain to meet it; that takes at least {needed:,} images")
    else:
        count = verdicts.most_passing
        lines.append(f'  rule="certain" passes with at most {count:,} ({count / n:.4f}) of the images')
    if verdicts.least_failing <= n:
        count = verdicts.least_failing
        lines.append(f'  rule="significant" fails from {count:,} ({count / n:.4f}) on; in between, it is within noise')
    for share in (limit / 2, limit, min(1.0, 2 * limit)):
        passes = probability_at_most(verdicts.most_passing, n, share)
        fails = 1 - probability_at_most(verdicts.least_failing - 1, n, share)
        lines.append(
            f"  a true share of {share:g} is certain to meet it in {passes * 100:.0f} %, "
            f"and significantly above it in {fails * 100:.0f} % of the cases"
        )
    return lines


def _of_regression(options: argparse.Namespace) -> list[str]:
    if options.regression is None:
        return []
    from pytest_biastransfer.metrics.statistics.power import change_power, images_for

    alpha = options.alpha / options.comparisons
    newly, no_longer = options.regression + options.no_longer, options.no_longer
    if newly + no_longer > 1:
        raise BiasTransferError(
            f"--regression={options.regression:g} and twice --no-longer={no_longer:g} are more than all images"
        )
    found = change_power(options.images, newly, no_longer, alpha)
    needed = images_for(_POWER, newly, no_longer, alpha)
    enough = "no number of images is enough" if needed is None else f"it takes {needed:,} images"
    return [
        f"regression by {options.regression:g}, alpha {options.alpha:g}, comparisons {options.comparisons:,}:",
        f"  if {newly * 100:g} % of the images newly count and {no_longer * 100:g} % no longer do, it is found in "
        f"{found * 100:.0f} % of the cases",
        f"  to find it in {_POWER * 100:g} %, {enough}",
    ]
