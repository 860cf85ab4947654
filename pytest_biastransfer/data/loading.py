"""From a spec string, or what a fixture returned, to labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_biastransfer.data.images import LabelledImages
from pytest_biastransfer.errors import DatasetError
from pytest_biastransfer.python_objects import call_factory
from pytest_biastransfer.specs import Spec

if TYPE_CHECKING:
    from pytest_biastransfer.store import Facts

_SCHEMES = ("imagefolder", "python")


def load_dataset(spec: str, *, directory: Path | None = None, facts: Facts | None = None) -> LabelledImages:
    """Load the dataset that a spec string names.

    Parameters
    ----------
    spec
        ``imagefolder:DIR`` (one folder a class) or ``python:package.module:factory``.
    directory
        What relative paths are relative to; default: the current directory.
    facts
        Where is kept what took long to find out about files.

    Raises
    ------
    SpecError
        If the spec is malformed.
    DatasetError
        If what it names is missing, empty, or not a dataset of labelled images.

    Examples
    --------
    >>> load_dataset("imagefolder:data/missing")
    Traceback (most recent call last):
    ...
    pytest_biastransfer.errors.DatasetError: imagefolder ...data/missing: no such directory
    """
    parsed = Spec.parse(spec, directory)
    scheme = parsed.choose_scheme(_SCHEMES)
    if scheme == "python":
        return as_images(call_factory(parsed), f"spec {spec!r}")
    from pytest_biastransfer.data.image_folder import ImageFolder

    parsed.check_keys(())
    return ImageFolder(parsed.path(), facts)


def as_images(found: object, place: str) -> LabelledImages:
    """Return `found` as labelled images; `place` says where it came from, for the error message."""
    if isinstance(found, LabelledImages):
        return found
    if not hasattr(found, "__getitem__"):
        raise DatasetError(
            f"{place}: got {found!r:.100}, expected a map-style dataset of (image, label), such as "
            f"torchvision.datasets.ImageFolder(...)"
        )
    from pytest_biastransfer.data.map_style import MapStyleImages

    return MapStyleImages(found, place)
