"""A user's dataset object as labelled images."""

from __future__ import annotations

from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.specs.spec import or_its_spec


def wrap_dataset(dataset: object, origin: str) -> LabelledImages:
    """Return a dataset object as labelled images; `origin` says in error messages where the object came from."""
    if isinstance(dataset, LabelledImages):
        return dataset
    if not hasattr(dataset, "__getitem__"):
        raise DatasetError(
            f"{origin}: got {dataset!r:.100}, expected a map-style dataset of (image, label), such as "
            f"torchvision.datasets.ImageFolder(...){or_its_spec(dataset)}{_of_loader(dataset)}"
        )
    from pytest_biastransfer.data.map_style import MapStyleImages

    return MapStyleImages(dataset, origin)


def _of_loader(dataset: object) -> str:
    """Return a hint for a loader, such as torch's `DataLoader`, in place of its dataset."""
    return "; pass the dataset of the loader: loader.dataset" if hasattr(dataset, "dataset") else ""
