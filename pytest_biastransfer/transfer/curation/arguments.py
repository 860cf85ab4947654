"""Validates the arguments of the curation functions against the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.attribute_values import AttributeValues, values_of
from pytest_biastransfer.errors import DatasetError, nearest, percent_hint
from pytest_biastransfer.specs.class_names import composed

if TYPE_CHECKING:
    from pytest_biastransfer.data import LabelledImages

Classes = int | str | Sequence[int | str]

# If an attribute has two values, one of these is the affirmative one.
_YES: Final = ("True", "1", "yes", "true")


@dataclass(frozen=True)
class Request:
    """One call of a curation function on the images of a dataset; all methods raise `DatasetError`."""

    function: str
    images: LabelledImages

    @classmethod
    def of(cls, function: str, dataset: Any) -> Request:
        """Return the call of a function on any accepted kind of dataset."""
        return cls(function, as_images(dataset, "dataset"))

    def error(self, message: str) -> DatasetError:
        """Return an error of this call."""
        return DatasetError(f"{self.function}: {message}")

    def share(self, name: str, value: object) -> float:
        """Return an argument that has to be a number from 0 to 1."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self.error(f"{name}={value!r:.100}, expected a number from 0 to 1{percent_hint(value)}")
        return float(value)

    def size(self, value: object, name: str = "size") -> int | None:
        """Return an argument that is a number of images."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise self.error(f"{name}={value!r:.100}, expected a whole number above 0; leave it out for the largest")
        return int(value)

    def seed(self, value: object) -> int:
        """Return the argument ``seed``."""
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
            raise self.error(f"seed={value!r:.100}, expected a whole number from 0 on")
        return int(value)

    def numbers(self, argument: str, classes: object) -> list[int]:
        """Return the numbers of a class or several, given by name or number; each must have images."""
        selected = tuple(classes) if isinstance(classes, Sequence) and not isinstance(classes, str) else (classes,)
        invalid = [each for each in selected if isinstance(each, bool) or not isinstance(each, Integral | str)]
        if invalid or not selected:
            raise self.error(f"{argument}={classes!r:.100}, expected a class or several, by name or number")
        numbers = [self._number_of(name) if isinstance(name, str) else int(name) for name in selected]
        occurs = self._occurs(numbers)
        for index, number in enumerate(numbers):
            if not occurs[index]:
                raise self._no_image(number)
            if number in numbers[:index]:
                raise self.error(f"{argument}={classes!r:.100} has {self.class_names([number])} twice")
        return numbers

    def _occurs(self, numbers: Sequence[int]) -> list[bool]:
        # A Python int may be too large for int64; such a class does not occur.
        largest = int(self.images.labels.max())
        labels = np.array([number if 0 <= number <= largest else -1 for number in numbers], dtype=np.int64)
        occurs: list[bool] = np.isin(labels, self.images.labels).tolist()
        return occurs

    def _no_image(self, number: int) -> DatasetError:
        name, names = self.images.name, self.images.classes
        if names is None:
            labels = map(str, np.unique(self.images.labels).tolist())
            return self.error(f"no image of {name} has the label {number}; {nearest(str(number), labels)}")
        if not 0 <= number < len(names):
            return self.error(f"there is no class {number}, {name} has the classes 0 to {len(names) - 1}")
        return self.error(f"{name} has no image of {names[number]!r}")

    def _number_of(self, name: str) -> int:
        names = self.images.classes
        if names is None:
            raise self.error(f"{self.images.name} does not name its classes; give the number of {name!r}")
        matches = [number for number, other in enumerate(names) if composed(other) == composed(name)]
        if not matches:
            raise self.error(f"{self.images.name} has no class {name!r}; {nearest(name, set(names))}")
        if len(matches) > 1:
            numbers = " and ".join(map(str, matches))
            raise self.error(f"{self.images.name} has several classes {name!r}; give the number of one: {numbers}")
        return matches[0]

    def class_names(self, numbers: Sequence[int]) -> str:
        """Return the names of classes for a message."""
        names = self.images.classes
        return " or ".join(f"class {number}" if names is None else repr(names[number]) for number in numbers)

    def require_new(self, attribute: object) -> None:
        """Raise unless the name of a new attribute is a string that no other attribute has."""
        if not isinstance(attribute, str) or not attribute:
            raise self.error(f"attribute={attribute!r:.100}, expected a name such as 'planted'")
        if attribute in self.images.attributes:
            raise self.error(
                f"{self.images.name} has an attribute {attribute!r} already; give another name: attribute="
            )

    def values(self, attribute: object) -> AttributeValues:
        """Return an attribute, which must have several values."""
        return values_of(self.images, attribute, self.error)

    def code(self, values: AttributeValues, value: object) -> int:
        """Return the index of a value among an attribute's values; None means the affirmative one of two."""
        if value is None:
            affirmative = [name for name in values.names if name in _YES]
            if len(values.names) == 2 and len(affirmative) == 1:
                return values.names.index(affirmative[0])
            raise self.error(
                f"say with value= which value of {values.attribute!r} is meant; {nearest('', values.names)}"
            )
        if value not in values.names:
            condition = f"{values.attribute}={value!r:.100}"
            raise self.error(f"no image of {self.images.name} has {condition}; {nearest(str(value), values.names)}")
        return values.names.index(str(value))
