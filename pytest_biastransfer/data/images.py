"""What evaluation reads: images by index, their labels, a fingerprint of all of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Image = npt.NDArray[np.uint8 | np.float32]


class LabelledImages(ABC):
    """A dataset as the evaluation needs it.

    Attributes
    ----------
    name
        Name in reports.
    classes
        The names that the labels number, or None where the dataset does not tell.
    reads_in_parallel
        Whether several threads may read images at once.
    """

    name: str
    classes: tuple[str, ...] | None
    reads_in_parallel: bool = False

    @property
    @abstractmethod
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels, int64 of shape [images]."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of all images and labels, in order; independent of paths and times."""

    @abstractmethod
    def image(self, index: int) -> Image:
        """Return one decoded image, [channels, height, width]: uint8, or float32 as the dataset gives it.

        Raises `DatasetError` for one that cannot be read or is of another form.
        """

    def looks_unchanged(self) -> bool:
        """Whether the images are still those that were fingerprinted, as far as a few of them tell."""
        return True

    def __len__(self) -> int:
        return len(self.labels)
