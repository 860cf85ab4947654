"""Random selections in which an attribute's value has a given share, inside and outside of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.subset import IndexSelection
from pytest_biastransfer.transfer.curation.contingency import draw
from pytest_biastransfer.transfer.curation.feasible_shares import Counts, Proportions

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.attribute_values import AttributeValues
    from pytest_biastransfer.errors import DatasetError
    from pytest_biastransfer.transfer.curation.arguments import Request


@dataclass(frozen=True)
class ShareSelection:
    """A selection with a requested share.

    Attributes
    ----------
    request
        The call that requests it.
    name, share
        The name of the argument, and its value in [0, 1].
    size
        The number of images; None for as many as possible.
    """

    request: Request
    name: str
    share: float
    size: int | None

    def draw(
        self,
        values: AttributeValues,
        code: int,
        seed: int,
        inside: npt.NDArray[np.bool_] | None = None,
        groups: tuple[str, str] = ("", ""),
    ) -> IndexSelection:
        """Return a random selection: the share of the images inside has the value, the same share outside lacks it.

        `inside` says which images have the label, None: all; `groups` names these and the others. Raises `DatasetError`
        if there are not enough images.
        """
        cells = (values.codes != code).astype(np.int64)
        kinds = [f"with {values.condition(code)}", f"with {values.negated_condition(code)}"]
        if inside is not None:
            cells += 2 * ~inside
            kinds = [f"of {group} {kind}" for group in groups for kind in kinds]
        counts = self._counts(Proportions(_four(np.bincount(cells, minlength=4).tolist())), kinds)
        return IndexSelection(self.request.images, draw(cells, counts, seed))

    def _counts(self, proportions: Proportions, kinds: Sequence[str]) -> Counts:
        missing = proportions.missing(self.share)
        if self.size is None and missing is not None:
            raise self._error(f"needs images {kinds[missing]}, the dataset {self.request.images.name} has none")
        size = self.size or proportions.largest(self.share)
        lacking = proportions.lacking(self.share, size)
        if lacking is not None:
            needed = proportions.needed(self.share, size)[lacking]
            available = proportions.available[lacking]
            raise self._error(
                f"with size={size:,} needs {needed:,} images {kinds[lacking]}, the dataset {self.request.images.name} "
                f"has {available:,}{self._possible(proportions, size)}"
            )
        return proportions.needed(self.share, size)

    def _possible(self, proportions: Proportions, size: int) -> str:
        largest, shares = proportions.largest(self.share), proportions.shares(size)
        # If a kind has no images, only sizes that round to none of it are feasible: not worth suggesting.
        is_useful = largest > 0 and proportions.missing(self.share) is None
        options = [f"size up to {largest:,} at this {self.name}"] * is_useful
        if shares is not None:
            low, high = shares
            span = f"up to {high:g}" if low == 0 else f"from {low:g} to {high:g}" if low < high else f"{low:g}"
            options.append(f"{self.name} {span} at this size")
        return f"; possible: {', or '.join(options)}" if options else ""

    def _error(self, message: str) -> DatasetError:
        return self.request.error(f"{self.name}={self.share:g} {message}")


def _four(counts: Sequence[int]) -> Counts:
    inside_with, inside_without, outside_with, outside_without = counts
    return inside_with, inside_without, outside_with, outside_without
