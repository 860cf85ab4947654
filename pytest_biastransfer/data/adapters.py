"""What a fixture or a factory returned, as labelled images."""

from __future__ import annotations

from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.specs.spec import or_its_spec


def as_images(found: object, place: str) -> LabelledImages:
    """Return `found` as labelled images; `place` says where it came from, for the error message."""
    if isinstance(found, LabelledImages):
        return found
    if not hasattr(found, "__getitem__"):
        raise DatasetError(
            f"{place}: got {found!r:.100}, expected a map-style dataset of (image, label), such as "
            f"torchvision.datasets.ImageFolder(...){or_its_spec(found)}"
        )
    from pytest_biastransfer.data.map_style import MapStyleImages

    return MapStyleImages(found, place)
