"""An attribute of the images of a dataset: its values, and which image has which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pytest_biastransfer.errors import DatasetError, nearest

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.labelled_images import LabelledImages

_NO_ATTRIBUTES: Final = (
    "it has none: declare them with attributes=FILE.csv in its spec, or return (image, label, {attribute: value}) from "
    "your own dataset"
)


@dataclass(frozen=True)
class Values:
    """An attribute of the images of a dataset.

    Attributes
    ----------
    attribute
        Its name.
    names
        The values that occur, sorted; at least two.
    codes
        The place of each image's value among them, int64 [images].
    """

    attribute: str
    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]

    def words(self, code: int) -> str:
        """Return in words that an image has this value."""
        return f"{self.attribute}={self.names[code]!r}"

    def words_without(self, code: int) -> str:
        """Return in words that an image has another value than this."""
        if len(self.names) == 2:
            return self.words(1 - code)
        return f"another {self.attribute} than {self.names[code]!r}"


def values_of(images: LabelledImages, attribute: object, error: Callable[[str], DatasetError] = DatasetError) -> Values:
    """Return an attribute of which there are several values; raises what `error` makes of a message."""
    known = images.attributes
    if not isinstance(attribute, str) or attribute not in known:
        valid = nearest(str(attribute), known) if known else _NO_ATTRIBUTES
        raise error(f"{images.name} has no attribute {attribute!r:.100}; {valid}")
    values = known[attribute]
    names = tuple(sorted(set(values)))
    if len(names) == 1:
        raise error(f"all images of {images.name} have {attribute}={names[0]!r}; expected at least two values")
    codes = {value: code for code, value in enumerate(names)}
    return Values(attribute, names, np.fromiter(map(codes.__getitem__, values), np.int64, len(values)))
