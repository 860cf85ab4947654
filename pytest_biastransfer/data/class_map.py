"""The user's map from the classes of a dataset to those of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_biastransfer.errors import DatasetError, nearest
from pytest_biastransfer.specs.class_names import composed


@dataclass(frozen=True)
class ClassMap:
    """A map that was read from a file; several classes may be mapped to the same one.

    Attributes
    ----------
    path
        The file, for error messages.
    pairs
        Pairs of a class of the dataset, its name or its number as a string, and a class of the model, its name or
        the index of its logit.
    """

    path: Path
    pairs: tuple[tuple[str, str | int], ...]

    def logits(
        self, classes: Sequence[str] | None, model_classes: Sequence[str] | None, outputs: int
    ) -> Mapping[int, int]:
        """Return the index of the logit for the number of each mapped class of the dataset.

        Raises `DatasetError` for a class that the model does not have, or has twice.
        """
        by_number: dict[int, int] = {}
        for key, target in self.pairs:
            logit = self._logit(target, model_classes, outputs)
            for number in _numbers(key, classes):
                if number in by_number:
                    raise DatasetError(
                        f"{self.path}: {key!r} is the class number {number}, which is mapped by its other name too; "
                        f"remove one of them"
                    )
                by_number[number] = logit
        return by_number

    def _logit(self, target: str | int, model_classes: Sequence[str] | None, outputs: int) -> int:
        if isinstance(target, int):
            if not 0 <= target < outputs:
                raise DatasetError(
                    f"{self.path}: there is no class {target}, the model has the classes 0 to {outputs - 1}"
                )
            return target
        if model_classes is None:
            raise DatasetError(
                f"{self.path}: maps to {target!r}, but the model does not name its classes; map to numbers, or name "
                f"them with the model's classes="
            )
        names = list(map(composed, model_classes))
        count = names.count(composed(target))
        if count != 1:
            problem = "two classes" if count else "no class"
            advice = "map to the number of the one that is meant" if count else nearest(target, set(model_classes))
            raise DatasetError(f"{self.path}: the model has {problem} called {target!r}; {advice}")
        return names.index(composed(target))


def _numbers(key: str, classes: Sequence[str] | None) -> list[int]:
    """Return the numbers of the classes that a key stands for; a name counts first, even if it looks like a number."""
    named = [number for number, name in enumerate(classes or ()) if composed(name) == composed(key)]
    if named:
        return named
    # Python refuses to read numbers of thousands of digits.
    return [int(key)] if key.isascii() and key.isdecimal() and len(key) <= 18 else []
