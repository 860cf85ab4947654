"""The name of an image beside its index: the file that it is read from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_biastransfer.data.labelled_images import LabelledImages

__all__ = ["image_name"]


def image_name(images: LabelledImages, index: int) -> str:
    """Return the file of an image relative to its dataset, such as ``"cat/0001.jpg"``; empty if it has no file.

    >>> import torch
    >>> from pytest_biastransfer.data import as_images
    >>> image_name(as_images([(torch.zeros(3, 8, 8), 0)], "images"), 0)
    ''
    """
    files = images.files
    return "" if files is None else files[index]
