"""Labelled images: datasets from fixtures or spec strings, and their decoded pixels."""

from pytest_biastransfer.data.labelled_images import LabelledImages
from pytest_biastransfer.data.loading import as_images, load_dataset

__all__ = ["LabelledImages", "as_images", "load_dataset"]
