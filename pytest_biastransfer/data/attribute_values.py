"""The values of one attribute of a dataset, and the value of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
class AttributeValues:
    """The values of one attribute of a dataset.

    Attributes
    ----------
    attribute
        The name of the attribute.
    names
        The values that occur, sorted; at least two.
    codes
        For each image, the index of its value in `names`; int64 of shape [images].
    """

    attribute: str
    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]

    def condition(self, code: int) -> str:
        """Return the condition that an image has this value, for a message."""
        return f"{self.attribute}={self.names[code]!r}"

    def negated_condition(self, code: int) -> str:
        """Return the condition that an image has another value than this, for a message."""
        if len(self.names) == 2:
            return self.condition(1 - code)
        return f"another {self.attribute} than {self.names[code]!r}"


def values_of(
    images: LabelledImages, attribute: object, error_type: Callable[[str], DatasetError] = DatasetError
) -> AttributeValues:
    """Return the values of an attribute; raise an `error_type` if it is missing or all images have the same value."""
    values = require_attribute(images, attribute, error_type)
    assert isinstance(attribute, str)
    names = tuple(sorted(set(values)))
    if len(names) == 1:
        raise error_type(f"all images of {images.name} have {attribute}={names[0]!r}; expected at least two values")
    codes = {value: code for code, value in enumerate(names)}
    return AttributeValues(attribute, names, np.fromiter(map(codes.__getitem__, values), np.int64, len(values)))


def require_attribute(
    images: LabelledImages, attribute: object, error_type: Callable[[str], DatasetError] = DatasetError
) -> Sequence[str]:
    """Return the value of each image; raise an `error_type` if the images have no such attribute, and no such label."""
    values = images.attribute_or_label(attribute)
    if values is None:
        labels = images.label_table.names or () if images.label_table is not None else ()
        names = [*images.attributes, *labels]
        valid = nearest(str(attribute), names) if names else _NO_ATTRIBUTES
        raise error_type(f"{images.name} has no attribute {attribute!r:.100}; {valid}")
    return values
