"""Random selections in which a value of an attribute has a share, inside and outside of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_biastransfer.data.subset import IndexSelection
from pytest_biastransfer.transfer.curation.contingency import drawn
from pytest_biastransfer.transfer.curation.feasible_shares import Counts, Proportions

if TYPE_CHECKING:
    import numpy.typing as npt

    from pytest_biastransfer.data.attribute_values import AttributeValues
    from pytest_biastransfer.errors import DatasetError
    from pytest_biastransfer.transfer.curation.arguments import Request


@dataclass(frozen=True)
class Asked:
    """A share that is asked for.

    Attributes
    ----------
    request
        Who asks.
    name, share
        The argument, in [0, 1].
    size
        How many images; None for the most that there can be.
    """

    request: Request
    name: str
    share: float
    size: int | None

    def chosen(
        self,
        values: AttributeValues,
        code: int,
        seed: int,
        inside: npt.NDArray[np.bool_] | None = None,
        label: str = "",
    ) -> IndexSelection:
        """Return a selection: inside of a label, the share has the value; outside, the same share has it not.

        `inside` tells which images have the label; None: all. Raises `DatasetError` if there are not enough.
        """
        cells = (values.codes != code).astype(np.int64)
        words = [f"with {values.condition(code)}", f"with {values.negated_condition(code)}"]
        if inside is not None:
            cells += 2 * ~inside
            words = [f"of {label} {one}" for one in words] + [f"of other classes than {label} {one}" for one in words]
        wanted = self._counts(Proportions(_four(np.bincount(cells, minlength=4).tolist())), words)
        return IndexSelection(self.request.images, drawn(cells, wanted, seed))

    def _counts(self, proportions: Proportions, words: Sequence[str]) -> Counts:
        missing = proportions.missing(self.share)
        if self.size is None and missing is not None:
            raise self._error(f"needs images {words[missing]}, the dataset {self.request.images.name} has none")
        size = self.size or proportions.largest(self.share)
        lacking = proportions.lacking(self.share, size)
        if lacking is not None:
            needed, there = (counts[lacking] for counts in (proportions.needed(self.share, size), proportions.there))
            raise self._error(
                f"with size={size:,} needs {needed:,} images {words[lacking]}, the dataset {self.request.images.name} "
                f"has {there:,}{self._possible(proportions, size)}"
            )
        return proportions.needed(self.share, size)

    def _possible(self, proportions: Proportions, size: int) -> str:
        largest, shares = proportions.largest(self.share), proportions.shares(size)
        # Without any images of a kind, only so few are possible that none of that kind are among them.
        some = largest > 0 and proportions.missing(self.share) is None
        found = [f"size up to {largest:,} at this {self.name}"] * some
        if shares is not None:
            low, high = shares
            span = f"up to {high:g}" if low == 0 else f"from {low:g} to {high:g}" if low < high else f"{low:g}"
            found.append(f"{self.name} {span} at this size")
        return f"; possible: {', or '.join(found)}" if found else ""

    def _error(self, found: str) -> DatasetError:
        return self.request.error(f"{self.name}={self.share:g} {found}")


def _four(counts: Sequence[int]) -> Counts:
    inside_with, inside_without, outside_with, outside_without = counts
    return inside_with, inside_without, outside_with, outside_without
