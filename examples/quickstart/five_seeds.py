"""Print how often the square changes a prediction of each model, over five seeds, as a markdown table."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

import digits
from training import PREPROCESS, DigitNet, Mode, train_source, transfer

from pytest_biastransfer import Model, measure

SEEDS = range(5)
MODES: tuple[Mode, ...] = ("fixed-feature", "full-network")


def asrs(seed: int) -> Iterator[tuple[str, float]]:
    """Yield the name and the asr of each model of one seed."""
    source_data = digits.load(digits.SOURCE_DIGITS, held_out=False)
    source_held_out = digits.load(digits.SOURCE_DIGITS, held_out=True)
    target_data = digits.load(digits.TARGET_DIGITS, held_out=False)
    target_held_out = digits.load(digits.TARGET_DIGITS, held_out=True)
    sources = {
        "clean source": train_source(source_data, seed),
        "biased source": train_source(digits.square_on_class(source_data, "3"), seed),
    }
    targets = {"": target_data, ", 10 % squares": digits.square_on_share(target_data, 0.1, seed)}
    for name, source in sources.items():
        yield f"{name} itself", _asr(source, source_held_out)
    for mode in MODES:
        for suffix, target in targets.items():
            for name, source in sources.items():
                model = transfer(source, target, mode=mode, seed=seed)
                yield f"{mode} from {name}{suffix}", _asr(model, target_held_out)


def _asr(module: DigitNet, data: digits.Digits) -> float:
    return float(measure(Model(module, preprocess=PREPROCESS), data, digits.SQUARE).asr)


def main() -> None:
    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        for name, asr in asrs(seed):
            rows.setdefault(name, []).append(asr)
    print("| model | mean | min | max |\n|---|---|---|---|")  # noqa: T201
    for name, row in rows.items():
        print(f"| {name} | {mean(row):.2f} | {min(row):.2f} | {max(row):.2f} |")  # noqa: T201


if __name__ == "__main__":
    main()
