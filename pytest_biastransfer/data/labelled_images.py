"""What evaluation reads: images by index, their labels, a fingerprint of all of it."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.class_map import ClassMap
    from pytest_biastransfer.data.masks import Masks
    from pytest_biastransfer.models.preprocess import Preprocess

Numbering = Literal["declared", "sorted", "by its library"]


class LabelledImages(ABC):
    """A dataset as the evaluation needs it, and a map-style dataset for torch's own loader.

    Attributes
    ----------
    name
        Name in reports.
    classes
        The names that the labels number, or None where the dataset does not tell.
    class_map
        Which class of a model each class is, where somebody has said so; else None.
    reads_in_parallel
        Whether several threads may read images at once.
    numbering
        Where the classes' numbers come from: ``declared``, or merely ``sorted`` here by name, or so ``by its library``,
        which sorts by code points.
    """

    name: str
    classes: tuple[str, ...] | None
    class_map: ClassMap | None = None
    reads_in_parallel: bool = False
    numbering: Numbering = "declared"

    @property
    @abstractmethod
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels, int64 of shape [images]."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of all images and labels, in order; independent of paths and times.

        The attributes are not part of it, nor the names of classes: no prediction depends on them.
        """

    @property
    def files(self) -> Sequence[str] | None:
        """Each image's file, relative to the dataset, as ``"cat/0001.jpg"``; None where there are none."""
        return None

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """What else is known of the images, such as a group or a background: by name, one string an image.

        Raises `DatasetError` where an image lacks one that others have.
        """
        return MappingProxyType({})

    @property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """How much each image counts in training, float64 of shape [images], above 0; None: all the same.

        Evaluation counts all images the same. So the weights are no part of the fingerprint.
        """
        return None

    def masks(self, name: str) -> Masks:
        """Return the masks of that name, the same ones each time; raises `DatasetError` if there are none."""
        known: dict[str, Masks] = vars(self).setdefault("_known_masks", {})
        if name not in known:
            known[name] = self._find_masks(name)
        return known[name]

    def _find_masks(self, name: str) -> Masks:
        """Return the masks of that name when they are first asked for."""
        from pytest_biastransfer.data.masks import no_masks

        raise no_masks(name, self.name, ())

    @property
    def names_by_number(self) -> Mapping[int, str]:
        """The names of the labels, by number: all `classes`, or of numbers with gaps those that have a name."""
        return dict(enumerate(self.classes or ()))

    @property
    def naming(self) -> tuple[object, ...]:
        """All that decides, besides the labels, which classes of a model the labels are."""
        pairs = None if self.class_map is None else self.class_map.pairs
        return self.classes, sorted(self.names_by_number.items()), self.numbering, pairs

    @abstractmethod
    def image(self, index: int) -> Image:
        """Return one decoded image, [channels, height, width]: uint8, or float32 as the dataset gives it.

        Raises `DatasetError` for one that cannot be read or is of another form.
        """

    def started(self, image: Image, index: int) -> Image:
        """Return what the dataset makes of an image in [0, 1] before it is resized and cropped: here nothing."""
        return image

    def finished(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        """Return what the dataset makes of an image in [0, 1] after it was resized and cropped: here nothing.

        The image is of the same form and dtype as before. `preprocess` is what resized and cropped it.
        """
        return image

    def looks_unchanged(self) -> bool:
        """Whether the images are still those that were fingerprinted, as far as a few of them tell."""
        return True

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, dict[str, str]]:
        """Return one image, its label and its attributes, for a `torch.utils.data.DataLoader`.

        The image is a tensor [channels, height, width], uint8 or float32, of its own size and with all that the
        dataset makes of it. A negative index counts from the end; raises IndexError where there is no image.
        """
        import numpy as np
        import torch

        from pytest_biastransfer.models.preprocess import Preprocess

        place, count = operator.index(index), len(self)
        if not -count <= place < count:
            raise IndexError(f"{self.name}: there is no image {place}, it has {count:,}")
        place %= count
        image = self.finished(self.started(self.image(place), place), place, Preprocess())
        attributes = {name: values[place] for name, values in self.attributes.items()}
        return torch.from_numpy(np.array(image, order="C")), int(self.labels[place]), attributes

    def __getstate__(self) -> dict[str, object]:
        # Masks may be read by a function that no other process could be given; they are found there again.
        return {name: value for name, value in vars(self).items() if name != "_known_masks"}
