"""Validates the arguments of the curation functions against the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pytest_biastransfer.data import as_images
from pytest_biastransfer.data.attribute_values import AttributeValues, values_of
from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.data.subset import IndexSelection
from pytest_biastransfer.errors import DatasetError, nearest, percent_hint
from pytest_biastransfer.specs.class_names import composed

if TYPE_CHECKING:
    import numpy.typing as npt

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

    def with_known(self, attribute: object, label: object = None) -> Request:
        """Return the same call on the images of which a label, and an attribute that is one, are known.

        `label` may be several that count as one. Where an image has one class, all are known.
        """
        table = self.images.label_table
        if table is None:
            return self
        requested = {} if label is None else {"label": label}
        # An attribute of the dataset counts before a label of the same name.
        if isinstance(attribute, str) and attribute not in self.images.attributes:
            requested["attribute"] = attribute
        is_known = np.ones(len(self.images), dtype=np.bool_)
        for argument, value in requested.items():
            is_known &= self.states(argument, value) != UNKNOWN
        if is_known.all():
            return self
        if not is_known.any():
            names = " and ".join(f"{argument}={value!r:.60}" for argument, value in requested.items())
            raise self.error(f"{self.images.name} has no image of which {names} is known")
        return Request(self.function, IndexSelection(self.images, np.flatnonzero(is_known)))

    def members(self, argument: str, classes: object) -> npt.NDArray[np.bool_]:
        """Return which images are of a class or of one of several, or have one of several labels; bool [images]."""
        inside: npt.NDArray[np.bool_] = self.states(argument, classes) == 1
        if not inside.any():
            raise self.error(f"{self.images.name} has no image with {self.group_names(argument, classes)[0]}")
        return inside

    def states(self, argument: str, classes: object) -> npt.NDArray[np.int8]:
        """Return 1 for images of a class or label, or of one of several, 0 for others, and -1 where it is unknown."""
        table = self.images.label_table
        if table is None:
            return np.isin(self.images.labels, self.numbers(argument, classes)).astype(np.int8)
        return table.any_of(self._columns(argument, classes))

    def group_names(self, argument: str, classes: object) -> tuple[str, str]:
        """Return the names of the images of a class or label, or of several, and of all others, for a message."""
        table = self.images.label_table
        if table is None:
            name = self.class_names(self.numbers(argument, classes))
            return name, f"other classes than {name}"
        name = " or ".join(table.names_or_positions[column] for column in self._columns(argument, classes))
        return repr(name), repr(f"not {name}")

    def _columns(self, argument: str, labels: object) -> list[int]:
        """Return the positions of a label or several, given by name or position."""
        table = self.images.label_table
        assert table is not None
        selected = tuple(labels) if isinstance(labels, Sequence) and not isinstance(labels, str) else (labels,)
        names = table.names_or_positions
        columns = []
        for label in selected:
            matches = [column for column, name in enumerate(names) if composed(name) == composed(str(label))]
            if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(names):
                matches = [int(label)]
            if not matches:
                raise self.error(
                    f"{argument}={labels!r:.100}: {self.images.name} has no label {label!r}; "
                    f"{nearest(str(label), names)}"
                )
            columns.append(matches[0])
        if not columns:
            raise self.error(f"{argument}={labels!r:.100}, expected a label or several, by name or position")
        return columns

    def numbers(self, argument: str, classes: object) -> list[int]:
        """Return the numbers of a class or several, given by name or number; each must have images."""
        if self.images.label_table is not None:
            raise self.error(f"{self.images.name} has several labels for each image, and no class; expected classes")
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
        """Return an attribute, which must have several values; of several labels for each image, each is one."""
        table = self.images.label_table
        if table is None or attribute in self.images.attributes or attribute not in (table.names or ()):
            return values_of(self.images, attribute, self.error)
        states = table.states[:, self._columns("attribute", attribute)[0]]
        if len(set(states.tolist())) == 1:
            raise self.error(f"all images of {self.images.name} have {attribute}={bool(states[0])}; expected both")
        return AttributeValues(str(attribute), ("False", "True"), states.astype(np.int64))

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
