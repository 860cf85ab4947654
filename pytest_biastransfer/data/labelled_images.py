"""The interface of a dataset: images by index, their labels, and a fingerprint of both."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from pytest_biastransfer.data.label_table import UNKNOWN
from pytest_biastransfer.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from pytest_biastransfer.data.arrays import Image
    from pytest_biastransfer.data.class_map import ClassMap
    from pytest_biastransfer.data.label_table import LabelTable
    from pytest_biastransfer.data.masks import Masks
    from pytest_biastransfer.models.preprocess import Preprocess
    from pytest_biastransfer.specs.spec import Spec

_STATE_NAMES: Final = {1: "True", 0: "False", UNKNOWN: ""}

Numbering = Literal["declared", "sorted", "by its library"]


class LabelledImages(ABC):
    """A dataset for the evaluation, and a map-style dataset for torch's `DataLoader`.

    Attributes
    ----------
    name
        The name in reports.
    classes
        The class names in the order of the labels, or None where the dataset has none.
    class_map
        The user's map from these classes to those of a model, or None.
    reads_in_parallel
        Whether several threads may read images at once.
    numbering
        Where the numbers of the classes come from: ``declared`` by the dataset, ``sorted`` by name in this package, or
        sorted by code points ``by its library``.
    spec
        The spec that these images were opened from, or None; another process can open them from it.
    """

    name: str
    classes: tuple[str, ...] | None
    class_map: ClassMap | None = None
    reads_in_parallel: bool = False
    numbering: Numbering = "declared"
    spec: Spec | None = None

    @property
    @abstractmethod
    def labels(self) -> npt.NDArray[np.int64]:
        """The labels, int64 of shape [images]; raises `DatasetError` if each image has several."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of all images and labels, in order; independent of paths and times.

        Attributes and class names are no part of it: no prediction depends on them.
        """

    @property
    def label_table(self) -> LabelTable | None:
        """Several yes-or-no labels of each image; None if an image has one class."""
        return None

    def label_text(self, index: int) -> str:
        """Return the label of an image as text: the name or number of its class, or of the labels that are true."""
        table = self.label_table
        if table is None:
            label = int(self.labels[index])
            return self.classes[label] if self.classes else str(label)
        states = zip(table.names_or_positions, table.states[index], strict=True)
        return ", ".join(name for name, state in states if state == 1) or "none"

    @property
    def files(self) -> Sequence[str] | None:
        """The file of each image, relative to the dataset, such as ``"cat/0001.jpg"``; None if they have no files."""
        return None

    @property
    def attributes(self) -> Mapping[str, Sequence[str]]:
        """The attributes of the images, such as a group or a background: for each name, one string an image.

        Raises `DatasetError` where an image lacks an attribute that others have.
        """
        return MappingProxyType({})

    def attribute_or_label(self, name: object) -> Sequence[str] | None:
        """Return the value of an attribute for each image; None if there is no such attribute.

        Of several labels for each image, each is an attribute, too, unless there is one of the same name: ``"True"``,
        ``"False"``, or where it is unknown ``""``, which is a missing value.
        """
        if isinstance(name, str) and name in self.attributes:
            return self.attributes[name]
        table = self.label_table
        if table is None or table.names is None or name not in table.names:
            return None
        states = table.states[:, table.names.index(str(name))].tolist()
        return [_STATE_NAMES[state] for state in states]

    @property
    def weights(self) -> npt.NDArray[np.float64] | None:
        """The weight of each image in training, float64 of shape [images], above 0; None for equal weights.

        Evaluation gives all images the same weight, so the weights are no part of the fingerprint.
        """
        return None

    def masks(self, name: str) -> Masks:
        """Return the masks of that name, the same object each time; raise `DatasetError` if there are none."""
        cached: dict[str, Masks] = vars(self).setdefault("_cached_masks", {})
        if name not in cached:
            cached[name] = self._find_masks(name)
        return cached[name]

    def _find_masks(self, name: str) -> Masks:
        """Return the masks of that name; called once a name."""
        from pytest_biastransfer.data.masks import no_masks

        raise no_masks(name, self.name, ())

    @property
    def names_by_number(self) -> Mapping[int, str]:
        """The names of the labels by number: all `classes`, or those numbers that have a name where some have none."""
        return dict(enumerate(self.classes or ()))

    @property
    def naming(self) -> tuple[object, ...]:
        """Everything besides the labels that the mapping to a model's classes depends on."""
        pairs = None if self.class_map is None else self.class_map.pairs
        if self.label_table is not None:
            return ("label table", self.label_table.names)
        return self.classes, sorted(self.names_by_number.items()), self.numbering, pairs

    @abstractmethod
    def image(self, index: int) -> Image:
        """Return one decoded image, [channels, height, width]: uint8, or float32 where the dataset returns floats.

        Raises `DatasetError` for an image that cannot be read or has another shape.
        """

    def before_resizing(self, image: Image, index: int) -> Image:
        """Return an image in [0, 1] as the dataset changes it before it is resized and cropped; here unchanged."""
        return image

    def after_cropping(self, image: Image, index: int, preprocess: Preprocess) -> Image:
        """Return an image in [0, 1] as the dataset changes it after `preprocess` has cropped it; here unchanged.

        The returned image has the same shape and dtype.
        """
        return image

    def content_digests(self) -> Sequence[bytes] | None:
        """Return a hash of each image, in order; None where that would need more than one reading of the images."""
        return None

    def looks_unchanged(self) -> bool:
        """Whether the images still seem to be those that were fingerprinted, judged by a sample of them."""
        return True

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int | torch.Tensor, dict[str, str]]:
        """Return one image, its label and its attributes, for a `torch.utils.data.DataLoader`.

        The image is a tensor [channels, height, width], uint8 or float32, of its own size and with all changes of the
        dataset. Several labels are a tensor [labels], int8, of 1, 0, or -1 for unknown. A negative index counts from
        the end. Raises IndexError for an index out of range.
        """
        import numpy as np
        import torch

        from pytest_biastransfer.models.preprocess import Preprocess

        position, count = operator.index(index), len(self)
        if not -count <= position < count:
            raise IndexError(f"{self.name}: there is no image {position}, it has {count:,}")
        position %= count
        image = self.after_cropping(self.before_resizing(self.image(position), position), position, Preprocess())
        attributes = {name: values[position] for name, values in self.attributes.items()}
        table = self.label_table
        label = int(self.labels[position]) if table is None else torch.from_numpy(table.states[position].copy())
        return torch.from_numpy(np.array(image, order="C")), label, attributes

    def __getstate__(self) -> dict[str, object]:
        # Masks may hold functions that cannot be pickled; another process looks them up again.
        return {name: value for name, value in vars(self).items() if name != "_cached_masks"}


def several_labels(images: LabelledImages) -> DatasetError:
    """Return the error of a dataset whose images have several labels each, where one class is needed."""
    table = images.label_table
    assert table is not None
    names = ", ".join(table.names_or_positions)
    return DatasetError(
        f"{images.name} has several labels for each image ({names:.200}), and no class; name the label that is judged "
        f"with positive="
    )
