"""Several yes-or-no labels of each image, such as the attributes of a face; some may be unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    States = npt.NDArray[np.int8]

# Neither yes nor no: the image is left out of what needs the label.
UNKNOWN: Final = -1

# The labels of one image as plain data: the state of each label by name, the names or numbers of those that are true,
# or a state for each position.
Row = Mapping[str, int] | tuple[str, ...] | tuple[int, ...]


class TableTexts(TypedDict):
    """A table as plain data; see `LabelTable.to_texts`."""

    texts: Annotated[list[str], lambda texts: len(texts) > 0 and len(texts[0]) > 0]
    names: list[str] | None


def is_table(content: TableTexts) -> bool:
    """Whether plain data of that form is a table."""
    width = len(content["texts"][0])
    return all(len(text) == width and set(text) <= set("01?") for text in content["texts"]) and (
        content["names"] is None or len(content["names"]) == width
    )


_STATES: Final = {"1": 1, "0": 0, "-1": UNKNOWN, "nan": UNKNOWN, "": UNKNOWN}
_LETTERS: Final = {1: "1", 0: "0", UNKNOWN: "?"}


@dataclass(frozen=True)
class LabelTable:
    """Labels that are true of an image, false, or unknown.

    Attributes
    ----------
    states
        1, 0, or -1 for unknown: int8 of shape [images, labels].
    names
        The names of the labels, or None.

    Examples
    --------
    >>> table = LabelTable.of_rows([{"smiling": 1, "young": 0}, {"smiling": 0}], "image {}".format)
    >>> table.names, table.states.tolist()
    (('smiling', 'young'), [[1, 0], [0, -1]])
    >>> LabelTable.of_rows([("cat", "dog"), ("dog",)], "image {}".format).states.tolist()
    [[1, 1], [0, 1]]
    """

    states: States
    names: tuple[str, ...] | None = None

    @property
    def names_or_positions(self) -> tuple[str, ...]:
        """The names of the labels; where they have none, their positions as text."""
        return self.names or tuple(map(str, range(self.states.shape[1])))

    @classmethod
    def of_rows(
        cls, rows: Sequence[Row], location: Callable[[int], str], names: Sequence[str] | None = None
    ) -> LabelTable:
        """Return the table of rows as `row_of` makes them.

        Parameters
        ----------
        location
            Names an image, given its index, in an error message.
        names
            The names of labels that have a position alone, or None.

        Raises
        ------
        DatasetError
            If rows are not of one form, if there are more or fewer labels than names, or if -1 seems to stand for no.
        """
        # An image may have no label at all: then the others tell the form.
        first = next(filter(None, rows), rows[0])
        if isinstance(first, Mapping):
            own = tuple(dict.fromkeys(name for row in rows if isinstance(row, Mapping) for name in row))
            return cls._of(rows, location, own, lambda row: isinstance(row, Mapping), _by_name(own))
        if isinstance(next(iter(first), 0), str):
            own = tuple(sorted({name for row in rows for name in row if isinstance(name, str)}))
            return cls._of(rows, location, own, _all_are(str), lambda row: [int(name in row) for name in own])
        if all(len(row) == len(first) and set(row) <= {0, 1, UNKNOWN} for row in rows):
            declared = _of_width(names, len(first), location)
            return cls._of(rows, location, declared, lambda row: len(row) == len(first), list)
        width = len(names or ()) or 1 + max(number for row in rows for number in row if isinstance(number, int))
        return cls._of(
            rows,
            location,
            _of_width(names, width, location),
            lambda row: all(type(number) is int and 0 <= number < width for number in row),
            lambda row: [int(number in row) for number in range(width)],
        )

    @classmethod
    def _of(
        cls,
        rows: Sequence[Row],
        location: Callable[[int], str],
        names: tuple[str, ...] | None,
        fits: Callable[[Any], bool],
        states_of: Callable[[Any], list[int]],
    ) -> LabelTable:
        for index, row in enumerate(rows):
            if not fits(row):
                raise DatasetError(
                    f"{location(index)}: the labels are {row!r:.80}, those of the first image {rows[0]!r:.80}; "
                    f"expected one form for all images: a state (1, 0, or -1 for unknown) for each label, or the names "
                    f"or the numbers of the labels that are true"
                )
        import numpy as np

        return cls(_require_negatives(np.array([states_of(row) for row in rows], dtype=np.int8), location), names)

    @classmethod
    def of_texts(cls, content: TableTexts) -> LabelTable:
        """Return the table that `to_texts` has written."""
        import numpy as np

        states = {letter: state for state, letter in _LETTERS.items()}
        rows = [[states[letter] for letter in text] for text in content["texts"]]
        return cls(np.array(rows, dtype=np.int8), None if content["names"] is None else tuple(content["names"]))

    def to_texts(self) -> TableTexts:
        """Return the table as plain data: one text an image, with a letter for each label.

        >>> LabelTable.of_rows([(1, 0, -1)], "image {}".format).to_texts()
        {'texts': ['10?'], 'names': None}
        """
        texts = ["".join(map(_LETTERS.__getitem__, row)) for row in self.states.tolist()]
        return {"texts": texts, "names": None if self.names is None else list(self.names)}

    def any_of(self, columns: Sequence[int]) -> States:
        """Return whether any of some labels is true of each image, int8 [images]; one that is true decides.

        >>> LabelTable.of_rows([(1, -1), (0, -1), (0, 0)], "image {}".format).any_of([0, 1]).tolist()
        [1, -1, 0]
        """
        import numpy as np

        states = self.states[:, list(columns)]
        return np.where(states.max(axis=1) == 1, np.int8(1), states.min(axis=1))

    def at(self, indices: npt.NDArray[np.int64]) -> LabelTable:
        """Return the rows at some indices."""
        return LabelTable(self.states[indices], self.names)


def is_row(label: object) -> bool:
    """Whether the label of an item is several labels, and no class number."""
    return isinstance(label, Mapping | list | tuple | set | frozenset) or getattr(label, "ndim", 0) == 1


def row_of(label: Any, location: str) -> Row:
    """Return the labels of one image as plain data.

    Parameters
    ----------
    label
        A mapping from names to states; names or numbers of the labels that are true; or an array, a tensor or a list
        with a state for each label. A state is 1, 0, True or False, or for unknown -1, NaN or None.
    location
        The image, for an error message.

    Raises
    ------
    DatasetError
        For anything else.

    Examples
    --------
    >>> row_of([1, 0, float("nan")], "image 0"), row_of({"young", "smiling"}, "image 0")
    ((1, 0, -1), ('smiling', 'young'))
    """
    if isinstance(label, Mapping):
        return {str(name): state_of(value, f"{location}: label {name!r}") for name, value in label.items()}
    is_list = isinstance(label, list | tuple | set | frozenset)
    values: list[Any] = list(label) if is_list else label.tolist()
    if values and all(isinstance(value, str) for value in values):
        return tuple(sorted(values))
    if is_list and values and all(type(value) is int and value >= 0 for value in values):
        # Numbers of labels, or states: the other images tell.
        return tuple(sorted(values)) if max(values) > 1 else tuple(values)
    return tuple(state_of(value, f"{location}: label {position}") for position, value in enumerate(values))


def state_of(value: object, location: str) -> int:
    """Return 1, 0, or -1 for an unknown label; raise `DatasetError` for anything else.

    >>> [state_of(value, "label") for value in (True, 0.0, None, "1", "")]
    [1, 0, -1, 1, -1]
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return UNKNOWN
    if isinstance(value, int | float) and value in (0, 1, UNKNOWN):
        return int(value)
    if isinstance(value, str) and value.strip().lower() in _STATES:
        return _STATES[value.strip().lower()]
    raise DatasetError(f"{location}: is {value!r:.40}, expected 1, 0, or -1 for unknown")


def _of_width(names: Sequence[str] | None, width: int, location: Callable[[int], str]) -> tuple[str, ...] | None:
    """Return declared names; raise `DatasetError` if they are not those of so many labels."""
    if names is not None and len(names) != width:
        raise DatasetError(f"{location(0)}: {width} labels, and names of {len(names)} labels; expected as many")
    return None if names is None else tuple(names)


def _by_name(names: Iterable[str]) -> Callable[[Mapping[str, int]], list[int]]:
    return lambda row: [row.get(name, UNKNOWN) for name in names]


def _all_are(kind: type) -> Callable[[Any], bool]:
    return lambda row: isinstance(row, tuple) and all(isinstance(entry, kind) for entry in row)


def _require_negatives(states: States, location: Callable[[int], str]) -> States:
    """Raise for tables that write -1 for no, as that of CelebA does: all negatives would count as unknown."""
    if (states == 1).any() and (states == UNKNOWN).any() and not (states == 0).any():
        index = int((states == UNKNOWN).any(axis=1).argmax())
        raise DatasetError(
            f"{location(index)}: the labels of this dataset are 1 and -1, and never 0; -1 stands for unknown, so write "
            f"0 for no, such as (labels + 1) // 2"
        )
    return states
